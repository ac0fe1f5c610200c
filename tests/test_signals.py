"""Interrupted runs: what was written is whole, counted and readable, and nothing is left behind."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import support

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(scope="module")
def long_clip(clips, tmp_path_factory):
    """The real clip many times over: longer than any test waits."""
    path = tmp_path_factory.mktemp("long") / "long.mkv"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 400, "-i", clips / "h264.mp4", "-c", "copy", path)
    return path


@pytest.fixture
def started(vidmill, long_clip, centernet, tmp_path):
    """started(out, options...) is a run that has already written records; it is ended with the test."""
    processes = []

    def start(out, *options):
        process = vidmill.start("run", long_clip, "--model", centernet, "--out", out, "--progress", "off", *options)
        processes.append(process)
        written = [out, Path(f"{out}.partial.jsonl")]
        wait_for(lambda: any(p.exists() and p.stat().st_size > 1000 for p in written) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.02)


def shared_memory():
    """What lies in shared memory, but for the semaphores of other programs' Python."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("sem.mp-")}


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_ends_the_run_with_valid_outputs(started, tmp_path, number):
    before = shared_memory()
    out, video = tmp_path / "out.jsonl", tmp_path / "boxes.mp4"
    process = started(out, "--annotate", video)
    process.send_signal(number)
    process.wait(20)
    assert process.returncode == CODES[number], process.stderr.read()
    records = support.read_jsonl(out)
    assert [r["frame"] for r in records] == list(range(len(records)))
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    assert manifest["interrupted"] is True and manifest["complete"] is False
    (source,) = manifest["sources"]
    support.assert_balanced(source["ledger"])
    assert source["ledger"]["ok"] == len(records) > 0
    assert len(support.ffprobe_frames(video)) == len(records)
    assert shared_memory() <= before


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.json"])
def test_other_formats_are_closed_validly_too(started, tmp_path, name):
    import pandas

    out = tmp_path / name
    process = started(out)
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert process.returncode == 143
    ledger = json.loads(Path(f"{out}.manifest.json").read_text())["ledger"]
    if name.endswith(".json"):
        images = {result["image_id"] for result in json.loads(out.read_text())}
        assert images and max(images) < ledger["ok"]
    else:
        table = pandas.read_csv(out) if name.endswith(".csv") else pandas.read_parquet(out)
        assert sorted(set(table["frame"])) == list(range(ledger["ok"]))


def test_a_second_signal_ends_it_at_once(vidmill, long_clip, models, tmp_path):
    """The first signal waits for what is in flight; here a reader that never reads holds that up."""
    process = vidmill.start("run", long_clip, "--model", models / "yolov8.onnx", "--progress", "off")
    try:
        time.sleep(1.5)  # by now the pipe is full, and the run is stuck on it
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(5)
        assert process.returncode in (130, -signal.SIGINT)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_kill_leaves_whole_records_and_nothing_else(started, tmp_path):
    before = shared_memory()
    out = tmp_path / "out.jsonl"
    process = started(out)
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait(10)
    lines = out.read_bytes().split(b"\n")
    assert len(lines) > 3
    for number, line in enumerate(lines[:-1]):
        assert json.loads(line)["frame"] == number
    assert shared_memory() <= before
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_killed_parquet_can_be_recovered_up_to_its_last_record(started, tmp_path):
    out = tmp_path / "out.parquet"
    process = started(out)
    time.sleep(0.5)
    process.kill()
    process.wait(10)
    if out.exists():
        import pandas

        assert len(pandas.read_parquet(out)) > 0
        return
    partial = Path(f"{out}.partial.jsonl")
    lines = partial.read_bytes().split(b"\n")
    assert [json.loads(line)["frame"] for line in lines[:-1]] == list(range(len(lines) - 1))
    assert len(lines) > 2


def test_a_closed_pipe_ends_the_run(vidmill, long_clip, models):
    """`vidmill run ... | head`: no panic, no hang."""
    process = vidmill.start("run", long_clip, "--model", models / "yolov8.onnx", "--progress", "off")
    try:
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        process.wait(20)
        message = process.stderr.read()
        assert "panicked" not in message
        assert process.returncode in (0, 1, 141, -signal.SIGPIPE)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
