"""vidmill.SharedArray: arrays in memory that several processes see, and nothing left of them."""

import gc
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from multiprocessing import resource_tracker

import numpy as np
import pool_work as work
import pytest
import support
import vidmill
from vidmill import SharedArray


@pytest.fixture(autouse=True, scope="module")
def _tracker():
    """multiprocessing's own, of which these arrays have no need: once it runs, it stays."""
    resource_tracker.ensure_running()


@pytest.fixture(autouse=True)
def nothing_left():
    """No file of shared memory, no descriptor, no thread."""
    def there():
        gc.collect()
        return support.shared_memory(), len(os.listdir("/proc/self/fd")), threading.active_count()

    before = there()
    yield
    end = time.monotonic() + 3
    while there() != before:
        assert time.monotonic() < end, (before, there())
        time.sleep(0.01)


@pytest.fixture
def shared():
    with SharedArray.create((4, 3), np.uint8) as shared:
        yield shared


@pytest.fixture
def owner(tmp_path):
    """Another process that owns an array named `name`, of sevens."""
    name = f"test-{os.getpid()}"
    path = tmp_path / "owner.py"
    path.write_text(textwrap.dedent(f"""
        import sys, time, vidmill
        with vidmill.SharedArray.create((2, 5), "float32", name={name!r}) as shared:
            shared.array[:] = 7
            print("ready", flush=True)
            sys.stdin.read()
    """))
    with subprocess.Popen(
        [sys.executable, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.array = name
        yield process
        process.kill()


@pytest.mark.parametrize("dtype", ["uint8", ">i2", "float64", "complex64", "datetime64[ms]", "U4", "(2,)i2", [("a", "i2"), ("b", "f8", (2,)), ("c", [("d", "u1")])]])
@pytest.mark.parametrize("shape", [(), 5, (0, 3), (2, 3, 4)])
def test_shape_and_type_travel_with_it(dtype, shape):
    name = f"test-{os.getpid()}"
    with SharedArray.create(shape, dtype, name=name) as shared:
        assert (shared.array.dtype, shared.array.shape) == (np.zeros(shape, dtype).dtype, np.zeros(shape, dtype).shape)
        assert np.array_equal(shared.array, np.zeros(shape, dtype))
        for other in (SharedArray.attach(name), SharedArray.attach(shared.handle), pickle.loads(pickle.dumps(shared))):
            with other:
                assert other.array.dtype == shared.dtype and other.array.shape == shared.shape


def test_everybody_sees_the_same_memory(shared):
    with SharedArray.attach(shared.handle) as other:
        other.array[1] = 5
        assert shared.array.sum() == 15 and np.asarray(other).sum() == 15
        assert np.array(other, copy=True, dtype=int).sum() == 15


def test_read_only_is_for_this_side_alone(shared):
    with SharedArray.attach(shared.handle, readonly=True) as other:
        with pytest.raises(ValueError, match="read-only"):
            other.array[0] = 1
        with pickle.loads(pickle.dumps(other)) as further:
            assert further.readonly and not further.array.flags.writeable
        shared.array[0] = 1
        assert other.array.sum() == 3


def test_workers_of_a_pool_work_in_it():
    with vidmill.Pool(work.call, 2) as pool, SharedArray.create((1000, 1000), np.int32) as large:
        large.array[:] = 1
        futures = [pool.submit(work.shared_sum, large) for _ in range(20)]
        assert {future.result() for future in futures} == {1_000_000}
        pool.submit(work.shared_write, large, 3).result()
        assert large.array.sum() == 3_000_000
        assert pool.submit(work.shared_sum, large).result() == 3_000_000
        large.close()
        with pytest.raises(ValueError, match="closed"):
            pool.submit(work.shared_sum, large).result()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_can_have_it(shared, method):
    context = multiprocessing.get_context(method)
    child = context.Process(target=work.shared_write, args=(shared, 9))
    child.start()
    child.join()
    assert child.exitcode == 0 and (shared.array == 9).all()


def test_a_handle_that_is_gone_is_told(shared):
    with SharedArray.create(3) as other:
        handle = other.handle
    with pytest.raises(FileNotFoundError, match="is gone: it has closed it or has ended"):
        SharedArray.attach(handle)
    # The descriptor's number may be another file's by now.
    with pytest.raises(FileNotFoundError, match="is gone"):
        SharedArray.attach(shared.handle._replace(inode=1))
    with pytest.raises(FileNotFoundError, match="is gone"):
        SharedArray.attach(shared.handle._replace(process=2**22 + 1))
    with pytest.raises(ValueError, match="is no shared array of shape"):
        SharedArray.attach(shared.handle._replace(shape=(10**6,)))


def test_arrays_outlive_the_close():
    shared = SharedArray.create(1000, "i4")
    row = shared.array[5:10]
    shared.close()
    shared.close()
    row[:] = 3
    assert row.sum() == 15
    for use in (lambda: shared.array, lambda: shared.handle, lambda: pickle.dumps(shared)):
        with pytest.raises(ValueError, match="this shared array is closed"):
            use()
    assert repr(shared) == "<vidmill.SharedArray [1000] int32 closed>"


def test_names_are_their_owners():
    name = f"test-{os.getpid()}"
    with SharedArray.create(3, name=name) as shared:
        with pytest.raises(FileExistsError, match="attach to it, or choose another name"):
            SharedArray.create(3, name=name)
        attached = SharedArray.attach(name)
        attached.close()
        SharedArray.attach(name).close()
        shared.unlink()
        with pytest.raises(FileNotFoundError, match=f"there is no shared array named '{name}'"):
            SharedArray.attach(name)
        assert shared.array.sum() == 0
    with SharedArray.create(3, name=name):
        pass
    for wrong in ("", "x" * 81, "a\0b"):
        with pytest.raises(ValueError, match="a name has 1 to 80 bytes"):
            SharedArray.create(3, name=wrong)


def test_another_process_owns_it(owner):
    with SharedArray.attach(owner.array, readonly=True) as shared:
        assert (shared.array == 7).all()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        # What is attached stays; the name is gone, and free for another.
        assert (shared.array == 7).all()
        with pytest.raises(FileNotFoundError, match="its owner has closed it, has ended, or never made it"):
            SharedArray.attach(owner.array)
        with SharedArray.create(1, name=owner.array) as other:
            assert other.array.tolist() == [0]


def test_an_owner_that_ends_is_quiet(owner):
    _, told = owner.communicate()
    assert (owner.returncode, told) == (0, "")


def test_a_program_that_forgets_to_close_is_quiet(tmp_path):
    path = tmp_path / "forgets.py"
    path.write_text(
        f"import vidmill\none = vidmill.SharedArray.create(10**6, name='forgets-{os.getpid()}')\n"
        "two = vidmill.SharedArray.attach(one.handle)\nrow = two.array[3:]\n"
    )
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_does_not_keep_the_name_of_who_dies(tmp_path):
    name = f"forked-{os.getpid()}"
    path = tmp_path / "forks.py"
    path.write_text(textwrap.dedent(f"""
        import os, signal, time, vidmill
        shared = vidmill.SharedArray.create(3, name={name!r})
        if os.fork() == 0:
            print("ready", flush=True)
            time.sleep(3)
            os._exit(0)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    """))
    with subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.wait()
        begin = time.monotonic()
        with pytest.raises(FileNotFoundError):
            SharedArray.attach(name)
        assert time.monotonic() - begin < 1


def test_what_cannot_be_shared():
    with pytest.raises(TypeError, match="an array of object cannot be shared"):
        SharedArray.create(3, object)
    with pytest.raises(MemoryError, match="MiB are free"):
        SharedArray.create(1 << 50, np.uint8)
    with pytest.raises(ValueError, match="sizes are 0 or more"):
        SharedArray.create((2, -1))


def test_more_than_there_could_be_is_a_memory_error():
    for shape in [(2**40, 2**40), (2**50,)]:
        with pytest.raises(MemoryError):
            vidmill.SharedArray.create(shape)


def test_a_named_array_that_nobody_holds_is_gone():
    array = vidmill.SharedArray.create(10, "u1", name="vidmill-test-dropped")
    del array
    gc.collect()
    wait_for_name("vidmill-test-dropped")


def wait_for_name(name):
    """Until the name is free: its thread ends a moment later."""
    end = time.monotonic() + 3
    while True:
        try:
            with vidmill.SharedArray.create(3, name=name):
                return
        except FileExistsError:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_default_timeout_of_sockets_is_not_its_own():
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.1)
    try:
        with vidmill.SharedArray.create(3, name="vidmill-test-timeout"):
            time.sleep(0.4)
            with vidmill.SharedArray.attach("vidmill-test-timeout") as other:
                assert other.shape == (3,)
    finally:
        socket.setdefaulttimeout(before)
