"""NumPy arrays in memory that several processes share."""

import errno
import fcntl
import json
import math
import mmap
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vidmill._vidmill import need_memory

_SEALED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""What keeps everybody's mapping whole: nobody can take memory away under another's feet."""
_LONGEST_NAME = 80
_CREDENTIALS = struct.Struct("3i")
_ANSWER_SECONDS = 5.0


class SharedArrayHandle(NamedTuple):
    """Where a shared array is: what is sent to another process in place of the data. Valid while its holder is open."""

    process: int
    descriptor: int
    inode: int
    shape: tuple[int, ...]
    dtype: str


class SharedArray:
    """A NumPy array in memory that other processes can see.

        with vidmill.SharedArray.create((1080, 1920, 3), np.uint8) as shared:
            shared.array[:] = picture
            pool.submit(work, shared)        # the worker's `shared.array` is this memory

    It can be pickled: as an argument of `Pool`, of multiprocessing, through queues and pipes; the data stay where they are.
    With a name, any process of the same user can `attach` to it by that.

    The memory has no name in the file system. It is given back when the last process that has it open closes it or ends, however
    that happens; nothing is ever left in /dev/shm, and there is no resource tracker. A name is gone with its owner. Nothing
    locks: who writes and who reads at the same time is the program's to arrange.

    >>> with vidmill.SharedArray.create((2, 3), "int16") as shared:
    ...     shared.array[1] = 7
    ...     with vidmill.SharedArray.attach(shared.handle, readonly=True) as other:
    ...         other.array.tolist()
    [[0, 0, 0], [7, 7, 7]]
    """

    def __init__(self, file: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, name: str | None, readonly: bool) -> None:
        """Use `create` or `attach`. Takes over the descriptor `file`."""
        self.shape: tuple[int, ...] = shape
        self.dtype: np.dtype[Any] = dtype
        self.name: str | None = name
        self.readonly: bool = readonly
        self._file = file
        self._close = weakref.finalize(self, os.close, file)
        prot = mmap.PROT_READ if readonly else mmap.PROT_READ | mmap.PROT_WRITE
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._map = mmap.mmap(file, max(_bytes(shape, dtype), 1), flags=flags, prot=prot)
        count = math.prod(shape)
        flat = np.frombuffer(self._map, dtype, count) if count and dtype.itemsize else np.empty(count, dtype)
        self._array: NDArray[Any] | None = flat.reshape(shape)
        self._server: _Server | None = None

    @classmethod
    def create(cls, shape: int | Sequence[int], dtype: DTypeLike = np.float64, name: str | None = None) -> Self:
        """A new array of zeros, whose owner this process is.

        Args:
            shape: As of np.zeros.
            dtype: Of any kind but Python objects.
            name: By which other processes of the same user on this machine (in this network namespace) may attach, at most 80 bytes.

        Raises:
            MemoryError: There is not as much memory; it is all taken now, so that none is missing later.
            FileExistsError: Another living array has this name.
        """
        sizes = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
        if any(size < 0 for size in sizes):
            raise ValueError(f"shape={sizes}: sizes are 0 or more")
        kind = np.dtype(dtype)
        if _bytes(sizes, kind) >= 2**62:
            raise MemoryError(f"shape={sizes}: as many bytes cannot be had")
        if kind.subdtype is not None:
            kind, further = kind.subdtype
            sizes += further
        if kind.hasobject:
            raise TypeError(f"an array of {kind} cannot be shared: objects belong to one process")
        need_memory(_bytes(sizes, kind))
        file = os.memfd_create("vidmill-array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(file, 0, max(_bytes(sizes, kind), 1))
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALED)
        except OSError as error:
            os.close(file)
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise MemoryError(f"{_bytes(sizes, kind)} bytes of shared memory cannot be had") from None
            raise
        shared = cls(file, sizes, kind, name=name, readonly=False)
        if name is not None:
            shared._server = _Server(name, file, sizes, kind)
            weakref.finalize(shared, shared._server.end)
        return shared

    @classmethod
    def attach(cls, source: str | SharedArrayHandle, *, readonly: bool = False) -> Self:
        """The array that another process (or this one) has open.

        Args:
            source: Its name or its handle.
            readonly: The array cannot be written through this object.

        Raises:
            FileNotFoundError: It is not there any more, or never was.
        """
        if isinstance(source, str):
            file, shape, dtype = _ask(source)
            name: str | None = source
        else:
            handle = SharedArrayHandle(*source)
            file, name = _open(handle, readonly), None
            shape, dtype = tuple(handle.shape), _dtype(handle.dtype)
        try:
            if os.fstat(file).st_size < _bytes(shape, dtype) or not fcntl.fcntl(file, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                raise ValueError(f"{source!r} is no shared array of shape {shape} and type {dtype}")
        except BaseException:
            os.close(file)
            raise
        return cls(file, shape, dtype, name=name, readonly=readonly)

    @property
    def array(self) -> NDArray[Any]:
        """The array itself, [*shape] of dtype. What was taken from it stays valid after `close`."""
        if self._array is None:
            raise ValueError("this shared array is closed: use it before close(), or attach again")
        return self._array

    @property
    def handle(self) -> SharedArrayHandle:
        """By which another process can attach, as long as this one has it open."""
        if self._array is None:
            raise ValueError("this shared array is closed: use it before close(), or attach again")
        inode = os.fstat(self._file).st_ino
        return SharedArrayHandle(os.getpid(), self._file, inode, self.shape, _described(self.dtype))

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._array is None

    def unlink(self) -> None:
        """Takes the name away: nobody can attach by it any more. What is attached stays. `close` does it, too."""
        if self._server is not None:
            self._server.end()

    def close(self) -> None:
        """Gives this process's share back; the memory is free when all have done so. The owner's name is gone."""
        self.unlink()
        self._array = None
        try:
            self._map.close()
        except BufferError:  # an array that was taken from it lives on, and the memory with it
            pass
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy:
            return np.array(self.array, dtype)
        return np.asarray(self.array, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (type(self), self.handle, self.readonly)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name is not None else ""
        state = " closed" if self.closed else " read-only" if self.readonly else ""
        return f"<vidmill.SharedArray{name} {list(self.shape)} {self.dtype}{state}>"


def _attached(cls: type[SharedArray], handle: SharedArrayHandle, readonly: bool) -> SharedArray:
    return cls.attach(handle, readonly=readonly)


def _bytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _described(dtype: np.dtype[Any]) -> str:
    return json.dumps(np.lib.format.dtype_to_descr(dtype))


def _dtype(described: str) -> np.dtype[Any]:
    return np.lib.format.descr_to_dtype(_fields(json.loads(described)))


def _fields(told: Any) -> Any:
    """JSON knows no tuples: a field is [name, type] or [name, type, shape], and a type may have fields itself."""
    if isinstance(told, str):
        return told
    return [(name, _fields(kind), *map(tuple, shape)) for name, kind, *shape in told]


def _open(handle: SharedArrayHandle, readonly: bool) -> int:
    path = f"/proc/{handle.process}/fd/{handle.descriptor}"
    gone = (
        f"the shared array of process {handle.process} is gone: it has closed it or has ended; it must keep it open until "
        "everybody has attached"
    )
    try:
        file = os.open(path, (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FileNotFoundError(gone) from None
    if os.fstat(file).st_ino != handle.inode:
        os.close(file)
        raise FileNotFoundError(gone)
    return file


def _address(name: str) -> str:
    if not name or "\0" in name or len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"name={name!r}: a name has 1 to {_LONGEST_NAME} bytes, and no zeros")
    # Abstract: it lies in no file system, and the kernel forgets it with the socket.
    return f"\0vidmill-array/{os.getuid()}/{name}"


def _peer(connection: socket.socket) -> int:
    """The user at the other end, as the kernel knows."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[1])


def _ask(name: str) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """The descriptor, shape and type that an array's owner tells."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(_address(name))
            if _peer(connection) not in (os.getuid(), 0):
                raise PermissionError(f"the shared array {name!r} belongs to another user")
            told, files, _, _ = socket.recv_fds(connection, 1 << 16, 1)
        except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
            told, files = b"", []
        except TimeoutError:
            raise TimeoutError(f"the owner of the shared array {name!r} does not answer") from None
    if not files:
        raise FileNotFoundError(f"there is no shared array named {name!r}: its owner has closed it, has ended, or never made it")
    shape, dtype = json.loads(told)
    return files[0], tuple(shape), _dtype(dtype)


class _Server:
    """Hands the descriptor to whoever asks for the name, from a thread."""

    def __init__(self, name: str, file: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.owner, self.told = os.getpid(), json.dumps([shape, _described(dtype)]).encode()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.socket.bind(_address(name))
        except OSError as error:
            self.socket.close()
            if error.errno == errno.EADDRINUSE:
                raise FileExistsError(f"there is a shared array named {name!r} already: attach to it, or choose another name") from None
            raise
        self.socket.listen()
        # Of its own, so that it cannot be another's when the array is closed in the middle of an answer.
        self.file, self.has_ended = os.dup(file), False
        # Whatever the program's default is.
        self.socket.settimeout(None)
        _servers.add(self)
        thread = threading.Thread(target=self.serve, name="vidmill-array", daemon=True)
        thread.start()

    def serve(self) -> None:
        while not self.has_ended:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # it was ended, or there are no descriptors left for now
                time.sleep(0 if self.has_ended else 0.05)
                continue
            with connection:
                self.answer(connection)
        os.close(self.file)

    def answer(self, connection: socket.socket) -> None:
        if _peer(connection) not in (os.getuid(), 0):
            return
        try:
            socket.send_fds(connection, [self.told], [self.file], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:  # it has gone already
            pass

    def end(self) -> None:
        self.has_ended = True
        if os.getpid() == self.owner:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended before
                pass
        self.socket.close()


_servers: "weakref.WeakSet[_Server]" = weakref.WeakSet()


def _after_fork() -> None:
    """A fork serves nothing: it must not keep names that nobody answers for."""
    for server in list(_servers):
        server.socket.close()
        os.close(server.file)
    _servers.clear()


os.register_at_fork(after_in_child=_after_fork)
