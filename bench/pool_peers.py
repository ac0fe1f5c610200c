"""Hands items over to worker processes by one of Python's usual means; prints one JSON line.

    .venv/bin/python bench/pool_peers.py CONTENDER --bytes N --workers W --items K [--mode throughput|round-trip]
                                         [--fill copy|in-place]

Options and output are those of vidmill's example `hand_over`. Each contender has `put(slot, words)`, which hands one item
over, and `get()`, which returns the slot and the sum of an item that is done; `memory` is where in-place items lie.
"""

import argparse
import json
import multiprocessing
import os
import queue
import signal
import sys
import time
from collections import deque
from multiprocessing.shared_memory import SharedMemory

import meter
import numpy as np

# As many items are under way at most, and as many payloads take turns.
IN_FLIGHT = 4
WORDS_PER_PAGE = 512
WARM_UP = 8
# Workers keep what they need however Python starts processes by default.
mp = multiprocessing.get_context("fork")


def work(slot, words):
    return slot, int(np.add.reduce(words))


class Queues:
    """A queue of pickled arrays to all workers, and one of sums back."""

    memory = None

    def __init__(self, workers, words, name):
        self.tasks, self.sums = self.make(words * 8)
        self.processes = [mp.Process(target=self.serve, daemon=True) for _ in range(workers)]
        for process in self.processes:
            process.start()

    def make(self, size):
        return mp.Queue(IN_FLIGHT), mp.Queue()

    def serve(self):
        while (task := self.take(self.tasks)) is not None:
            self.sums.put(work(*task))

    def take(self, of):
        return of.get()

    def put(self, slot, words):
        self.tasks.put((slot, words))

    def get(self):
        return self.take(self.sums)

    def close(self):
        for _ in self.processes:
            self.tasks.put(None)
        for process in self.processes:
            process.join()


class FasterFifo(Queues):
    """The same over faster-fifo's ring buffer."""

    def make(self, size):
        import faster_fifo

        # Room for as many pickles as are under way.
        return faster_fifo.Queue(max_size_bytes=IN_FLIGHT * (size + 4096)), faster_fifo.Queue(max_size_bytes=1 << 16)

    def take(self, of):
        while True:
            try:
                return of.get()
            except queue.Empty:  # another worker was quicker, or 10 s went by: it knows no wait without an end
                pass


class SharedSlots(Queues):
    """Fixed slots of shared memory; the queues carry their indices alone."""

    def __init__(self, workers, words, name):
        self.blocks = [SharedMemory(f"{name}{slot}", create=True, size=words * 8) for slot in range(IN_FLIGHT)]
        self.memory = [np.frombuffer(block.buf, np.uint64, words) for block in self.blocks]
        self.free = list(range(IN_FLIGHT))
        self.place = {}
        super().__init__(workers, words, name)

    def serve(self):
        while (task := self.tasks.get()) is not None:
            slot, place = task
            self.sums.put(work(slot, self.memory[place]))
        self.memory.clear()

    def put(self, slot, words):
        place = slot
        if words is not self.memory[slot]:
            place = self.place[slot] = self.free.pop()  # the last one used: it is likeliest to be in a cache
            np.copyto(self.memory[place], words)
        self.tasks.put((slot, place))

    def get(self):
        slot, total = self.sums.get()
        if slot in self.place:
            self.free.append(self.place.pop(slot))
        return slot, total

    def close(self):
        super().close()
        self.memory.clear()  # Python refuses to unmap what an array still shows
        for block in self.blocks:
            block.close()
            block.unlink()


class Pool:
    """multiprocessing.Pool's imap, fed by a generator as its users do to bound what is under way."""

    memory = None

    def __init__(self, workers, words, name):
        self.pool = mp.Pool(workers)
        self.feed = queue.SimpleQueue()
        self.sums = self.pool.imap_unordered(unpack, iter(self.feed.get, None))

    def put(self, slot, words):
        self.feed.put((slot, words))

    def get(self):
        return next(self.sums)

    def close(self):
        self.feed.put(None)
        self.pool.close()
        self.pool.join()


def unpack(task):
    return work(*task)


class Loky:
    """The executor under joblib."""

    memory = None

    def __init__(self, workers, words, name):
        import loky

        self.pool = loky.ProcessPoolExecutor(workers)
        self.done = queue.SimpleQueue()
        # It starts processes slowly and one by one: none of that shall fall into the measured time.
        while len(set(self.pool.map(nap, range(workers)))) < workers:
            pass

    def put(self, slot, words):
        done = self.pool.submit(np.add.reduce, words)
        done.add_done_callback(lambda done: self.done.put((slot, int(done.result()))))

    def get(self):
        return self.done.get()

    def close(self):
        self.pool.shutdown()


def nap(_):
    time.sleep(0.1)
    return os.getpid()


CONTENDERS = {"mp.Queue": Queues, "faster-fifo": FasterFifo, "shared-memory": SharedSlots, "mp.Pool.imap": Pool, "loky": Loky}


class Source:
    """The payloads, and how an item's number is put into one: into its first word, or into one word of every page."""

    def __init__(self, words, memory):
        self.in_place = memory is not None
        self.stride = WORDS_PER_PAGE if self.in_place else words
        content = np.random.default_rng(0).integers(0, 2**64, words, np.uint64)
        content[:: self.stride] = 0
        self.base = int(np.add.reduce(content))
        self.marks = len(content[:: self.stride])
        self.payloads = memory if self.in_place else [np.empty_like(content) for _ in range(IN_FLIGHT)]
        for payload in self.payloads:
            payload[:] = content

    def choose(self, free):
        """What is copied from is new to the caches, as a frame would be; a slot is the one last used."""
        return free.pop() if self.in_place else free.popleft()

    def mark(self, slot, item):
        payload = self.payloads[slot]
        payload[:: self.stride] = item
        return payload

    def check(self, item, total):
        if total != (self.base + item * self.marks) % 2**64:
            raise SystemExit(f"item {item}: the sum is wrong")


def hand_over(contender, source, items, limit):
    """Hands `items` over, `limit` at a time; returns how many seconds each took from before it was filled to its sum."""
    free, under_way, seconds = deque(range(IN_FLIGHT)), {}, []
    item = 0
    while len(seconds) < items:
        while item < items and len(under_way) < limit:
            slot = source.choose(free)
            under_way[slot] = item, time.perf_counter()
            contender.put(slot, source.mark(slot, item))
            item += 1
        slot, total = contender.get()
        done, started = under_way.pop(slot)
        seconds.append(time.perf_counter() - started)
        source.check(done, total)
        free.append(slot)
    return seconds


def measure(args):
    words = args.bytes // 8
    contender = CONTENDERS[args.contender](args.workers, words, args.name)
    try:
        source = Source(words, contender.memory if args.fill == "in-place" else None)
        limit = 1 if args.mode == "round-trip" else IN_FLIGHT
        hand_over(contender, source, WARM_UP, limit)
        tree = meter.tree()
        cpu, started = meter.cpu_seconds(tree), time.perf_counter()
        seconds = hand_over(contender, source, args.items, limit)
        wall, cpu = time.perf_counter() - started, meter.cpu_seconds(tree) - cpu
    finally:
        contender.close()
    result = {"items": args.items, "seconds": wall, "cpu_seconds": cpu}
    if args.mode == "round-trip":
        p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
        result |= {"p50_us": p50, "p99_us": p99}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--mode", choices=["throughput", "round-trip"], default="throughput")
    parser.add_argument("--fill", choices=["copy", "in-place"], default="copy")
    parser.add_argument("--name", default=f"hand_over_{os.getpid()}_", help="prefix of what is made in /dev/shm")
    args = parser.parse_args()
    if args.fill == "in-place" and args.contender != "shared-memory":
        parser.error(f"{args.contender} has no memory to fill in place")
    # Ending by an exception lets the workers and the shared memory go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(json.dumps(measure(args)))


if __name__ == "__main__":
    main()
