"""vidmill.Pool: any Python work in worker processes that survive it."""

import asyncio
import concurrent.futures
import gc
import itertools
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
import weakref
from pathlib import Path

import numpy as np
import pool_work as work
import psutil
import pytest
import support
import vidmill

HERE = Path(__file__).parent


def children():
    return [child.pid for child in psutil.Process().children(recursive=True)]


@pytest.fixture(autouse=True)
def nothing_left():
    """No test leaves a process, a file of shared memory, a descriptor or a thread."""
    def there():
        gc.collect()
        return support.shared_memory(), children(), len(os.listdir("/proc/self/fd")), threading.active_count()

    before = there()
    yield
    wait_until(lambda: there() == before, told=lambda: (before, there(), support.open_files()))


@pytest.fixture
def any_call():
    """A pool whose workers do what they are told."""
    with vidmill.Pool(work.call, 2, retries=1) as pool:
        yield pool


def wait_until(true, seconds=3, told=lambda: ""):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it did not come to pass: {told()}"
        time.sleep(0.01)


def script(folder, text, name="script.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def run(path, *arguments, python=(), timeout=60, **options):
    """Runs a script as users do."""
    command = [sys.executable, *python, path, *map(str, arguments)]
    options.setdefault("env", {**os.environ, "PYTHONPATH": str(HERE)})
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)


# Calls


def test_results_come_in_order_and_as_the_function_gives_them(any_call):
    with vidmill.Pool(work.same, 2) as pool:
        items = [1, "two", None, {"a": [1.5, (2, b"x")]}, np.float32(3), range(3)]
        assert pool.map(items) == items
        assert list(pool.imap(range(500))) == list(range(500))
        assert sorted(pool.imap_unordered(range(500))) == list(range(500))
        assert pool.map([]) == []
    assert any_call.submit(work.add, 3).result() == 4
    assert any_call.submit(work.add, 3, 4, times=2).result(timeout=10) == 14


def test_futures_are_those_of_the_standard_library(any_call):
    futures = [any_call.submit(work.slowly, n) for n in range(20)]
    assert {future.result() for future in concurrent.futures.as_completed(futures)} == set(range(20))
    assert isinstance(futures[0], concurrent.futures.Future) and futures[0].done() and futures[0].exception() is None
    told = []
    any_call.submit(work.add, 1).add_done_callback(lambda future: told.append(future.result()))
    wait_until(lambda: told == [2])
    hanging = any_call.submit(time.sleep, 0.3)
    with pytest.raises(TimeoutError):
        hanging.result(timeout=0.01)
    assert not hanging.cancel() and hanging.result() is None


def test_a_callback_may_submit_more_than_there_is_room_for():
    with vidmill.Pool(work.add, 1, slots=1) as pool:
        further = []
        pool.submit(0).add_done_callback(lambda _: further.extend(pool.submit(n) for n in range(20)))
        wait_until(lambda: len(further) == 20)
        assert [future.result() for future in further] == list(range(1, 21))


def arrays():
    """Of all kinds of types and shapes, with and without gaps."""
    numbers = np.random.default_rng(1).integers(0, 100, 300 * 400)
    for dtype in ("uint8", "float32", "complex128", "datetime64[s]", "V3", "i2,(2,)f8", ">i4", "U3", "bool", "O"):
        for shape in ((), (0, 3), (5,), (7, 11, 3), (300, 400)):
            array = np.zeros(shape, dtype)
            if dtype not in ("V3", "i2,(2,)f8"):
                array[...] = numbers[: array.size].reshape(shape)
            yield array
            yield np.asfortranarray(array)
            yield array[..., ::2] if shape else array


def test_arrays_go_there_and_back():
    with vidmill.Pool(work.same, 2) as pool:
        for sent, got in zip(arrays(), pool.imap(arrays()), strict=True):
            # As pickle has it, which sees to the byte order of arrays with gaps.
            want = pickle.loads(pickle.dumps(sent, protocol=5))
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            assert got.tobytes() == want.tobytes() or np.array_equal(got, want)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_arrays_lie_in_shared_memory_wherever_they_are_in_the_arguments(any_call, size):
    array = np.arange(size, dtype=np.int32)
    value = ["x", {"deep": {"array": [array, array[:5]]}}]
    assert any_call.submit(work.seen, (value[1],), inside=0).exception() is not None
    seen = any_call.submit(work.seen, {"deep": {"array": (array,)}}, inside="deep").result()
    assert seen == (False, False, array.sum(), "<i4")
    with pytest.raises(ValueError, match="read-only"):
        any_call.submit(work.write, array).result()
    ours = any_call.submit(work.ones, 1).result()
    ours[0] = 5
    assert ours.flags.writeable


def test_items_may_be_of_any_size_and_memory_grows_with_them(any_call):
    for megabytes in (1, 100, 3, 0, 64):
        array = np.full(megabytes << 20, megabytes, np.uint8)
        assert np.array_equal(any_call.submit(work.same, array).result(), array)
        assert any_call.submit(work.ones, megabytes).result().sum() == megabytes << 20
    many = [np.full(3, n) for n in range(20_000)]
    got = any_call.submit(work.same, many).result()
    assert all(np.array_equal(one, two) for one, two in zip(many, got, strict=True))


def test_many_arrays_through_few_slots_are_never_mixed_up():
    with vidmill.Pool(work.same, 2, slots=3, item_bytes=50_000, result_bytes=50_000) as pool:
        sizes = random.Random(4).choices([1, 10_000, 30_000, 70_000, 300_000], k=400)
        arrays = (np.full(size, number % 251, np.uint8) for number, size in enumerate(sizes))
        for number, (size, got) in enumerate(zip(sizes, pool.imap(arrays), strict=True)):
            assert len(got) == size and (got == number % 251).all()


def test_results_stay_what_they_are_while_anybody_has_a_part_of_them():
    with vidmill.Pool(work.same, 2, slots=3) as pool:
        parts = []
        for number, got in enumerate(pool.imap([np.full(50_000, number % 251, np.uint8)] for number in range(300))):
            parts.append(got[0][100:200] if number % 3 else got[0].reshape(500, 100))
            del got
            if number % 7 == 0:
                parts[number // 2] = None
        held = [(number, part) for number, part in enumerate(parts) if part is not None]
        assert len(held) > 200 and all((part == number % 251).all() for number, part in held)


def test_memory_that_is_not_there_is_refused():
    with pytest.raises(MemoryError, match="MiB are free"):
        vidmill.Pool(work.same, 1, item_bytes=1 << 50)


def test_what_is_kept_is_refused_and_never_changes(any_call):
    with vidmill.Pool(work.call, 1) as pool:
        for size in (10, 100_000):
            for number in range(5):
                with pytest.raises(vidmill.ViewKept, match=r"array\.copy\(\)"):
                    pool.submit(work.keep, np.full(size, number)).result()
                assert pool.submit(work.keep_part_in_a_cycle, np.full(size, number)).result() == number
        assert pool.submit(work.keep_copy, np.full(10, 9)).result() == [*range(5), *range(5), 9]
        assert pool.submit(work.keep_copy, np.full(100_000, 8)).result() == [*range(5), *range(5), 9, 8]


def test_inputs_are_taken_only_as_there_is_room():
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield number

    with vidmill.Pool(work.same, 2, slots=5) as pool:
        for mapped in (pool.imap(endless()), pool.imap_unordered(endless())):
            taken.clear()
            assert len({next(mapped) for _ in range(100)}) == 100
            assert len(taken) <= 100 + pool.slots
            del mapped
        with pytest.raises(ZeroDivisionError):
            list(pool.imap(1 // n for n in (1, 0)))


def test_results_do_not_wait_for_later_inputs():
    with vidmill.Pool(work.same, 1) as pool:
        pool.submit(0).result()
        taken = []
        for result in pool.imap(taken.append(n) or time.sleep(0.05) or n for n in range(6)):
            assert len(taken) <= result + 3


# What goes wrong


def test_an_exception_is_its_items_alone_and_tells_where_it_was_raised():
    with vidmill.Pool(work.deep, 2) as pool:
        results = list(pool.imap([0, 1, 2, 3, 4, 5], return_exceptions=True))
        assert (results[0], results[5]) == (0, 5)
        told, secret, exits, unsendable = results[1:5]
        assert type(told) is work.Told and told.args == ("told", 1)
        assert isinstance(told.__cause__, vidmill.RemoteTraceback)
        assert 'in deep\n    return fail(number)' in str(told.__cause__) and "_pool_worker" not in str(told.__cause__)
        assert type(secret) is vidmill.WorkerError and "Secret: this and that" in str(secret)
        assert type(exits) is vidmill.WorkerError and "SystemExit: enough" in str(exits)
        assert "in a worker of vidmill.Pool, whose result (function)" in "".join(getattr(unsendable, "__notes__", [])) or callable(unsendable)
        with pytest.raises(work.Told):
            pool.map(range(6))
        with pytest.raises(work.Told):
            list(pool.imap_unordered([1]))
        assert pool.map([0, 5]) == [0, 5]


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("crash", vidmill.WorkerCrashed, r"signal 11 \(SIGSEGV\) \(tried 2 times\)"),
        ("exit", vidmill.WorkerCrashed, r"exit code 7 \(tried 2 times\)"),
        ("hang", vidmill.WorkerTimeout, r"more than 0\.300 s \(tried 2 times\)"),
        ("grow", vidmill.WorkerOutOfMemory, r"200 are allowed \(tried 2 times\)"),
    ],
)
def test_a_worker_that_is_lost_costs_its_item_alone(what, error, words):
    with vidmill.Pool(work.misbehave, 2, timeout=0.3 if what == "hang" else None, retries=1, worker_memory="200M") as pool:
        items = ["a", "b", what, "c", "d", "e"]
        results = pool.map(items, return_exceptions=True)
        assert [result for result in results if isinstance(result, str)] == ["a", "b", "c", "d", "e"]
        assert type(results[2]) is error and isinstance(results[2], vidmill.WorkerError) and isinstance(results[2], vidmill.Error)
        with pytest.raises(error, match=words):
            pool.submit(what).result()
        assert pool.map(["f", "g"]) == ["f", "g"]


def test_an_item_is_tried_again_and_as_often_as_asked(tmp_path):
    with vidmill.Pool(work.crash_once, 1, retries=1) as pool:
        assert pool.submit(str(tmp_path / "a")).result() == "done"
    with vidmill.Pool(work.crash_once, 1, retries=0) as pool, pytest.raises(vidmill.WorkerCrashed):
        pool.submit(str(tmp_path / "b")).result()


def test_many_items_that_crash_do_not_end_the_pool():
    with vidmill.Pool(work.misbehave, 2, retries=0) as pool:
        results = pool.map(["crash"] * 22 + ["fine"], return_exceptions=True)
        assert [type(result) for result in results] == [vidmill.WorkerCrashed] * 22 + [str]


def test_killing_workers_at_random_loses_nothing():
    items, chaos, killed = 3000, random.Random(7), 0
    frame = np.zeros((64, 1024), np.uint8)
    with vidmill.Pool(work.same, 2) as pool:
        sent = ((number, frame + number % 256) for number in range(items))
        for expected, (number, got) in enumerate(pool.imap(sent)):
            assert number == expected and (got == number % 256).all()
            if chaos.random() < 0.01:
                os.kill(chaos.choice(pool.process_ids), signal.SIGKILL)
                killed += 1
        assert expected == items - 1 and killed > 20


def test_workers_are_recycled():
    with vidmill.Pool(work.process, 1, recycle=3) as pool:
        ids = pool.map(range(9))
        assert [len(set(ids[n : n + 3])) for n in (0, 3, 6)] == [1, 1, 1] and len(set(ids)) == 3


def test_what_workers_print_is_passed_on(tmp_path):
    path = script(tmp_path, """
        import sys, vidmill
        if __name__ == "__main__":
            with vidmill.Pool(print, 1) as pool:
                pool.map(["hello", "you"])
    """)
    done = run(path)
    assert (done.stdout, done.stderr) == ("", "[worker 0] hello\n[worker 0] you\n")


# What is called


def test_a_class_is_made_once_a_worker():
    with vidmill.Pool(work.Counter, 1, args=(10,), kwargs={"step": 2}) as pool:
        assert pool.map(range(3)) == [12, 14, 16]
    with vidmill.Pool(work.Predicts, 2) as pool:
        assert pool.submit(np.arange(5)).result() == 2
    with pytest.raises(vidmill.WorkerError, match="^ValueError: a counter needs a step$") as raised:
        vidmill.Pool(work.Counter, 2, args=(0,), kwargs={"step": 0})
    assert "in __init__" in str(raised.value.__cause__)
    with pytest.raises(vidmill.WorkerError, match="Neither has neither predict nor __call__"):
        vidmill.Pool(work.Neither)
    with pytest.raises(TypeError, match=r"functools\.partial"):
        vidmill.Pool(work.same, args=(1,))
    with pytest.raises(TypeError, match="a function or a class is needed, not 3"):
        vidmill.Pool(3)


def test_lambdas_and_closures_need_cloudpickle(monkeypatch):
    offset = 5
    with vidmill.Pool(lambda number: number + offset, 1) as pool:
        assert pool.map([1, 2]) == [6, 7]
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises((AttributeError, TypeError), match="ickle") as raised:
        vidmill.Pool(lambda number: number + offset, 1)
    assert "hint: pip install cloudpickle" in "".join(raised.value.__notes__)


def test_arguments_that_do_not_serve():
    for arguments, words in [
        ({"workers": 0}, "workers=0: 1 to"),
        ({"slots": 0}, "slots=0"),
        ({"retries": -1}, "retries=-1"),
        ({"timeout": 0.0}, "timeout=0: give a number of seconds above 0"),
        ({"timeout": -1.0}, "timeout=-1"),
        ({"worker_memory": "lots"}, "worker_memory='lots'"),
        ({"recycle": 0}, "recycle=0"),
    ]:
        with pytest.raises(ValueError, match=words):
            vidmill.Pool(work.same, **arguments)
    with pytest.raises(ValueError, match="recycle=18446744073709551616: 1 to"):
        vidmill.Pool(work.same, recycle=2**64)
    with pytest.raises(TypeError, match="workers='2': an integer"):
        vidmill.Pool(work.same, "2")


@pytest.mark.parametrize("how", ["script", "module", "stdin", "-c"])
def test_functions_of_main(tmp_path, how):
    text = textwrap.dedent("""
        import sys
        import numpy as np
        import vidmill

        OFFSET = 3

        class Mine(Exception): pass

        def work(array):
            if array[0] == 9:
                raise Mine("nine")
            return array + OFFSET

        if __name__ == "__main__":
            with vidmill.Pool(work, 2) as pool:
                print([a.tolist() for a in pool.map([np.array([1]), np.array([2])])])
                try:
                    pool.submit(np.array([9])).result()
                except Mine as error:
                    print("caught", error)
    """)
    script(tmp_path, text, "main_module.py")
    if how == "stdin":
        done = run("-", input=text)
    elif how == "-c":
        done = run(text, python=["-c"])
    elif how == "module":
        done = run("main_module", python=["-m"], cwd=tmp_path)
    else:
        done = run(tmp_path / "main_module.py", cwd="/")
    assert (done.stdout, done.stderr) == ("[[4], [5]]\ncaught nine\n", "")


def test_functions_of_no_file_need_cloudpickle():
    text = "import sys; sys.modules['cloudpickle'] = None\nimport vidmill\ndef work(n): return n\nvidmill.Pool(work, 1)"
    done = run(text, python=["-c"])
    assert done.returncode == 1
    assert "PicklingError: workers cannot import 'work' from what is no file: pip install cloudpickle" in done.stderr


def test_a_script_without_a_guard_is_told_so(tmp_path):
    path = script(tmp_path, "import vidmill\nvidmill.Pool(abs, 1).map([1])\n")
    done = run(path)
    assert done.returncode == 1 and "if __name__ == '__main__':" in done.stderr


def test_the_programs_choice_of_a_start_method_is_left_to_it(tmp_path):
    path = script(tmp_path, """
        import multiprocessing, vidmill
        if __name__ == "__main__":
            with vidmill.Pool(abs, 1) as pool: pool.map([1])
            multiprocessing.set_start_method("spawn")
            print("fine")
    """)
    assert run(path).stdout == "fine\n"


def test_pools_within_workers():
    with vidmill.Pool(work.nested, 1) as pool:
        assert pool.map([1, 2]) == [2, 3]


def test_tensors_on_a_device_are_refused(any_call, monkeypatch):
    class Tensor:
        """As much of torch's as matters."""

        is_cuda, device = True, "cuda:0"

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(Tensor=Tensor))
    with pytest.raises(TypeError, match=r"a tensor on cuda:0 cannot be sent to another process: send tensor\.cpu\(\)\.numpy\(\)"):
        any_call.submit(work.same, {"deep": [Tensor()]}).result()
    assert any_call.submit(work.same, np.arange(3)).result().tolist() == [0, 1, 2]


# asyncio


def test_coroutines_can_wait_for_it(any_call):
    async def main():
        assert await asyncio.gather(*(any_call.asubmit(work.slowly, n) for n in range(200))) == list(range(200))
        with pytest.raises(work.Told):
            await any_call.asubmit(work.fail, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(any_call.asubmit(time.sleep, 0.3), 0.01)
        before = threading.active_count()
        waiting = [asyncio.ensure_future(any_call.asubmit(time.sleep, 0.05)) for _ in range(50)]
        await asyncio.sleep(0.02)
        assert threading.active_count() == before
        await asyncio.gather(*waiting)

    asyncio.run(main())


def test_async_iteration():
    async def numbers():
        for number in range(40):
            await asyncio.sleep(0)
            yield number

    async def main(pool):
        assert [result async for result in pool.aimap(range(100))] == list(range(100))
        assert [result async for result in pool.aimap(numbers())] == list(range(40))
        taken = []
        async for result in pool.aimap(taken.append(n) or n for n in itertools.count()):
            if result == 50:
                break
        assert len(taken) <= 51 + pool.slots

    async def failing(pool):
        results = [result async for result in pool.aimap([0, 1, 5], return_exceptions=True)]
        assert (results[0], type(results[1]), results[2]) == (0, work.Told, 5)
        with pytest.raises(work.Told):
            [result async for result in pool.aimap([0, 1, 5])]

    with vidmill.Pool(work.same, 2) as pool:
        asyncio.run(main(pool))
    with vidmill.Pool(work.fail, 2) as pool:
        asyncio.run(failing(pool))


# Its end


def test_leaving_the_block_finishes_what_was_submitted():
    with vidmill.Pool(time.sleep, 2) as pool:
        futures = [pool.submit(0.02) for _ in range(8)]
    assert all(future.result(timeout=0) is None for future in futures)


def test_an_exception_in_the_block_ends_the_workers_at_once():
    begin = time.monotonic()
    with pytest.raises(KeyError), vidmill.Pool(time.sleep, 2) as pool:
        futures = [pool.submit(60) for _ in range(4)]
        time.sleep(0.1)
        raise KeyError
    assert time.monotonic() - begin < 5
    for future in futures:
        with pytest.raises(vidmill.WorkerError, match="shut down before this item was done"):
            future.result(timeout=1)


def test_a_closed_pool_says_so():
    pool = vidmill.Pool(work.same, 1)
    mapped = pool.imap(range(100))
    assert next(mapped) == 0
    pool.close()
    pool.shutdown()
    for use in (lambda: pool.submit(1), lambda: pool.map([1]), lambda: pool.imap([1]), lambda: list(mapped), lambda: asyncio.run(pool.asubmit(1))):
        with pytest.raises(ValueError, match=r"this pool is closed: make another one with vidmill\.Pool"):
            use()
    assert "closed" in repr(pool) and not pool.process_ids


def test_shutdown_has_a_grace_and_can_go_on_in_the_background():
    pool = vidmill.Pool(time.sleep, 1)
    short, long = pool.submit(0.05), pool.submit(60)
    begin = time.monotonic()
    pool.shutdown(grace=0.3)
    assert time.monotonic() - begin < 5 and short.result() is None and isinstance(long.exception(), vidmill.WorkerError)
    pool = vidmill.Pool(time.sleep, 1)
    future = pool.submit(0.3)
    begin = time.monotonic()
    pool.shutdown(wait=False)
    assert time.monotonic() - begin < 0.2 and future.result() is None


def test_a_pool_that_nobody_holds_ends_when_its_work_is_done():
    before = children()
    future = vidmill.Pool(work.same, 1).submit(np.arange(3))
    assert future.result().tolist() == [0, 1, 2]
    wait_until(lambda: gc.collect() >= 0 and children() == before)


def test_results_are_not_held_by_the_pool():
    with vidmill.Pool(work.ones, 1) as pool:
        result = pool.submit(1).result()
        gone = weakref.ref(result)
        del result
        assert gone() is None


def test_threads_share_it(any_call):
    results = {}

    def work_from(thread):
        results[thread] = [any_call.submit(work.same, (thread, n)).result() for n in range(100)]

    threads = [threading.Thread(target=work_from, args=(n,)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == {thread: [(thread, n) for n in range(100)] for thread in range(8)}


def test_a_fork_cannot_use_it_and_does_no_harm(any_call):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            any_call.submit(work.same, 1)
        except RuntimeError as error:
            code = 0 if "make a pool of its own here" in str(error) else 2
        finally:
            any_call.shutdown()
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert any_call.submit(work.same, 1).result() == 1


def test_it_cannot_be_sent_elsewhere(any_call):
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        any_call.submit(work.same, any_call).result()


def living(group):
    """Processes that have a script's environment mark."""
    mark = f"VIDMILL_TEST={group}".encode()
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


ENDS = """
    import os, signal, sys, time, threading, _thread
    import numpy as np
    import vidmill, pool_work

    if __name__ == "__main__":
        how = sys.argv[1]
        pool = vidmill.Pool(time.sleep, 2)
        mapped = pool.imap(0.01 if n < 5 else 60 for n in range(100))
        next(mapped)
        print("ready", flush=True)
        if how == "exit":
            sys.exit(0)
        elif how == "os._exit":
            os._exit(0)
        elif how == "map":
            pool.map([60] * 100)
        elif how == "imap":
            list(mapped)
        elif how == "with":
            with pool:
                pool.submit(60).result()
        elif how == "leave":
            with pool:
                [pool.submit(60) for _ in range(4)]
        elif how == "submit":
            while True:
                pool.submit(60)
"""


@pytest.mark.parametrize(
    ("how", "number", "code"),
    [("exit", None, 0), ("os._exit", None, 0)]
    + [(how, signal.SIGINT, -signal.SIGINT) for how in ("map", "imap", "with", "leave", "submit")]
    + [("map", signal.SIGKILL, -signal.SIGKILL), ("map", signal.SIGTERM, -signal.SIGTERM)],
)
def test_nothing_outlives_the_program(tmp_path, how, number, code):
    mark = f"{os.getpid()}-{how}-{number}"
    environment = {**os.environ, "PYTHONPATH": str(HERE), "VIDMILL_TEST": mark}
    command = [sys.executable, script(tmp_path, ENDS), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "ready\n"
        if number:
            time.sleep(0.2)
            process.send_signal(number)
        begin = time.monotonic()
        _, told = process.communicate(timeout=20)
        assert time.monotonic() - begin < 5
    assert process.returncode == code, told
    if number == signal.SIGINT:
        assert told.rstrip().endswith("KeyboardInterrupt")
    wait_until(lambda: not living(mark))


def test_ctrl_c_does_not_wait_for_workers_that_start(tmp_path):
    path = script(tmp_path, """
        import time, vidmill
        class Slow:
            def __init__(self): time.sleep(30)
            def __call__(self): pass
        if __name__ == "__main__":
            print("ready", flush=True)
            vidmill.Pool(Slow, 2)
    """)
    with subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=5)
    assert process.returncode == -signal.SIGINT and told.rstrip().endswith("KeyboardInterrupt")


def test_nothing_leaks_from_one_pool_to_the_next():
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    with vidmill.Pool(work.same, 2) as pool:
        pool.map([np.zeros(100_000)] * 20)
    before = descriptors()
    for _ in range(3):
        with vidmill.Pool(work.call, 2, retries=0) as pool:
            pool.map([work.process] * 20)
            assert isinstance(pool.submit(work.misbehave, "crash").exception(), vidmill.WorkerCrashed)
            for _ in range(10):
                assert isinstance(pool.submit(work.keep, np.zeros(100_000)).exception(), vidmill.ViewKept)
    assert descriptors() == before


def test_a_child_that_comes_back_does_not_answer():
    with vidmill.Pool(work.forks, workers=1, slots=3) as pool:
        for number, array in enumerate(pool.imap(range(40))):
            assert (array == number).all()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_raises_anything_keeps_nobody_waiting(any_call):
    """SystemExit, of all things, which concurrent.futures lets through."""
    first = any_call.submit(time.sleep, 0.2)
    first.add_done_callback(lambda _: sys.exit(1))
    assert first.result(10) is None
    assert any_call.submit(len, [1, 2]).result(10) == 2


def test_a_future_that_its_holder_has_settled_keeps_nobody_waiting(any_call):
    first = any_call.submit(time.sleep, 0.2)
    first.set_result("mine")
    assert any_call.submit(time.sleep, 0.3).result(10) is None and first.result() == "mine"


def test_a_buffer_that_is_kept_never_changes():
    with vidmill.Pool(work.keeps_buffer, workers=1, slots=1) as pool:
        for letter in b"ABC":
            with pytest.raises(vidmill.ViewKept):
                pool.submit(pickle.PickleBuffer(bytes([letter]) * 100_000)).result(10)


def test_exceptions_that_would_end_the_callers_loop_are_told():
    with vidmill.Pool(work.stops, workers=1) as pool:
        with pytest.raises(vidmill.WorkerError, match="StopIteration: no more"):
            pool.submit(1).result(10)

        async def awaited():
            with pytest.raises(vidmill.WorkerError, match="StopIteration"):
                await asyncio.wait_for(pool.asubmit(1), 10)

        asyncio.run(awaited())


def test_an_exception_that_cannot_be_made_again_is_told():
    """Python cannot unpickle one whose attributes cannot be set."""
    with vidmill.Pool(work.raises_frozen, workers=1) as pool:
        for number in (7, 8):
            error = pool.submit(number).exception(10)
            assert isinstance(error, vidmill.WorkerError) and f"Frozen: {number}" in str(error)
            assert "raises_frozen" in str(error.__cause__)


def test_a_result_that_ends_who_loads_it_fails_alone():
    with vidmill.Pool(work.returns_what_ends, workers=1) as pool:
        for _ in range(2):
            assert "SystemExit" in str(pool.submit(1).exception(10))
