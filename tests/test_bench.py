"""vidmill bench: what it tells adds up, and is what other programs measure of the same decoder and the same runtime."""

import json
import os
import resource
import signal
import subprocess
import time
from xml.etree import ElementTree

import pytest
import support

STAGES = ("decode", "preprocess", "infer", "task")
TIMINGS = ("decode_one_thread", "decode", "preprocess", "infer", "task_decode")


@pytest.fixture(scope="module")
def measured(vidmill, bikes, centernet, tmp_path_factory):
    """(report, picture) of one measurement on a real clip and a real detector."""
    picture = tmp_path_factory.mktemp("bench") / "where <&>.svg"
    done = vidmill("bench", centernet, bikes, "--seconds", 0.5, "--repeat", 2, "--json", "--svg", picture)
    assert done.code == 0, done.err
    return json.loads(done.out), picture


@pytest.fixture(scope="module")
def report(measured):
    return measured[0]


def test_every_part_is_there_and_its_percentiles_rise(report):
    for name in TIMINGS:
        part = report[name]
        assert part["frames"] > 0 and part["frames_per_second"] > 0 and part["cpu_ms"] > 0, name
        assert 0 < part["ms"]["p50"] <= part["ms"]["p95"] <= part["ms"]["p99"], name
    whole = report["end_to_end"]
    latency = whole["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert whole["frames"] > 0 and whole["failed"] == 0
    assert whole["allocations_per_frame"] > 0 and whole["allocated_bytes_per_frame"] > 0
    assert whole["page_faults_per_frame"] >= 0
    assert whole["peak_memory_bytes"] > 10_000_000
    assert 0 <= whole["reader_waits"] <= 1 and 0 <= whole["workers_wait"] <= 1
    assert report["infer_all_workers"]["workers"] == report["parallelism"]["workers"]
    assert report["infer_all_workers"]["frames"] > 0
    assert report["rounds"] == 2 and report["seconds"] == pytest.approx(0.5)


def test_what_is_measured_on_is_told(report, bikes, centernet):
    assert report["model"] == str(centernet) and report["runtime"]["name"] == "onnxruntime"
    source = report["source"]
    assert (source["name"], source["generated"]) == (str(bikes), False)
    assert (source["width"], source["height"], source["codec"]) == (640, 272, "h264")
    assert report["cores"] == len(os.sched_getaffinity(0))
    preprocess = report["preprocess"]
    assert (preprocess["width"], preprocess["height"]) == (512, 512)
    assert preprocess["frame_bytes"] == 640 * 272 * 3 // 2
    assert preprocess["tensor_bytes"] == 512 * 512 * 3 * 4
    assert preprocess["gb_per_second"] == pytest.approx(
        (preprocess["frame_bytes"] + preprocess["tensor_bytes"]) / preprocess["ms"]["p50"] / 1e6
    )
    assert preprocess["memcpy_gb_per_second"] > 0.2


def test_the_limit_is_the_cores_over_the_stages(report):
    cpu, limit, whole = report["cpu_ms"], report["limit"], report["end_to_end"]
    parts = ("decode_one_thread", "preprocess", "infer", "task_decode")
    assert [cpu[stage] for stage in STAGES] == [report[part]["cpu_ms"] for part in parts]
    assert limit["cpu_ms"] == pytest.approx(sum(cpu[stage] for stage in STAGES))
    assert limit["frames_per_second"] == pytest.approx(report["cores"] * 1000 / limit["cpu_ms"])
    assert limit["share"] == pytest.approx(whole["frames_per_second"] / limit["frames_per_second"])
    assert cpu["rest"] == pytest.approx(whole["cpu_ms"] - limit["cpu_ms"])
    assert limit["by_device"] is False
    # Others may be running, so there is no telling how near it comes; but nothing comes far beyond.
    assert 0 < limit["share"] < 1.25
    largest = max(STAGES, key=cpu.get)
    assert largest == "infer" and f"{cpu['infer'] / limit['cpu_ms'] * 100:.0f} %" in report["advice"]


def test_decoding_takes_what_ffmpeg_takes(report, bikes):
    """CPU time, since a test does not have the machine for itself."""
    spent = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(bikes), "-an", "-vsync", "0", "-f", "null", "-"]
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append((after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000 / 250)
    assert min(spent) / 2 < report["decode_one_thread"]["cpu_ms"] < min(spent) * 2


def test_the_model_takes_what_it_takes_in_python(report, centernet):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is missing: the oracle of inference")
    import numpy as np

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(centernet), options, providers=["CPUExecutionProvider"])
    batch = {session.get_inputs()[0].name: np.full((1, 512, 512, 3), 114, np.float32)}
    session.run(None, batch)
    spent = []
    for _ in range(6):
        begin = time.process_time()
        session.run(None, batch)
        spent.append((time.process_time() - begin) * 1000)
    theirs = sorted(spent)[len(spent) // 2]
    assert theirs / 1.6 < report["infer"]["cpu_ms"] < theirs * 1.6


def test_the_picture_is_whole_and_names_all(measured):
    report, picture = measured
    root = ElementTree.parse(picture).getroot()
    svg = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{svg}svg"
    texts = [element.text for element in root.iter(f"{svg}text")]
    for name in ("decode, 1 thread", "preprocess", "task decode", "end to end", "the limit", "decoded to written"):
        assert name in texts, name
    assert any(text.startswith("infer") for text in texts)
    assert any(f"{report['limit']['share'] * 100:.0f} % of the limit" in text for text in texts)
    width, height = (float(root.get(side)) for side in ("width", "height"))
    for element in root.iter(f"{svg}rect"):
        right = float(element.get("x", 0)) + float(element.get("width"))
        bottom = float(element.get("y", 0)) + float(element.get("height"))
        assert right <= width + 0.1 and bottom <= height + 0.1
    # The bars are as long as what they stand for.
    bars = [e for e in root.iter(f"{svg}rect") if e.get("class") in STAGES and e.get("height") == "34.00"]
    infer, decode = (next(float(bar.get("width")) for bar in bars if bar.get("class") == c) for c in ("infer", "decode"))
    cpu = report["cpu_ms"]
    assert infer / decode == pytest.approx(cpu["infer"] / cpu["decode"], rel=0.15)


SHORT = ("--seconds", "0.1", "--repeat", "1")


def test_the_table_of_a_generated_clip(vidmill, models):
    done = vidmill("bench", models / "yolov8.onnx", *SHORT)
    assert done.code == 0, done.err
    for words in ("a generated clip", "1920x1080", "decode, 1 thread", "preprocess", "infer, 1 worker", "task decode"):
        assert words in done.out, words
    for words in ("end to end", "limit", "reached", "allocations", "waiting", "GB/s"):
        assert words in done.out, words


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("images_jpg/000.jpg", ()),
        ("images_jpg", ("--batch", "2")),
        ("h264.mp4", ("--isolate", "--workers", "2")),
        ("h264.mp4", ("--every", "5", "--workers", "1", "--end", "1")),
    ],
    ids=["an image", "a folder, batches of 2", "isolated", "every 5th"],
)
def test_what_a_run_takes_is_taken(vidmill, clips, models, source, options):
    path = clips / source
    if source.endswith("000.jpg"):
        path = min((clips / "images_jpg").iterdir())
    model = "yolov8_dynamic_batch.onnx" if "--batch" in options else "yolov8.onnx"
    done = vidmill("bench", models / model, path, *SHORT, "--json", *options)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["end_to_end"]["frames"] > 0 and report["infer"]["frames"] > 0
    assert report["parallelism"]["isolated"] == ("--isolate" in options)
    assert report["infer"]["batch"] == (2 if "--batch" in options else 1)
    assert (report["end_to_end"]["worker_peak_memory_bytes"] > 0) == ("--isolate" in options)
    # Decoding for a frame in five takes more than decoding one.
    assert report["limit"]["share"] < 1.5


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("none.mp4", (), ["none.mp4"]),
        ("broken.mp4", (), ["broken.mp4"]),
        ("-", (), ["again and again"]),
        ("rtsp://127.0.0.1/x", (), ["again and again"]),
        ("h264.mp4", ("--start", "1:00:00"), ["no frame", "--start"]),
        ("h264.mp4", ("--then", "x.onnx"), ["--then", "alone"]),
        ("h264.mp4", ("--device", "cuda"), ["cuda"]),
        ("h264.mp4", ("--svg", "nowhere/x.svg"), ["nowhere", "folder"]),
        ("h264.mp4", ("--seconds", "0"), ["--seconds"]),
        ("h264.mp4", ("--repeat", "0"), ["--repeat"]),
        ("h264.mp4", ("--timeout", "3"), ["--timeout", "--isolate"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_measured_is_refused(vidmill, clips, models, tmp_path, source, options, words):
    (tmp_path / "broken.mp4").write_bytes(b"this is no video" * 100)
    path = {"broken.mp4": tmp_path / source, "none.mp4": tmp_path / source, "h264.mp4": clips / source}.get(source, source)
    done = vidmill("bench", models / "yolov8.onnx", path, *SHORT, *options, cwd=tmp_path)
    assert done.code == 2, (done.code, done.err)
    assert done.out == ""
    for word in words:
        assert word in done.err, done.err


def test_a_model_that_cannot_be_used_is_refused(vidmill, clips, models, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"this is no model")
    for model in (tmp_path / "none.onnx", tmp_path / "bad.onnx", models / "embedding.onnx"):
        done = vidmill("bench", model, clips / "h264.mp4", *SHORT)
        assert done.code == 2 and model.name.split(".")[0] in done.err, done.err


@pytest.fixture(scope="module")
def dark(tmp_path_factory):
    """dark(which) is a white clip whose frames are black where the expression is not 0; the model of `nan` fails on these."""
    folder = tmp_path_factory.mktemp("dark")

    def make(name, which):
        path = folder / f"{name}.mp4"
        drawing = f"color=white:s=160x160:r=25:d=4,drawbox=t=fill:color=black:enable='{which}'"
        support.tool("ffmpeg", "-v", "error", "-f", "lavfi", "-i", drawing, path)
        return path

    return make


def test_frames_that_all_fail_are_an_error(vidmill, dark, models):
    done = vidmill("bench", models / "yolov8_nan.onnx", dark("all", "1"), *SHORT)
    assert done.code == 1 and "frames fail" in done.err, (done.code, done.err)


def test_frames_that_fail_are_counted(vidmill, dark, models):
    done = vidmill("bench", models / "yolov8_nan.onnx", dark("half", "mod(n,2)"), *SHORT, "--json")
    assert done.code == 3, (done.code, done.err)
    whole = json.loads(done.out)["end_to_end"]
    assert whole["failed"] > 0 and whole["frames"] > 0


def test_a_signal_ends_it_at_once_and_leaves_nothing(vidmill, bikes, centernet, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = vidmill.start("bench", centernet, bikes, "--seconds", 60, env=environment)
    try:
        end = time.monotonic() + 20
        while not list(tmp_path.glob("vidmill-*")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=10)
        assert process.returncode == 130, error
        assert out == "" and list(tmp_path.glob("vidmill-*")) == []
    finally:
        process.kill()
        process.communicate()
