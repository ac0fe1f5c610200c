"""Runs a command and says what it cost: wall time, CPU time of its whole process tree, peak memory."""

import os
import subprocess
import threading
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cost:
    """Of one run. `peak_bytes` is the largest sum of proportional set sizes seen over the process tree, or 0."""

    wall: float
    cpu: float
    peak_bytes: int
    stderr: str


class BenchmarkError(Exception):
    """A command failed: there is nothing to measure."""


def run(command, sample_memory=False):
    """Runs `command` to its end. Memory is sampled on request alone: sampling takes CPU time from what it looks at."""
    started = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    stderr = []
    reader = threading.Thread(target=lambda: stderr.append(process.stderr.read()))
    reader.start()
    peak = watch_memory(process.pid) if sample_memory else 0
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    reader.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchmarkError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{stderr[0][-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak, stderr[0])


def watch_memory(pid):
    """Follows the tree under `pid` until it ends, and returns its largest proportional set size in bytes."""
    peak = 0
    root = psutil.Process(pid)
    while True:
        total = 0
        try:
            if root.status() == psutil.STATUS_ZOMBIE:
                return peak
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return peak
        for process in processes:
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it has just ended
        peak = max(peak, total)
        time.sleep(0.02)
