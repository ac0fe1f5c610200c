"""vidmill.Pool beside multiprocessing.Pool, loky and joblib: a trivial function on 1080p frames, in one run.

    .venv/bin/python bench/python_pool.py [--workers N] [--repeats N] [--seconds S]

Every item is an array of its own. The contenders take turns, each with workers that are warm, so that a slow minute of the machine
hits all of them; medians are shown, and how many times as many items vidmill does. Needs the optimised package (make python).
"""

import argparse
import importlib.util
import itertools
import multiprocessing
import statistics
import time

import numpy as np

SHAPE = (1080, 1920, 3)
FRAMES = 80


def first(array):
    """6.2 MB there, a number back."""
    return int(array[0, 0, 0])


def brighter(array):
    """6.2 MB there and 6.2 MB back."""
    return np.add(array, 1)


def nothing(number):
    """A number there and back: what each item costs."""
    return number


def vidmill(function, workers):
    import vidmill

    with vidmill.Pool(function, workers) as pool:
        yield pool.imap


def multiprocessing_pool(function, workers):
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield lambda items: pool.imap(function, items)


def loky(function, workers):
    import loky

    with loky.ProcessPoolExecutor(workers) as pool:
        yield lambda items: pool.map(function, items)


def joblib(function, workers):
    """It writes large arrays to files in /dev/shm, which workers map."""
    import joblib

    call = joblib.delayed(function)
    with joblib.Parallel(workers, return_as="generator") as pool:
        yield lambda items: pool(call(item) for item in items)


CONTENDERS = {"vidmill.Pool": vidmill, "multiprocessing.Pool": multiprocessing_pool, "loky": loky, "joblib": joblib}
MISSING = [name for name in ("loky", "joblib") if importlib.util.find_spec(name) is None]


def measure(contender, function, workers, items, expected, seconds):
    """Items per second."""
    for mapping in contender(function, workers):
        list(mapping(items[:8]))
        done, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            # New objects of the same memory: joblib sends an array that it has sent before by its name.
            fresh = (item.view() for item in items) if isinstance(items, list) else items
            for want, got in zip(expected, mapping(fresh), strict=True):
                if np.ravel(got)[0] != want:
                    raise SystemExit(f"{contender.__name__} mixed results up")
                done += 1
        return done / elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each contender, function and turn")
    options = parser.parse_args()
    frames = [np.full(SHAPE, number, np.uint8) for number in range(FRAMES)]
    cases = {first: (frames, range(FRAMES)), brighter: (frames, range(1, FRAMES + 1)), nothing: (range(2000), range(2000))}
    print(f"{options.workers} workers; items per second (and how many times as many vidmill does)\n")
    print(f"{'':22}" + "".join(f"{function.__doc__.split(':')[0].rstrip('.'):>30}" for function in cases))
    contenders = [name for name in CONTENDERS if name not in MISSING]
    rates = {case: [] for case in itertools.product(contenders, cases)}
    for _ in range(options.repeats):
        for (name, function), seen in rates.items():
            seen.append(measure(CONTENDERS[name], function, options.workers, *cases[function], options.seconds))
    median = {case: statistics.median(seen) for case, seen in rates.items()}
    for name in contenders:
        row = [(median[name, function], median["vidmill.Pool", function]) for function in cases]
        print(f"{name:22}" + "".join(f"{rate:20,.0f} {f'({ours / rate:.1f}x)':>9}" for rate, ours in row))
    for name in MISSING:
        print(f"{name:22}{'not installed: tools/setup bench':>30}")


if __name__ == "__main__":
    main()
