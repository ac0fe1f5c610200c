"""Cascades: a second model on what the first one found. The reference cuts the same boxes out of the same frames by hand."""

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
import support
import test_isolate
from onnx_graph import Graph

SIDE = 64
CELLS = 8


def mean_model(path, batch="batch", dark=None, metadata=None, slow=0):
    """Writes a model that gives the means of 8x8 cells of its picture; NaN for pictures whose mean lies below `dark`."""
    graph = Graph()
    x = graph.input("images", [batch, 3, SIDE, SIDE])
    cells = graph.emit("AveragePool", [x], kernel_shape=[SIDE // CELLS] * 2, strides=[SIDE // CELLS] * 2)
    if dark is not None:
        mean = graph.emit("ReduceMean", [x, graph.ints(1, 2, 3)], keepdims=1)
        nan = graph.emit("Log", [graph.emit("Sub", [mean, graph.float(dark)])])
        cells = graph.emit("Add", [cells, graph.emit("Mul", [nan, graph.float(1e-30)])])
    for number in range(slow):
        weight = np.random.default_rng(number).normal(0, 0.01, (3, 3, 7, 7)).astype(np.float32)
        blurred = graph.emit("Conv", [x, graph.constant(weight)], pads=[3] * 4)
        nought = graph.emit("Mul", [graph.emit("ReduceMean", [blurred, graph.ints(1, 2, 3)], keepdims=1), graph.float(0)])
        cells = graph.emit("Add", [cells, nought])
    graph.output("cells", cells, [batch, 3, CELLS, CELLS])
    own = {"vidmill.task": "outputs", "vidmill.resize": "stretch"}
    onnx.save(graph.model("means", "test_cascade", own | (metadata or {})), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cascade")


@pytest.fixture(scope="module")
def means(folder):
    return mean_model(folder / "means.onnx")


@pytest.fixture(scope="module")
def clip(clips):
    return clips / "h264.mp4"


@pytest.fixture
def cascade(detect, clip, models):
    """cascade(second model, options...) runs the detector with it."""
    return lambda second, *options, **settings: detect(clip, models / "yolov8_dynamic_batch.onnx", "--then", second, *options, **settings)


def cells_by_hand(session, frame, xyxy):
    x1, y1 = np.floor(xyxy[:2]).astype(int)
    x2, y2 = np.ceil(xyxy[2:]).astype(int)
    crop = cv2.resize(frame[y1:y2, x1:x2], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return session.run(None, {"images": crop.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0][0]


def assert_close(detection, expected):
    """By hand, bytes are rounded once more, and colours are swscale's, which differ where they change sharply."""
    off = np.abs(np.array(detection["outputs"]["cells"]) - expected)
    assert off.mean() < 0.6 / 255 and off.max() < 4 / 255, (detection["xyxy"], off.mean() * 255, off.max() * 255)


def test_every_detection_has_what_its_crop_gives_by_hand(cascade, detect, clip, models, means):
    run = cascade(means)
    alone = detect(clip, models / "yolov8_dynamic_batch.onnx", out="alone.jsonl")
    frames = support.rgb_frames(clip)
    session = onnxruntime.InferenceSession(str(means), providers=["CPUExecutionProvider"])
    compared = 0
    for record, plain, frame in zip(run.records, alone.records, frames, strict=True):
        assert [{k: v for k, v in d.items() if k != "outputs"} for d in record["detections"]] == plain["detections"]
        for detection in record["detections"]:
            assert_close(detection, cells_by_hand(session, frame, detection["xyxy"]))
            compared += 1
    assert compared > 100
    manifest = run.manifest
    assert manifest["then"]["model"]["path"] == str(means) and manifest["then"]["model"]["task"] == "outputs"
    assert manifest["then"]["parallelism"]["workers"] >= 1
    assert all(manifest["stage_seconds"][name] > 0 for name in ("crop", "then_infer", "then_task"))
    support.assert_balanced(run.ledger)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_crops_are_of_the_frame_as_it_is_displayed(detect, clips, models, means, angle):
    rotated = clips / f"rotate{angle}.mp4"
    run = detect(rotated, models / "yolov8_dynamic_batch.onnx", "--then", means)
    frames = support.rgb_frames(rotated)
    side = support.ffprobe_stream(rotated)["side_data_list"][0]["rotation"]
    session = onnxruntime.InferenceSession(str(means), providers=["CPUExecutionProvider"])
    compared = 0
    for record, frame in zip(run.records, frames, strict=True):
        upright = np.ascontiguousarray(support.upright(frame, -int(side)))
        for detection in record["detections"]:
            assert_close(detection, cells_by_hand(session, upright, detection["xyxy"]))
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("options", [
    ("--workers", 1), ("--workers", 3, "--then-batch", 7), ("--batch", 4, "--then-batch", 3), ("--isolate", "--workers", 2),
    ("--isolate", "--workers", 1, "--batch", 3, "--then-batch", 16),
])
def test_whatever_the_workers_and_batches_the_bytes_are_the_same(cascade, means, options):
    reference = cascade(means, "--workers", 2, "--then-batch", 1, out="reference.jsonl").path.read_bytes()
    assert cascade(means, *options, out="other.jsonl").path.read_bytes() == reference


def test_frames_without_detections_and_with_very_many_pass(cascade, means):
    none = cascade(means, "--conf", 1, out="none.jsonl")
    assert all(record["detections"] == [] for record in none.records)
    many = cascade(means, "--conf", 0, "--iou", 1, "--then-batch", 5, "--workers", 1, out="many.jsonl")
    assert max(len(record["detections"]) for record in many.records) > 200
    assert all("outputs" in detection for record in many.records for detection in record["detections"])
    isolated = cascade(means, "--conf", 0, "--iou", 1, "--isolate", "--workers", 2, out="isolated.jsonl")
    assert isolated.path.read_bytes() == many.path.read_bytes()


def test_only_the_classes_asked_for_are_passed_on(cascade, means, models):
    run = cascade(means, "--then-classes", "car,0")
    given = {d["class"]: "outputs" in d for record in run.records for d in record["detections"]}
    assert given.pop("car") and given.pop("person") and given and not any(given.values())
    assert run.manifest["then"]["classes"] == ["car", "0"]


def test_an_unknown_class_is_refused(vidmill, clip, models, means):
    done = vidmill("run", clip, "--model", models / "yolov8.onnx", "--then", means, "--then-classes", "cra")
    assert done.code == 2 and "did you mean 'car'" in done.err


def test_a_model_that_finds_nothing_cannot_be_followed(vidmill, clip, models, folder, means):
    embed = mean_model(folder / "first.onnx")
    done = vidmill("run", clip, "--model", embed, "--then", means)
    assert done.code == 0 and "detections" not in json.loads(done.out.splitlines()[0])
    done = vidmill("run", clip, "--model", models / "yolov8.onnx", "--then-classes", "car")
    assert done.code == 2 and "--then" in done.err


@pytest.mark.parametrize("isolate", [(), ("--isolate", "--workers", 2)])
def test_a_crop_that_fails_makes_its_frame_fail_and_names_it(cascade, means, folder, isolate):
    plain = cascade(means, out="plain.jsonl")
    dark = mean_model(folder / "dark.onnx", dark=0.35)
    run = cascade(dark, "--then-batch", 4, *isolate, out="dark.jsonl", code=3)
    failed = 0
    for record, whole in zip(run.records, plain.records, strict=True):
        is_dark = [np.mean(d["outputs"]["cells"]) for d in whole["detections"]]
        if min(is_dark, default=1) > 0.3501:
            assert record == whole
        elif min(is_dark) < 0.3499:
            first = next(n for n, mean in enumerate(is_dark) if mean < 0.35)
            assert record["status"] == "failed" and record["attempts"] == 1
            assert record["error"].startswith(f"detection {first} ({whole['detections'][first]['class']} at ")
            assert "'cells' holds NaN" in record["error"]
            failed += 1
    assert 0 < failed < len(run.records)
    assert run.ledger["failed"] == sum(record["status"] == "failed" for record in run.records)


def test_the_first_model_may_name_the_second(detect, clip, models, means, folder):
    model = onnx.load(models / "yolov8_dynamic_batch.onnx")
    for key, value in {"vidmill.then": "sub/means.onnx", "vidmill.then_classes": "car, person"}.items():
        model.metadata_props.add(key=key, value=value)
    named = folder / "named.onnx"
    onnx.save(model, named)
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub" / "means.onnx").write_bytes(means.read_bytes())
    by_name = detect(clip, named, out="named.jsonl")
    by_option = detect(clip, models / "yolov8_dynamic_batch.onnx", "--then", means, "--then-classes", "car,person", out="option.jsonl")
    assert by_name.path.read_bytes() == by_option.path.read_bytes()
    assert by_name.manifest["then"]["classes"] == ["car", "person"]


def test_annotated_videos_are_those_of_the_first_model(cascade, detect, clip, models, means, tmp_path):
    cascade(means, "--annotate", tmp_path / "two.mp4", out="two.jsonl")
    detect(clip, models / "yolov8_dynamic_batch.onnx", "--annotate", tmp_path / "one.mp4", out="one.jsonl")
    assert (tmp_path / "two.mp4").stat().st_size > 1000
    two, one = (support.rgb_frames(tmp_path / name).shape for name in ("two.mp4", "one.mp4"))
    assert two == one


def then_workers(run):
    return [process for process in test_isolate.workers_of(run) if process.is_running()]


def test_killed_workers_of_either_model_cost_nothing(vidmill, clips, models, folder, tmp_path):
    film = test_isolate.loop(clips / "h264.mp4", 8, tmp_path / "film.mkv")
    slow = mean_model(folder / "slow.onnx", slow=1)
    command = ("run", film, "--model", models / "yolov8_dynamic_batch.onnx", "--then", slow, "--progress", "off")
    reference = vidmill(*command, "--out", tmp_path / "plain.jsonl")
    assert reference.code == 0, reference.err
    out = tmp_path / "killed.jsonl"
    run = vidmill.start(*command, "--isolate", "--workers", 2, "--out", out)
    chance, kills = random.Random(7), 0
    try:
        test_isolate.wait_for(lambda: test_isolate.size(out) > 2000)
        while run.poll() is None and kills < 12:
            if workers := test_isolate.children_of(run):
                test_isolate.send(signal.SIGKILL, [chance.choice(workers)])
                kills += 1
            try:
                run.wait(0.15)
            except subprocess.TimeoutExpired:
                pass
        assert run.wait(120) == 0, run.stderr.read()
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
        run.stderr.close()
    assert kills >= 6
    assert out.read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    assert manifest["worker_processes"]["started"] > 4
    assert not test_isolate.workers_of(run)


@pytest.mark.parametrize("isolate", [(), ("--isolate",)])
def test_interrupted_runs_go_on_to_the_same_bytes(vidmill, clips, models, folder, tmp_path, isolate):
    film = test_isolate.loop(clips / "h264.mp4", 6, tmp_path / "film.mkv")
    slow = mean_model(folder / "slow.onnx", slow=1)
    command = ("run", film, "--model", models / "yolov8_dynamic_batch.onnx", "--then", slow, "--progress", "off", *isolate)
    assert vidmill(*command, "--out", tmp_path / "plain.jsonl").code == 0
    out = tmp_path / "stopped.jsonl"
    stops = 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        run = vidmill.start(*command, "--out", out, "--resume")
        before = test_isolate.size(out)
        test_isolate.wait_for(lambda before=before, run=run: test_isolate.size(out) > before + 3000 or run.poll() is not None)
        run.send_signal(number)
        stops += run.wait(60) == code
        run.stdout.close()
        run.stderr.close()
    assert vidmill(*command, "--out", out, "--resume").code == 0
    assert stops >= 2
    assert out.read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


def test_another_second_model_is_another_run(vidmill, clip, models, means, folder, tmp_path):
    command = ("run", clip, "--model", models / "yolov8.onnx", "--out", tmp_path / "out.jsonl")
    assert vidmill(*command, "--then", means).code == 0
    assert vidmill(*command, "--then", means, "--resume").code == 0
    other = mean_model(folder / "other.onnx", slow=1)
    for options in (("--then", other), (), ("--then", means, "--then-classes", "car"), ("--then", means, "--then-conf", 0.5)):
        done = vidmill(*command, *options, "--resume")
        assert done.code == 2 and "then" in done.err, (options, done.err)


def test_memory_does_not_grow_with_the_video(binary, clips, models, means, tmp_path):
    def peak(times):
        path = tmp_path / f"{times}.mkv"
        command = ("run", path, "--model", models / "yolov8.onnx", "--then", means, "--conf", 0.6, "--progress", "off", "--out", tmp_path / "out.jsonl")
        process = subprocess.Popen([binary, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    for times in (4, 28):
        test_isolate.loop(clips / "h264.mp4", times, tmp_path / f"{times}.mkv")
    short, long = (min(peak(times) for _ in range(2)) for times in (4, 28))
    assert long <= short * 1.05, f"{short} KB for one length, {long} KB for seven"


def test_a_second_signal_ends_it_at_once(vidmill, clips, models, folder, tmp_path):
    film = test_isolate.loop(clips / "h264.mp4", 100, tmp_path / "film.mkv")
    slow = mean_model(folder / "very_slow.onnx", slow=20)
    out = tmp_path / "out.jsonl"
    run = vidmill.start("run", film, "--model", models / "yolov8.onnx", "--then", slow, "--isolate", "--out", out, "--conf", 0)
    test_isolate.wait_for(lambda: len(psutil.Process(run.pid).children()) >= 2)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGINT)
    test_isolate.wait_for(lambda: run.poll() is not None, 10)
    run.stdout.close()
    run.stderr.close()
    test_isolate.wait_for(lambda: not test_isolate.workers_of(run), 5)
