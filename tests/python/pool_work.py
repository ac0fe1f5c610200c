"""What the tests of vidmill.Pool run in workers: apart from the tests, so that workers need not import pytest."""

import dataclasses
import os
import signal
import sys
import time

import numpy as np

kept = []


def first(array):
    return int(array.flat[0])


def same(value):
    return value


def add(number, to=1, *, times=1):
    return (number + to) * times


def process(_=None):
    return os.getpid()


def slowly(number):
    time.sleep(0.001)
    return number


def seen(value, *, inside):
    """What became of arrays on their way."""
    array = value[inside]["array"][0]
    return array.flags.writeable, array.flags.owndata, array.sum(), array.dtype.str


def write(array):
    array[0] = 1


def keep(array):
    kept.append(array)


def keep_part_in_a_cycle(array):
    """Garbage that only the collector finds."""
    part = [array[1:]]
    part.append(part)
    return int(array[0])


def keep_copy(array):
    kept.append(array.copy())
    return [int(one[0]) for one in kept]


class Told(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


class Secret(Exception):
    """Cannot be made from its args."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail(number):
    if number == 1:
        raise Told("told", number)
    if number == 2:
        raise Secret("this", "that")
    if number == 3:
        sys.exit("enough")
    if number == 4:
        return lambda: 1  # noqa: no result that pickle can send
    return number


def deep(number):
    return fail(number)


def misbehave(what):
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "exit":
        os._exit(7)
    elif what == "hang":
        time.sleep(60)
    elif what == "grow":
        return len(np.ones(500 << 20, np.uint8))
    return what


def crash_once(path):
    """Crashes unless the file is there, which it makes."""
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGSEGV)
    return "done"


def ones(megabytes):
    return np.ones(megabytes << 20, np.uint8)


def shared_sum(shared):
    return int(shared.array.sum())


def shared_write(shared, value):
    shared.array[:] = value


class Counter:
    """Made once a worker."""

    def __init__(self, start, *, step=1):
        if step == 0:
            raise ValueError("a counter needs a step")
        self.count, self.step = start, step

    def predict(self, _):
        self.count += self.step
        return self.count

    def __call__(self, _):
        raise AssertionError("it predicts")


class Predicts:
    def predict(self, batch):
        return batch.mean()


class Neither:
    pass


def nested(number):
    import vidmill

    with vidmill.Pool(add, 1) as pool:
        return pool.submit(number).result()


def call(function, *args, **kwargs):
    return function(*args, **kwargs)


def forks(number):
    """Returns in a child as well, and late."""
    child = os.fork()
    result = np.full(2_000_000, number, np.int32)
    if child:
        time.sleep(0.01)
    return result


KEPT = []


def keeps_buffer(buffer):
    KEPT.append(buffer)
    return [bytes(memoryview(kept))[:4] for kept in KEPT]


def stops(_):
    raise StopIteration("no more")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Whose attributes cannot be set."""

    number: int


def raises_frozen(number):
    raise Frozen(number)


def _end():
    raise SystemExit(3)


class EndsWhoLoads:
    def __reduce__(self):
        return _end, ()


def returns_what_ends(_):
    return EndsWhoLoads()
