"""A pool of worker processes for any Python work."""

import asyncio
import concurrent.futures
import functools
import itertools
import math
import multiprocessing
import os
import pickle
import queue
import threading
import traceback
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing import process, spawn
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, overload

from vidmill._pickling import Packed, has_cloudpickle, pack
from vidmill._pool_worker import RAISED
from vidmill._vidmill import WorkerError, Workers

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _Called(Protocol[R_co]):
    def __call__(self, *args: Any, **kwargs: Any) -> R_co: ...


class _Predicting(Protocol[R_co]):
    def predict(self, *args: Any, **kwargs: Any) -> R_co: ...


class RemoteTraceback(Exception):
    """Where in a worker an exception was raised: the `__cause__` of an exception that comes from one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class _PoolFuture(concurrent.futures.Future[R]):
    """Keeps its pool until it is done."""

    pool: "Pool[R] | None" = None


class Pool(Generic[R]):
    """Worker processes that call a function, or an object of their own, and survive what it does to them.

        >>> with vidmill.Pool(np.max, workers=1) as pool:
        ...     pool.map([np.full((1080, 1920), n, np.uint8) for n in range(3)])
        [np.uint8(0), np.uint8(1), np.uint8(2)]

        with vidmill.Pool(detect, workers=4, timeout=10) as pool:
            for boxes in pool.imap(frames): ...      # in order; frames are taken only as there is room for them
            pool.map(frames)                         # a list
            pool.submit(frame, threshold=0.5).result()
            await pool.asubmit(frame)

    Workers are fresh interpreters, as of multiprocessing's "spawn": a script that makes a pool does so under
    `if __name__ == "__main__":`. Arrays go to them in shared memory, at any place in the arguments, and come back in it; memory grows to
    what items need. The function gets **read-only views** of arrays: what it keeps beyond the call it must copy, and an item whose
    array is kept fails with `ViewKept`. Arrays in results are the caller's own; they are read-only where they were in the worker, as a
    part of an argument that is returned as it is.

    An exception that the function raises is that item's, with the worker's traceback as its `__cause__`. A worker that crashes, hangs
    or takes too much memory is replaced; the item that it was at is tried again and fails alone if that does not help. What
    workers print goes to standard error, as `[worker 1] text`.

    Leaving the `with` block finishes what was submitted; leaving it by an exception, and the end of the program, end the workers at
    once. Nothing of a pool outlives its process, even if that is killed.

    Args:
        function: What is called with each item: a function of a module or of the script; or, with cloudpickle installed, any. Or a
            class, of which each worker makes one object when it starts; its `predict` is called if it has one, else it itself is
            (`__call__`).
        workers: Processes; by default as many as there are CPUs for this process.
        timeout: Seconds that one item may take before its worker is killed; by default any time.
        retries: How often an item is tried again that its worker died of: of a crash, the timeout, memory. Exceptions are never
            tried again, and a SIGKILL from outside does not count.
        worker_memory: Bytes of its own (or text: "500M", "4G") above which a worker is replaced after its item; at half as much
            again it is killed.
        recycle: Items after which a worker is replaced.
        slots: Items that may be under way at once; by default 3 for each worker and one more. While all are taken, `submit` waits.
        item_bytes, result_bytes: Shared memory for the arrays of one item and one result that is there from the beginning; more is
            taken as it is needed.
        start_timeout: Seconds until a worker must be ready: until its imports are done and its object is made.
        args, kwargs: What the object is made of, where `function` is a class.

    Raises:
        WorkerError: The first worker cannot start, in its own words: of the class, or of its imports.
        TypeError, ValueError: An argument does not serve.
    """

    @overload
    def __init__(
        self: "Pool[R]",
        function: type[_Called[R]] | type[_Predicting[R]],
        workers: int | None = None,
        timeout: float | None = None,
        retries: int = 2,
        *,
        worker_memory: int | str | None = None,
        recycle: int | None = None,
        slots: int | None = None,
        item_bytes: int = 0,
        result_bytes: int = 0,
        start_timeout: float = 120.0,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: "Pool[R]",
        function: Callable[..., R],
        workers: int | None = None,
        timeout: float | None = None,
        retries: int = 2,
        *,
        worker_memory: int | str | None = None,
        recycle: int | None = None,
        slots: int | None = None,
        item_bytes: int = 0,
        result_bytes: int = 0,
        start_timeout: float = 120.0,
    ) -> None: ...
    def __init__(
        self,
        function: Callable[..., Any],
        workers: int | None = None,
        timeout: float | None = None,
        retries: int = 2,
        *,
        worker_memory: int | str | None = None,
        recycle: int | None = None,
        slots: int | None = None,
        item_bytes: int = 0,
        result_bytes: int = 0,
        start_timeout: float = 120.0,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"a function or a class is needed, not {function!r}")
        if (args or kwargs) and not isinstance(function, type):
            raise TypeError("args and kwargs are for a class; of a function make a functools.partial")
        count = _at_least("workers", workers if workers is not None else len(os.sched_getaffinity(0)), 1)
        places = _at_least("slots", slots if slots is not None else 3 * count + 1, 1)
        main, by_value = _main()
        started = {
            "main": main,
            "by_value": by_value,
            "function": _whole(function, by_value),
            "arguments": _whole((tuple(args), dict(kwargs or {})), by_value),
        }
        try:
            native = Workers(
                pickle.dumps(started),
                workers=count,
                slots=places,
                item_bytes=_at_least("item_bytes", item_bytes, 0, 2**62),
                result_bytes=_at_least("result_bytes", result_bytes, 0, 2**62),
                timeout=timeout,
                retries=_at_least("retries", retries, 0),
                worker_memory=_bytes(worker_memory),
                recycle=None if recycle is None else _at_least("recycle", recycle, 1),
                start_timeout=start_timeout,
            )
        except WorkerError as error:
            words, _, trace = str(error).partition("\n\n")
            raise WorkerError(words) from (RemoteTraceback(trace) if trace else None)
        self._slots, self._by_value, self._is_closed = places, by_value, False
        self._name = getattr(function, "__qualname__", repr(function))
        self._engine = _Engine(native)
        self._end = weakref.finalize(self, self._engine.end)

    def submit(self, *args: Any, **kwargs: Any) -> concurrent.futures.Future[R]:
        """Hands a call over; waits while all slots are taken. What comes is a Future as concurrent.futures has it; it cannot be
        cancelled."""
        future = self._submit(args, kwargs, wait=True)
        assert future is not None, "who waits gets room, or an exception"
        return future

    async def asubmit(self, *args: Any, **kwargs: Any) -> R:
        """The same in a coroutine (asyncio): returns the result. Waits for a slot without keeping the event loop; copying an item
        into it does, for about a millisecond for every 6 MB."""
        return await asyncio.wrap_future(await self._asubmit(args, kwargs))

    @overload
    def map(self, items: Iterable[Any], *, return_exceptions: Literal[False] = False) -> list[R]: ...
    @overload
    def map(self, items: Iterable[Any], *, return_exceptions: bool) -> list[R | Exception]: ...
    def map(self, items: Iterable[Any], *, return_exceptions: bool = False) -> Any:
        """The results of all items, in their order. Raises the first item's exception, in that order; with `return_exceptions`,
        exceptions stand in the list in place of results."""
        return list(self.imap(items, return_exceptions=return_exceptions))

    @overload
    def imap(self, items: Iterable[Any], *, return_exceptions: Literal[False] = False) -> Iterator[R]: ...
    @overload
    def imap(self, items: Iterable[Any], *, return_exceptions: bool) -> Iterator[R | Exception]: ...
    def imap(self, items: Iterable[Any], *, return_exceptions: bool = False) -> Any:
        """The results in the order of items, as they come. Items are taken in the caller's thread, when the next result is asked for:
        never more than there are slots ahead of the results taken. So `items` may be endless.

        An item's exception is raised in its place and ends the iterator. With `return_exceptions`, it is given out in its
        place, and iteration goes on."""
        self._check_open()
        return self._imap(iter(items), return_exceptions)

    @overload
    def imap_unordered(
        self, items: Iterable[Any], *, return_exceptions: Literal[False] = False
    ) -> Iterator[R]: ...
    @overload
    def imap_unordered(
        self, items: Iterable[Any], *, return_exceptions: bool
    ) -> Iterator[R | Exception]: ...
    def imap_unordered(self, items: Iterable[Any], *, return_exceptions: bool = False) -> Any:
        """The same in the order in which results come."""
        self._check_open()
        return self._imap_unordered(iter(items), return_exceptions)

    @overload
    def aimap(
        self, items: Iterable[Any] | AsyncIterable[Any], *, return_exceptions: Literal[False] = False
    ) -> AsyncIterator[R]: ...
    @overload
    def aimap(
        self, items: Iterable[Any] | AsyncIterable[Any], *, return_exceptions: bool
    ) -> AsyncIterator[R | Exception]: ...
    def aimap(
        self, items: Iterable[Any] | AsyncIterable[Any], *, return_exceptions: bool = False
    ) -> Any:
        """`imap` for `async for`; items may be an asynchronous iterable, too."""
        self._check_open()
        return self._aimap(aiter(items) if isinstance(items, AsyncIterable) else _aiter(items), return_exceptions)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, grace: float | None = None) -> None:
        """Ends the pool: no more is taken; what was submitted is finished, within `grace` seconds if that is given; then workers are
        asked to leave, terminated if they do not, and killed. What is not done by then fails with `WorkerError`.

        With `cancel_futures`, nothing is waited for. Without `wait`, all of it happens in the background."""
        self._is_closed = True
        if cancel_futures or os.getpid() != self._engine.owner:
            grace = 0.0
        if wait:
            self._finish(grace)
        else:
            threading.Thread(target=self._finish, args=(grace,), name="vidmill-pool-end").start()

    def _finish(self, grace: float | None) -> None:
        self._engine.finish(grace)
        self._end()

    def close(self) -> None:
        """Ends the pool when all that was submitted is done: `shutdown()`."""
        self.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown(cancel_futures=type is not None)

    @property
    def process_ids(self) -> list[int]:
        """The worker processes that run now."""
        return self._engine.native.process_ids()

    @property
    def slots(self) -> int:
        """Items that may be under way at once."""
        return self._slots

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self.process_ids)} workers"
        return f"<vidmill.Pool of {self._name}, {state}>"

    def __reduce__(self) -> Any:
        raise TypeError("a pool cannot be sent to another process: make one there")

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("this pool is closed: make another one with vidmill.Pool(...)")

    def _submit(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], wait: bool
    ) -> concurrent.futures.Future[R] | None:
        """None when there is no room, and none is to be waited for."""
        self._check_open()
        future: _PoolFuture[R] = _PoolFuture()
        future.set_running_or_notify_cancel()
        try:
            packed = pack((args, kwargs), by_value=self._by_value)
        except Exception as error:  # noqa: BLE001: it is this item's
            future.set_exception(error)
            return future
        future.pool = self
        try:
            return future if self._engine.submit(future, packed, wait) else None
        except MemoryError as error:
            future.pool = None
            future.set_exception(error)
            return future

    async def _asubmit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> concurrent.futures.Future[R]:
        loop = asyncio.get_running_loop()
        while True:
            # Asked for before it is tried, so that room which is made in between is heard of.
            room = self._engine.room(loop)
            if self._engine.native.has_room() and (future := self._submit(args, kwargs, wait=False)) is not None:
                return future
            self._check_open()
            await room

    def _imap(self, items: Iterator[Any], return_exceptions: bool) -> Iterator[R | Exception]:
        under_way: deque[concurrent.futures.Future[R]] = deque()
        has_more = True
        while has_more or under_way:
            # One in, one out: neither does a result wait for many items, nor do workers for many results.
            if has_more and len(under_way) < self._slots:
                has_more = self._feed(items, under_way.append)
            if under_way and (under_way[0].done() or not has_more or len(under_way) >= self._slots):
                yield _outcome(under_way.popleft(), return_exceptions)

    def _imap_unordered(self, items: Iterator[Any], return_exceptions: bool) -> Iterator[R | Exception]:
        done: queue.SimpleQueue[concurrent.futures.Future[R]] = queue.SimpleQueue()
        under_way, has_more = 0, True
        while has_more or under_way:
            if has_more and under_way < self._slots:
                has_more = self._feed(items, lambda future: future.add_done_callback(done.put))
                under_way += has_more
            if under_way and (not done.empty() or not has_more or under_way >= self._slots):
                under_way -= 1
                yield _outcome(done.get(), return_exceptions)

    def _feed(self, items: Iterator[Any], take: Callable[[concurrent.futures.Future[R]], object]) -> bool:
        """Submits the next item; False when there is none."""
        for item in items:
            take(self.submit(item))
            return True
        return False

    async def _aimap(
        self, items: AsyncIterator[Any], return_exceptions: bool
    ) -> AsyncIterator[R | Exception]:
        under_way: deque[concurrent.futures.Future[R]] = deque()
        has_more = True
        while has_more or under_way:
            if has_more and len(under_way) < self._slots:
                try:
                    under_way.append(await self._asubmit((await anext(items),), {}))
                except StopAsyncIteration:
                    has_more = False
            if under_way and (under_way[0].done() or not has_more or len(under_way) >= self._slots):
                first = under_way.popleft()
                await asyncio.wait([asyncio.wrap_future(_told(first))])
                yield _outcome(first, return_exceptions)


class _Engine:
    """What a pool is made of, and its collector's thread, which does not hold the pool itself: a pool that nobody holds ends."""

    def __init__(self, native: Workers) -> None:
        self.native, self.owner = native, os.getpid()
        self.under_way: dict[int, _PoolFuture[Any]] = {}
        self.numbers = itertools.count()
        self.later: deque[tuple[int, Packed]] = deque()
        self.waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self.collector = threading.Thread(target=self.collect, name="vidmill-pool", daemon=True)
        self.collector.start()

    def is_here(self) -> bool:
        """Whether this is the collector's thread: then a Future's callback is running."""
        return threading.current_thread() is self.collector

    def submit(self, future: _PoolFuture[Any], packed: Packed, wait: bool) -> bool:
        number = next(self.numbers)
        self.under_way[number] = future
        there = False
        try:
            # A Future's callback must not wait: it would keep room from being made.
            there = self.native.submit(number, *packed, wait and not self.is_here())
            if wait and not there and self.is_here():
                self.later.append((number, packed))
                there = True
        finally:
            if not there:
                self.under_way.pop(number, None)
        return there

    def room(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Is done when there may be room."""
        waiter = loop.create_future()
        self.waiting.append((loop, waiter))
        return waiter

    def collect(self) -> None:
        try:
            while (answers := self.native.take()) is not None:
                while answers:
                    number, status, pickled, buffers = answers.pop(0)
                    _settle(self.under_way.pop(number, None), status, pickled, buffers)
                    del pickled, buffers  # nothing is kept while waiting
                self.go_on()
        except BaseException as error:  # noqa: BLE001: nobody must wait for what nobody collects
            _report(error)
            self.native.close()
        self.later.clear()
        for number in list(self.under_way):
            _settle(self.under_way.pop(number), None, WorkerError("the pool was shut down before this item was done"), [])
        self.tell_room()

    def go_on(self) -> None:
        """Makes use of room."""
        try:
            while self.later and self.native.submit(self.later[0][0], *self.later[0][1], False):
                self.later.popleft()
        except Exception as error:  # noqa: BLE001: it is this item's
            number, _ = self.later.popleft()
            _settle(self.under_way.pop(number, None), None, error, [])
        self.tell_room()

    def tell_room(self) -> None:
        while self.waiting:
            loop, waiter = self.waiting.popleft()
            try:
                loop.call_soon_threadsafe(_release, waiter)
            except RuntimeError:  # the loop is closed
                pass

    def finish(self, grace: float | None) -> None:
        """Waits for what is under way; an interrupt ends it at once."""
        if self.is_here() or grace == 0:
            return
        try:
            concurrent.futures.wait(list(self.under_way.values()), grace)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Ends the workers; what is not done fails."""
        if os.getpid() != self.owner:  # a fork, in which there are neither workers nor threads
            return
        self.native.close()
        if not self.is_here():
            self.collector.join()


def _settle(future: _PoolFuture[Any] | None, status: int | None, pickled: Any, buffers: list[Any]) -> None:
    """Tells an item's outcome. Whatever comes of that, the next one is settled, too."""
    if future is None:
        return
    value, failure = None, None
    try:
        if status is None:
            failure = pickled
        elif pickled is None:
            failure = WorkerError("the worker could not say what became of the item")
        else:
            value = pickle.loads(pickled, buffers=buffers)
            if status == RAISED:
                failure, text = value
                if text:
                    BaseException.__setattr__(failure, "__cause__", RemoteTraceback(text))
    except Exception as error:  # noqa: BLE001: it is this item's
        failure = error
    except BaseException as error:  # noqa: BLE001: it is the item's, and not the program's
        failure = WorkerError(f"the result cannot be unpickled: {traceback.format_exception_only(error)[-1].strip()}")
    try:
        if failure is None:
            future.set_result(value)
        else:
            future.set_exception(BaseException.with_traceback(failure, None))
    except concurrent.futures.InvalidStateError:  # whoever has it has set it by himself
        pass
    except BaseException as error:  # noqa: BLE001: a callback's
        _report(error)
    future.pool = None


def _report(error: BaseException) -> None:
    """As of a thread's own exception."""
    args = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(args))


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # whoever waited may have been cancelled
        waiter.set_result(None)


def _told(future: concurrent.futures.Future[Any]) -> concurrent.futures.Future[None]:
    """Is done when the other is, however that ends."""
    told: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.add_done_callback(lambda _: told.set_result(None))
    return told


def _outcome(future: concurrent.futures.Future[Any], return_exceptions: bool) -> Any:
    if return_exceptions and isinstance(error := future.exception(), Exception):
        return error
    return future.result()


async def _aiter(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _main() -> tuple[dict[str, Any], bool]:
    """How a worker becomes like this process, and whether there is no way to: then what `__main__` defines must be sent whole."""
    was_chosen = multiprocessing.get_start_method(allow_none=True)
    told = spawn.get_preparation_data("vidmill-worker")
    if was_chosen is None:
        # Asking has fixed it, and that is the program's to decide.
        multiprocessing.set_start_method(None, force=True)
    told["authkey"] = bytes(process.current_process().authkey)
    if not os.path.exists(told.get("init_main_from_path", os.curdir)):
        del told["init_main_from_path"]  # what came through standard input calls itself a file
    for name in ("start_method", "log_to_stderr", "log_level"):
        told.pop(name, None)
    return told, not any(name.startswith("init_main_from") for name in told)


def _whole(value: object, by_value: bool) -> bytes:
    """Pickled in one piece."""
    is_from_main = by_value and _is_from_main(value)
    if is_from_main and not has_cloudpickle():
        raise pickle.PicklingError(
            f"workers cannot import {getattr(value, '__qualname__', value)!r} from what is no file: pip install cloudpickle to send "
            "what a notebook or a command line defines, or define it in a module"
        )
    pickled, buffers = pack(value, by_value=is_from_main)
    return pickled if not buffers else pickle.dumps(pickle.loads(pickled, buffers=buffers))


def _is_from_main(value: object) -> bool:
    while isinstance(value, functools.partial):
        value = value.func
    return getattr(value, "__module__", None) == "__main__"


def _at_least(name: str, value: int, least: int, most: int = 2**31 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: an integer is needed")
    if not least <= value <= most:
        raise ValueError(f"{name}={value}: {least} to {most} is expected")
    return value


def _bytes(size: int | str | None) -> int | None:
    if not isinstance(size, str):
        return None if size is None else _at_least("worker_memory", size, 1, 2**62)
    text = size.strip().upper().removesuffix("B").removesuffix("I")
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}.get(text[-1:], 1)
    try:
        number = float(text[:-1] if factor > 1 else text)
    except ValueError:
        number = math.nan
    if not 1 <= number * factor < 1 << 63:
        raise ValueError(f'worker_memory={size!r}: give bytes, or a number with K, M, G or T: "500M", "4G"')
    return int(number * factor)
