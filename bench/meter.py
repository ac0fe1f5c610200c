"""Runs a command and says what it cost: wall time, CPU time of its whole process tree, peak memory."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
# Where cargo puts optimised programs.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
CORES = len(os.sched_getaffinity(0))
# No command that answers in one line takes this long.
ANSWER_SECONDS = 300


@dataclass(frozen=True)
class Cost:
    """Of one run. `peak_bytes` is the largest sum of proportional set sizes seen over the process tree, or 0."""

    wall: float
    cpu: float
    peak_bytes: int
    stderr: str


class BenchmarkError(Exception):
    """A command failed: there is nothing to measure."""


def run(command, sample_memory=False, environment=None):
    """Runs `command` to its end; `environment` is added to this process's own. Memory is sampled on request alone: sampling takes
    CPU time from what it looks at."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    started = time.perf_counter()
    try:
        process = subprocess.Popen(list(map(str, command)), **pipes, env={**os.environ, **(environment or {})})
    except OSError as error:
        raise BenchmarkError(f"{command[0]} cannot be started: {error.strerror}; `make bench` builds what it needs") from None
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


def ask(command):
    """Runs `command` and returns the JSON object that is its last line. The command leads a process group of its own,
    and however this ends, nothing of that group is left."""
    command = list(map(str, command))
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, errors="replace", process_group=0) as process:
        try:
            stdout, stderr = process.communicate(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{' '.join(command)} did not end within {ANSWER_SECONDS} s") from None
        finally:
            end_group(process)
    if process.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)} ended with {process.returncode}:\n{stderr[-2000:]}")
    try:
        return json.loads(stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchmarkError(f"{' '.join(command)} printed no JSON:\n{stdout[-2000:]}") from None


def end_group(leader):
    """Ends what is left of the process group that `leader` leads: asks first, so that it can tidy up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 3
        for process in group(leader.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        while time.monotonic() < deadline:
            if not group(leader.pid):
                return
            time.sleep(0.01)


def group(number):
    """The living processes of a group; the dead that nobody has waited for are not among them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def tree():
    """This process and its living descendants."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def cpu_seconds(processes):
    """User and system time of these processes so far, in steps of 10 ms."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def write_report(name, report):
    """Writes a benchmark's numbers, and on what they were taken, where all results lie."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    report = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": CORES, "processor": platform.processor() or platform.machine()},
        **report,
    }
    (RESULTS / name).write_text(json.dumps(report, indent=2) + "\n")
    print(f"written: {RESULTS / name}")


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
