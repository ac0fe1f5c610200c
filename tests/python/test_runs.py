"""vidmill.run, against the command's records."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as parquet
import pytest
import support
import vidmill


def dicts(results):
    return [result.to_dict() for result in results]


@pytest.fixture(scope="module")
def long_clip(clips, tmp_path_factory):
    """The real clip many times over: longer than any test waits."""
    path = tmp_path_factory.mktemp("long") / "long.mkv"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 400, "-i", clips / "h264.mp4", "-c", "copy", path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"every": 5, "conf": 0.5, "max_det": 2},
        {"fps": 4.0, "classes": [0, "1"]},
        {"start": 0.2, "end": "0.8", "batch": 1, "workers": 1, "threads": 1},
        {"isolate": True, "timeout": 60, "worker_memory": "4G", "recycle": 7},
    ],
    ids=str,
)
def test_results_are_the_commands_records(clips, models, detect, tmp_path, options):
    command = detect(clips / "h264.mp4", models / "yolov8.onnx", *typed(options))
    with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", out=tmp_path / "own.jsonl", **options) as run:
        results = list(run)
    assert dicts(results) == command.records
    assert [json.loads(result.to_json()) for result in results] == command.records
    assert (tmp_path / "own.jsonl").read_bytes() == command.path.read_bytes()
    assert run.manifest["complete"] and run.manifest["ledger"] == command.manifest["ledger"]
    support.assert_balanced(run.manifest["ledger"])


def test_tracks(clips, models, detect, tmp_path):
    """What comes in Python has the ids that are written."""
    (settings := tmp_path / "own.toml").write_text('tracker_type = "sort"\nmin_hits = 1\n')
    for track in ("bytetrack", settings):
        command = detect(clips / "h264.mp4", models / "yolov8.onnx", "--track", track)
        with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", out=tmp_path / "own.jsonl", track=track) as run:
            results = list(run)
        assert (tmp_path / "own.jsonl").read_bytes() == command.path.read_bytes()
        assert b'"track_id":1' in command.path.read_bytes()
        written = [[detection.get("track_id", -1) for detection in record["detections"]] for record in command.records]
        for result, ids in zip(results, written, strict=True):
            found = result.detections
            assert ids == ([-1] * len(found) if found.track_id is None else found.track_id.tolist())
        assert run.manifest["track"] == command.manifest["track"]
    with pytest.raises(ValueError, match="deepsort.*bytetrack"):
        vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", track="deepsort")


def typed(options):
    words = []
    for name, value in options.items():
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, list):
            words.append(",".join(map(str, value)))
        elif value is not True:
            words.append(value)
    return words


def test_several_sources_and_failures(dark, clips, models, detect):
    command = detect(dark, models / "yolov8_nan.onnx", code=3)
    with vidmill.run([dark, str(clips / "images_png")], models / "yolov8_nan.onnx") as run:
        results = list(run)
    assert dicts(results)[: len(command.records)] == command.records
    assert {result.status for result in results} == {"ok", "failed"}
    failed = next(result for result in results if result.status == "failed")
    assert failed.detections is None and failed.attempts == 1 and failed.error
    assert run.manifest["ledger"]["failed"] >= command.manifest["ledger"]["failed"]
    assert [source["source"] for source in run.manifest["sources"]] == [str(dark), str(clips / "images_png")]


def test_nothing_is_written_unless_asked_for(clips, models, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with vidmill.run([clips / "h264.mp4", clips / "vfr.mp4"], models / "yolov8.onnx", every=8) as run:
        assert len(list(run)) > 3
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr().out == ""
    with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", every=8, annotate=tmp_path / "boxes.mp4") as run:
        list(run)
    assert {path.name for path in tmp_path.iterdir()} == {"boxes.mp4", "boxes.mp4.manifest.json"}


def test_results_come_while_it_runs_and_wait_for_whoever_takes_them(long_clip, models):
    with vidmill.run(long_clip, models / "yolov8.onnx", workers=1) as run:
        first = next(run)
        assert first.frame == 0
        with pytest.raises(RuntimeError, match="still going"):
            run.manifest
        time.sleep(1.5)
        before = run.progress["settled"]
        time.sleep(0.5)
        # It stands still, with a bounded number of results and frames waiting.
        assert run.progress["settled"] == before < 100
        assert [next(run).frame for _ in range(200)] == list(range(1, 201))
    assert run.manifest["interrupted"] and not run.manifest["complete"]
    support.assert_balanced(run.manifest["ledger"])


def test_memory_does_not_grow_with_results(long_clip, models):
    process = psutil.Process()
    with vidmill.run(long_clip, models / "yolov8.onnx") as run:
        for result in run:
            if result.frame == 300:
                early = process.memory_info().rss
            if result.frame == 1500:
                break
    assert process.memory_info().rss - early < 30e6


def test_stop_ends_it_validly(long_clip, models, tmp_path):
    run = vidmill.run(long_clip, models / "yolov8.onnx", out=tmp_path / "out.parquet")
    results = []
    for result in run:
        results.append(result.frame)
        if len(results) == 50:
            run.stop()
    assert results == list(range(len(results))) and 50 <= len(results) < 300
    assert run.manifest["interrupted"]
    assert parquet.read_table(tmp_path / "out.parquet").column("frame").to_pylist() == results
    assert list(run) == []


def test_what_was_stopped_is_resumed(clips, models, detect, tmp_path):
    command = detect(clips / "h264.mp4", models / "yolov8.onnx")
    out = tmp_path / "own.jsonl"
    with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", out=out, workers=1) as run:
        next(run)
    done = len(support.read_jsonl(out))
    with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", out=out, resume=True) as run:
        rest = list(run)
    assert dicts(rest) == command.records[done:]
    assert out.read_bytes() == command.path.read_bytes()
    with pytest.raises(vidmill.RunFailed, match="--resume"):
        list(vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", resume=True))


def test_async_for_gives_the_same_results(clips, models, detect):
    async def read():
        async with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx") as run:
            found = [result async for result in run]
        return found, run.manifest

    found, manifest = asyncio.run(read())
    assert dicts(found) == detect(clips / "h264.mp4", models / "yolov8.onnx").records
    assert manifest["complete"]


SCRIPT = """
import sys, vidmill
clip, model, out, how = sys.argv[1:]
run = vidmill.run(clip, model, out=out)
try:
    for result in run:
        if result.frame == 20:
            print("going", flush=True)
        if how == "leave" and result.frame == 40:
            sys.exit(0)
except KeyboardInterrupt:
    print("interrupted", run.manifest["interrupted"] if how == "manifest" else "", flush=True)
"""


@pytest.fixture
def script(long_clip, models, tmp_path):
    """script(how) starts a program that runs a model; it has taken results already."""
    processes = []

    def start(how):
        out = tmp_path / "out.parquet"
        command = [sys.executable, "-c", SCRIPT, long_clip, models / "yolov8.onnx", out, how]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "going\n"
        return process, out

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_ctrl_c_leaves_valid_outputs(script):
    process, out = script("catch")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "interrupted" in process.stdout.read()
    frames = parquet.read_table(out).column("frame").to_pylist()
    assert frames == list(range(len(frames))) and len(frames) > 20
    assert json.loads(out.with_name("out.parquet.manifest.json").read_text())["interrupted"]


def test_the_end_of_python_leaves_valid_outputs(script):
    process, out = script("leave")
    assert process.wait(30) == 0
    frames = parquet.read_table(out).column("frame").to_pylist()
    assert frames == list(range(len(frames))) and len(frames) > 40


def test_a_killed_worker_costs_only_time(clips, models, detect):
    command = detect(clips / "h264.mp4", models / "yolov8.onnx")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", isolate=True, workers=2) as run:
        results = [next(run)]
        workers = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        results += list(run)
    assert workers and dicts(results) == command.records
    assert all(not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE for worker in workers)


def test_what_cannot_be_run_is_told(clips, models, tmp_path):
    with pytest.raises(ValueError, match="--every"):
        vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", every=0)
    with pytest.raises(ValueError, match="cannot be used with"):
        vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", every=2, fps=2)
    with pytest.raises(FileNotFoundError, match="nowhere.mp4"):
        next(vidmill.run(tmp_path / "nowhere.mp4", models / "yolov8.onnx"))
    with pytest.raises(FileNotFoundError, match="nowhere.onnx"):
        next(vidmill.run(clips / "h264.mp4", tmp_path / "nowhere.onnx"))
    (tmp_path / "text.mp4").write_text("no video")
    run = vidmill.run(tmp_path / "text.mp4", models / "yolov8.onnx")
    with pytest.raises(vidmill.MediaError, match="not a video"):
        next(run)
    with pytest.raises(RuntimeError, match="failed"):
        run.manifest
    with pytest.raises(vidmill.RunFailed, match="overwrite"):
        next(vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", out=clips / "h264.mp4"))


def test_several_sources_at_once(clips, models, binary, tmp_path):
    sources, path = [clips / "h264.mp4", clips / "images_png", clips / "vfr.mp4"], tmp_path / "out.jsonl"
    done = support.Command(binary)("run", *sources, "--model", models / "yolov8.onnx", "--every", 2, "--at-once", 2, "--out", path)
    assert done.code == 0, done.err
    with vidmill.run(sources, models / "yolov8.onnx", every=2, at_once=2, out=tmp_path / "own.jsonl") as run:
        first = [next(run).source for _ in range(2)]
        assert first[0] == str(sources[0]) and first[1].startswith(str(sources[1]))
        results = list(run)
    assert dicts(results) == support.read_jsonl(path)[2:]
    assert (tmp_path / "own.jsonl").read_bytes() == path.read_bytes()
    assert run.manifest["at_once"] == 2 and run.progress["open"] == 0
    with pytest.raises(ValueError, match="--at-once"):
        vidmill.run(sources, models / "yolov8.onnx", at_once=0)


def test_several_sources_at_once_are_stopped_and_resumed(clips, models, binary, tmp_path):
    sources, path = [clips / "h264.mp4", clips / "vfr.mp4", clips / "vp9.webm"], tmp_path / "out.jsonl"
    options = {"at_once": 3, "track": "sort"}
    with vidmill.run(sources, models / "yolov8.onnx", out=path, **options) as run:
        for _ in range(5):
            next(run)
    assert run.manifest["interrupted"]
    for source in run.manifest["sources"]:
        support.assert_balanced(source["ledger"])
    done = len(support.read_jsonl(path))
    with vidmill.run(sources, models / "yolov8.onnx", out=path, resume=True, **options) as run:
        results = list(run)
    assert run.manifest["complete"] and run.manifest["resumed"] == done
    whole = support.Command(binary)("run", *sources, "--model", models / "yolov8.onnx", *typed(options), "--out", tmp_path / "whole.jsonl")
    assert whole.code == 0 and path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert dicts(results) == support.read_jsonl(path)[done:]
