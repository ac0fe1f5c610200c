"""Predictors written in Python, in worker processes."""

import csv
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pyarrow.parquet as parquet
import pytest
import support
import vidmill

import predictors

HERE = Path(__file__).resolve().parent
FILE = HERE / "predictors.py"


@pytest.fixture(autouse=True)
def _python(monkeypatch):
    monkeypatch.setenv("VIDMILL_PYTHON", sys.executable)


@pytest.fixture(scope="module")
def flicker(bikes, tmp_path_factory):
    """Twelve frames of the street, of which 3, 4 and 9 are white."""
    path = tmp_path_factory.mktemp("flicker") / "flicker.mp4"
    white = "drawbox=t=fill:c=white:enable='eq(n,3)+eq(n,4)+eq(n,9)'"
    support.tool(
        *("ffmpeg", "-v", "error", "-i", bikes, "-frames:v", 12, "-vf", white),
        *("-c:v", "libx264", "-qp", 1, path),
    )
    return path


WHITE = [3, 4, 9]


def mood(monkeypatch, what="raise"):
    monkeypatch.setenv("TEST_MOOD", what)
    monkeypatch.setenv("TEST_ABOVE", "0.6")


def model(name):
    return f"{FILE}:{name}"


def failed(results):
    return [result.frame for result in results if result.status == "failed"]


@pytest.mark.parametrize("options", [{}, {"batch": 4, "workers": 1}, {"every": 3, "conf": 0.5, "recycle": 3}], ids=str)
def test_outputs_are_decoded_as_those_of_the_native_runtime(clips, models, monkeypatch, tmp_path, options):
    network = models / "yolov8_dynamic.onnx"
    monkeypatch.setenv("TEST_MODEL", str(network))
    native = {name: value for name, value in options.items() if name != "recycle"}
    with vidmill.run(clips / "h264.mp4", network, out=tmp_path / "native.jsonl", imgsz=160, **native) as run:
        assert any([len(result.detections) for result in run])
    with vidmill.run(clips / "h264.mp4", model("Network"), out=tmp_path / "own.jsonl", **options) as run:
        list(run)
    assert (tmp_path / "own.jsonl").read_bytes() == (tmp_path / "native.jsonl").read_bytes()
    told = run.manifest
    assert told["model"]["path"] == str(FILE) and told["model"]["class"] == "Network" and told["model"]["task"] == "yolov8"
    assert told["runtime"]["name"] == "python" and told["runtime"]["library"] == sys.executable
    assert told["parallelism"]["isolated"] and told["complete"]


def test_the_command_takes_a_class(clips, models, detect, vidmill, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_MODEL", str(models / "yolov8.onnx"))
    own = detect(clips / "h264.mp4", model("Network"), out="own.jsonl")
    native = detect(clips / "h264.mp4", models / "yolov8.onnx", out="native.jsonl")
    assert own.path.read_bytes() == native.path.read_bytes()
    assert "] a network is there" in own.done.err
    monkeypatch.setenv("VIDMILL_PYTHON", "/usr/bin/false")
    done = vidmill("run", clips / "h264.mp4", "-m", model("Network"))
    assert done.code == 1 and "before it was ready" in done.err
    monkeypatch.setenv("VIDMILL_PYTHON", str(tmp_path / "none"))
    done = vidmill("run", clips / "h264.mp4", "-m", model("Network"))
    assert done.code == 1 and str(tmp_path / "none") in done.err


def test_a_python_without_the_package_is_named(clips, vidmill, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("VIDMILL_PYTHON", str(python))
    done = vidmill("run", clips / "h264.mp4", "-m", model("Values"))
    assert done.code == 1 and "has no package" in done.err and "VIDMILL_PYTHON" in done.err


def test_boxes_come_out_in_pixels_of_the_frame(bikes):
    """640 x 272 letterboxed to 320 x 320: half the size, 92 rows of padding above."""
    with vidmill.run(bikes, predictors.Boxes, every=60, batch=2, workers=1) as run:
        results = list(run)
    for number, result in enumerate(results):
        assert result.detections.xyxy.tolist() == [[320, 136, 640, 272], [0, 0, 320, 136]]
        assert result.detections.class_name.tolist() == ["cat", "cow"]
        assert result.detections.class_id.tolist() == [0, 2]
        assert result.detections.confidence.tolist() == [0.75, 0.5]
        assert result.outputs == (None if number % 2 else {"n": 0})
        assert json.loads(result.to_json()) == result.to_dict()
    with vidmill.run(bikes, predictors.Boxes, every=200, conf=0.6, classes=["cat"]) as run:
        assert [len(result.detections) for result in run] == [1, 1]


def test_any_result_is_a_record(clips, tmp_path):
    with vidmill.run(clips / "h264.mp4", model("Values"), every=8, out=tmp_path / "v.jsonl") as run:
        results = list(run)
    assert all(result.detections is None for result in results)
    first = results[0].outputs
    assert first.keys() == {"mean", "max", "ints", "text", "none"}
    assert (first["max"], first["ints"], first["text"], first["none"]) == (0.1, [0, 1, 2], "é\n", None)
    lines = support.read_jsonl(tmp_path / "v.jsonl")
    assert [line["outputs"] for line in lines] == [result.outputs for result in results]
    assert all("detections" not in line for line in lines)


def test_outputs_have_their_column(clips, detect):
    records = detect(clips / "h264.mp4", model("Means"), "--every", 8).records
    table = detect(clips / "h264.mp4", model("Means"), "--every", 8, out="o.parquet")
    rows = parquet.read_table(table.path).to_pylist()
    assert [json.loads(row["outputs"]) for row in rows] == [record["outputs"] for record in records]
    assert {row["detections"] is None for row in rows} == {True}
    text = detect(clips / "h264.mp4", model("Means"), "--every", 8, out="o.csv")
    rows = list(csv.DictReader(text.path.open()))
    assert [json.loads(row["outputs"]) for row in rows] == [record["outputs"] for record in records]


def test_pixels_are_the_frames(bikes):
    """Against cv2's own frames, in gray and made small: within what two ways of scaling differ by."""
    with vidmill.run(bikes, predictors.Whole, every=50, batch=3) as run:
        results = list(run)
    capture = cv2.VideoCapture(str(bikes))
    for index in range(results[-1].frame + 1):
        _, picture = capture.read()
        if index % 50 == 0:
            result = results[index // 50]
            pixels = np.array(result.outputs["pixels"])
            assert pixels.shape == (4, 8) and result.outputs["sums"] == pixels.sum()
            own = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (8, 4), interpolation=cv2.INTER_LINEAR)
            assert abs(pixels - own.astype(int)).max() <= 6


@pytest.mark.parametrize("batch", [1, 4])
def test_a_view_that_is_kept_is_refused(flicker, monkeypatch, batch):
    mood(monkeypatch)
    with vidmill.run(flicker, model("Keeps"), batch=batch, workers=1) as run:
        results = list(run)
    # Frames that share their batch with a bright one are tried alone.
    assert failed(results) == WHITE
    refused = [result for result in results if result.status == "failed"]
    assert all("beyond the call" in result.error and ".copy()" in result.error for result in refused)
    with vidmill.run(flicker, model("Copies"), batch=batch, workers=1) as run:
        means = [result.outputs for result in run]
    assert [result.outputs for result in results if result.status == "ok"] == pytest.approx(
        [mean for number, mean in enumerate(means) if number not in WHITE]
    )


def test_the_batch_cannot_be_written_to(clips):
    with vidmill.run(clips / "h264.mp4", model("Writes"), every=10) as run:
        for result in run:
            assert result.status == "failed" and "read-only" in result.error


@pytest.mark.parametrize("batch", [1, 4])
def test_an_exception_is_a_failed_frame_with_its_traceback(flicker, monkeypatch, capfd, batch):
    mood(monkeypatch)
    with vidmill.run(flicker, model("Moody"), batch=batch) as run:
        results = list(run)
    assert failed(results) == WHITE and run.manifest["ledger"]["ok"] == 9
    for result in results:
        if result.status == "failed":
            first, rest = result.error.split("\n", 1)
            assert first == "ValueError: too bright for me" and result.attempts == 1
            assert "in lose_it" in rest and str(FILE) in rest and "_worker" not in rest
    assert "looked at" in capfd.readouterr().err


@pytest.mark.parametrize("what", ["exit", "interrupt"])
def test_a_predictor_cannot_end_its_worker_by_an_exception(flicker, monkeypatch, what):
    mood(monkeypatch, what)
    with vidmill.run(flicker, model("Moody")) as run:
        results = list(run)
    assert failed(results) == WHITE and run.manifest["worker_processes"]["started"] == 2


@pytest.mark.parametrize(
    ("what", "cause"), [("die", "SIGSEGV"), ("leave", "exit code 7"), ("hang", "more than 0.5")]
)
def test_a_frame_that_kills_its_worker_fails_alone(flicker, monkeypatch, what, cause):
    mood(monkeypatch, what)
    with vidmill.run(flicker, model("Moody"), timeout=0.5 if what == "hang" else None, workers=2) as run:
        results = list(run)
    assert failed(results) == WHITE
    for result in results:
        if result.status == "failed":
            assert cause in result.error and result.attempts == 3


def test_killed_workers_cost_nothing_but_time(clips, models, monkeypatch, tmp_path):
    """SIGKILL to random workers all the time: the bytes are those of an undisturbed run."""
    monkeypatch.setenv("TEST_MODEL", str(models / "yolov8.onnx"))
    clip = tmp_path / "long.mkv"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 40, "-i", clips / "h264.mp4", "-c", "copy", clip)
    with vidmill.run(clip, models / "yolov8.onnx", out=tmp_path / "native.jsonl") as run:
        list(run)
    generator, kills, frames = random.Random(7), 0, 0
    next_kill = time.monotonic()
    shared, own = support.shared_memory(), set(psutil.Process().children())
    with vidmill.run(clip, model("Network"), out=tmp_path / "own.jsonl", workers=2) as run:
        for result in run:
            frames += 1
            assert result.status == "ok"
            if time.monotonic() > next_kill:
                children = [child for child in psutil.Process().children() if child not in own and child.is_running()]
                if children:
                    os.kill(generator.choice(children).pid, signal.SIGKILL)
                    kills += 1
                next_kill = time.monotonic() + generator.uniform(0.02, 0.3)
    assert kills >= 3 and frames == run.manifest["ledger"]["sampled"]
    assert (tmp_path / "own.jsonl").read_bytes() == (tmp_path / "native.jsonl").read_bytes()
    assert support.shared_memory() <= shared and set(psutil.Process().children()) <= own


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ("None", "returned None"),
        ("[None] * n", "None for a frame"),
        ("7", "returned a int"),
        ("(batch, batch)", "returned a tuple"),
        ("boxes(np.ones((1, 4)), np.ones(1), np.ones(1), None)", "returned a SimpleNamespace"),
        ("{}", "empty dict"),
        ("np.array([None] * n)", "None for a frame"),
        ("[np.array(None)] * n", "None for a frame"),
        ("[boxes(np.ones((4, 3)), np.ones(4), np.ones(4), np.ones(4))] * n", "[n, 4]"),
        ("[boxes(np.ones((2, 4)), np.ones(2), np.ones(2), ['dog'])] * n", "class_name|2 boxes"),
        ("[boxes(np.ones((2, 4)), np.ones(2), np.ones(2), 'ab')] * n", "class_name|2 boxes"),
        ("[boxes(np.ones((1, 4)), np.ones(1), np.full(1, 2**31), np.ones(1))] * n", "class_id holds 2147483648"),
        ("[boxes(np.ones((1, 4)), np.ones(1), np.full(1, 1.5), np.ones(1))] * n", "not whole"),
        ("vidmill.Classes([0.5], [1])", "returned a Classes"),
        ("[vidmill.Found()] * n", "None for a frame"),
        ("[vidmill.Found(embedding=np.ones((2, 2)))] * n", "embedding has shape [2, 2]"),
        ("[vidmill.Detections([[0, 0, 9, 9]], [0.5], [1], track_id=[3])] * n", "cannot tell"),
        ("[vidmill.Detections([[0, 50, 9, 90]], [0.5], [1], masks=np.ones((1, 80, 80), bool))] * n", "a mask is 80x80"),
        ("[vidmill.Regions([1], np.ones((1, 80, 80), bool))] * n", "the model's input 160x160"),
        ("[vidmill.Found(embedding=np.array([1, np.inf]))] * n", "'embedding' holds inf"),
        ("[1] * (n + 1)", f"returned 2 results for 1 frames"),
        ("[{'a': float('nan')}] * n", "JSON"),
        ("np.full((n, 2), np.nan, np.float32)", "JSON"),
        ("[object()] * n", "holds a object"),
        ("[batch] * n + [1]", "returned 2 results"),
        ("[boxes(np.zeros((2, 4)), np.ones(1), np.ones(2), None)] * n", "different lengths|lengths"),
        ("[boxes(np.full((1, 4), np.inf), np.ones(1), np.ones(1), np.ones(1))] * n", "holds inf"),
        ("[boxes(np.ones((1, 4)), np.full(1, 7), np.ones(1), np.ones(1))] * n", "confidence 7"),
        ("[boxes(np.ones((1, 4)), np.ones(1), np.full(1, -1), np.ones(1))] * n", "class_id holds -1"),
    ],
)
def test_results_that_make_no_sense_fail_their_frames(clips, monkeypatch, result, error):
    monkeypatch.setenv("TEST_RESULT", result)
    with vidmill.run(clips / "h264.mp4", model("Wrong"), every=12, batch=1) as run:
        results = list(run)
    assert results and all(result.status == "failed" for result in results)
    assert any(part in results[0].error for part in error.split("|")), results[0].error


def test_large_outputs_come_through(clips, monkeypatch):
    """Of more than any message holds."""
    monkeypatch.setenv("TEST_RESULT", "[list(range(300_000))] * n")
    with vidmill.run(clips / "h264.mp4", model("Wrong"), every=12) as run:
        for result in run:
            assert result.status == "ok" and result.outputs == list(range(300_000)), result.error


@pytest.mark.parametrize(
    ("name", "error", "kind"),
    [
        ("Fails", "RuntimeError: no weights here", vidmill.RunFailed),
        ("Nope", "has no Nope; name one of:", vidmill.RunFailed),
        ("NoPredict", "no method predict", vidmill.RunFailed),
        ("HERE", "has no HERE", vidmill.RunFailed),
    ],
)
def test_what_cannot_be_built_says_why(clips, name, error, kind):
    with pytest.raises(kind, match=error), vidmill.run(clips / "h264.mp4", model(name)) as run:
        list(run)


def test_a_file_that_is_not_there(clips, tmp_path, vidmill):
    done = vidmill("run", clips / "h264.mp4", "-m", tmp_path / "none.py:Detector")
    assert done.code == 2 and f"cannot read {tmp_path}/none.py" in done.err
    (tmp_path / "broken.py").write_text("def f(:\n")
    done = vidmill("run", clips / "h264.mp4", "-m", tmp_path / "broken.py:Detector")
    assert done.code != 0 and "SyntaxError" in done.err and "broken.py" in done.err


def test_a_class_that_no_file_has(clips):
    class Local:
        def predict(self, batch):
            return batch

    with pytest.raises(ValueError, match="put it into one"):
        vidmill.run(clips / "h264.mp4", Local)


def test_choices_go_to_who_has_parameters_for_them(clips, vidmill, detect):
    [record, *_] = detect(clips / "h264.mp4", model("OnDevice"), "--device", "cuda:1", "--precision", "f16").records
    assert record["outputs"][:2] == ["cuda:1", "f16"]
    run = detect(clips / "h264.mp4", model("OnDevice"), "--threads", 2)
    assert run.records[0]["outputs"] == ["cpu", "f32", 2] and run.manifest["runtime"]["provider"] == "python"
    done = vidmill("run", clips / "h264.mp4", "-m", model("Values"), "--device", "cuda:0")
    assert done.code != 0 and "parameter `device`" in done.err
    done = vidmill("run", clips / "h264.mp4", "-m", model("Values"), "--precision", "f16")
    assert done.code != 0 and "parameter `precision`" in done.err


def test_a_fixed_batch_is_filled_up(clips):
    with vidmill.run(clips / "h264.mp4", model("Fixed")) as run:
        fixed = [result.outputs for result in run]
    with vidmill.run(clips / "h264.mp4", model("Means")) as run:
        means = [np.mean(result.outputs) for result in run]
    assert len(fixed) % 3 != 0 or len(fixed) > 3
    assert fixed == pytest.approx(means, abs=1e-5)


def test_a_module_of_a_package_keeps_its_imports(clips, tmp_path):
    package = tmp_path / "shop" / "models"
    package.mkdir(parents=True)
    for folder in (tmp_path / "shop", package):
        (folder / "__init__.py").touch()
    (package / "weights.py").write_text("SCALE = 3\n")
    (package / "tall.py").write_text(
        "from .weights import SCALE\nfrom shop.models import weights\n"
        "class Tall:\n    def predict(self, batch):\n        return [SCALE] * len(batch)\n"
    )
    with vidmill.run(clips / "h264.mp4", package / "tall.py:Tall", every=20) as run:
        assert {result.outputs for result in run} == {3}
    (tmp_path / "json.py").write_text("class Own:\n    def predict(self, batch):\n        return [5] * len(batch)\n")
    with vidmill.run(clips / "h264.mp4", tmp_path / "json.py:Own", every=20) as run:
        assert {result.outputs for result in run} == {5}


def test_options_of_worker_processes_need_worker_processes(clips, models, vidmill):
    done = vidmill("run", clips / "h264.mp4", "-m", models / "yolov8.onnx", "--timeout", 3)
    assert done.code == 2 and "--timeout" in done.err and "--isolate" in done.err


def test_an_interrupted_run_is_gone_on_with(clips, models, detect, vidmill, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_MODEL", str(models / "yolov8.onnx"))
    clip = tmp_path / "long.mkv"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 20, "-i", clips / "h264.mp4", "-c", "copy", clip)
    whole = detect(clip, model("Network"), out="whole.jsonl")
    part = tmp_path / "part.jsonl"
    run = vidmill.start("run", clip, "-m", model("Network"), "--out", part)
    while not part.exists() or part.stat().st_size < 1000:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130 and part.stat().st_size < whole.path.stat().st_size
    done = vidmill("run", clip, "-m", model("Network"), "--out", part, "--resume")
    assert done.code == 0, done.err
    assert part.read_bytes() == whole.path.read_bytes()


def test_the_native_runtime_gives_outputs_as_they_are(clips, models, detect):
    """`--task outputs`, against onnxruntime itself by way of a class."""
    native = detect(clips / "h264.mp4", models / "yolov8.onnx", "--task", "outputs", "--every", 10, out="a.jsonl")
    [first, *_] = native.records
    assert np.array(first["outputs"]["output0"]).shape == (9, 525)
    assert native.manifest["model"]["task"] == "outputs"
    found = vidmill_load_outputs(models / "yolov8.onnx")
    assert found == "outputs"


def vidmill_load_outputs(path):
    network = vidmill.load(path, task="outputs")
    picture = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(vidmill.ModelError, match="call find"):
        network.detect([picture])
    [found] = network.find([picture])
    assert found.detections is None and np.array(found.outputs["output0"]).shape == (9, 525)
    batch = np.zeros((1, 3, 160, 160), np.float32)
    assert network.predict(batch)["output0"].shape == network(batch)["output0"].shape
    return network.task


def test_inspect_and_doctor_tell_of_them(vidmill):
    told = json.loads(vidmill("inspect", model("Boxes"), "--json").out)
    assert told["plan"]["task"] == "outputs" and told["plan"]["classes"] == ["cat", "dog", "cow"]
    assert told["plan"]["input"]["size"] == {"width": 320, "height": 320}
    assert told["model"]["inputs"][0]["shape"] == ["batch", 320, 320, 3]
    assert "name one of" in vidmill("inspect", model("Nope")).err
    told = json.loads(vidmill("doctor", "--json").out)["python"]
    assert told["path"] == sys.executable and told["vidmill"]


@pytest.mark.parametrize(
    "result",
    [
        "[{np.int64(3): np.int8(4), 'b': [{np.int32(5): 1}]}] * n",
        "[np.float16([0.9946])] * n",
        "np.full((n, 2), 0.1)",
        "np.full((n, 2), np.float32(0.1))",
        "np.full((n, 2), np.longdouble(0.5))",
        "[{'a': chr(0xD800)}] * n",
        "{'a': np.arange(2 * n).reshape(n, 2), 'b': [[None]] * n}",
    ],
)
def test_whatever_numpy_has_is_written_as_json(clips, monkeypatch, result):
    monkeypatch.setenv("TEST_RESULT", result)
    expected = {
        "[{np.int64": {"3": 4, "b": [{"5": 1}]},
        "[np.float16": [0.9946289],
        "np.full((n, 2), 0.1)": [0.1, 0.1],
        "np.full((n, 2), np.float32": [0.1, 0.1],
        "np.full((n, 2), np.long": [0.5, 0.5],
        "[{'a': chr": {"a": chr(0xD800)},
        "{'a'": {"a": [0, 1], "b": [None]},
    }
    [value] = [value for begin, value in expected.items() if result.startswith(begin)]
    for batch in (1, 2):
        with vidmill.run(clips / "h264.mp4", model("Wrong"), every=12, batch=batch) as run:
            [first, *_] = [result.outputs for result in run]
        assert first == value


def test_a_null_within_a_result_is_read_back(clips, monkeypatch, detect, vidmill, tmp_path):
    monkeypatch.setenv("TEST_RESULT", "[[None]] * n")
    run = detect(clips / "h264.mp4", model("Wrong"), out="o.parquet")
    assert parquet.read_table(run.path).to_pylist()[0]["outputs"] == "[null]"


def test_another_class_does_not_go_on(clips, vidmill, tmp_path):
    out = tmp_path / "o.jsonl"
    assert vidmill("run", clips / "h264.mp4", "-m", model("Means"), "--out", out).code == 0
    done = vidmill("run", clips / "h264.mp4", "-m", model("Values"), "--out", out, "--resume")
    assert done.code == 2 and "class: " in done.err and "Means" in done.err and "Values" in done.err


def test_a_script_that_runs_itself_is_told_so(clips, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import vidmill\nclass Own:\n    def predict(self, batch):\n        return [1] * len(batch)\n"
        f"list(vidmill.run({str(clips / 'h264.mp4')!r}, Own))\n"
    )
    done = support.Command(sys.executable)(script, timeout=60)
    assert done.code == 1 and '__name__ == "__main__"' in done.err and len(done.err) < 20_000


def test_a_forked_child_does_not_answer(clips, tmp_path):
    (tmp_path / "forks.py").write_text(
        "import os\nclass Forks:\n    def predict(self, batch):\n        child = os.fork()\n"
        "        if child:\n            os.waitpid(child, 0)\n            return ['parent'] * len(batch)\n"
        "        if batch.mean() > 0.4:\n            raise ValueError('in the child')\n        return ['child'] * len(batch)\n"
    )
    with vidmill.run(clips / "h264.mp4", tmp_path / "forks.py:Forks") as run:
        assert {result.outputs for result in run} == {"parent"}


def test_a_predictor_may_change_the_folder(clips, tmp_path, monkeypatch):
    (tmp_path / "walks.py").write_text(
        "import os\nos.chdir('/')\nclass Walks:\n    def predict(self, batch):\n        return [1] * len(batch)\n"
    )
    monkeypatch.chdir(tmp_path)
    with vidmill.run(clips / "h264.mp4", "walks.py:Walks", recycle=5) as run:
        assert {result.outputs for result in run} == {1}
    assert run.manifest["model"]["path"] == "walks.py"


@pytest.mark.parametrize("name", ["predictors.py", "predictors.py:", "predictors.py:1"])
def test_a_class_has_to_be_named(clips, vidmill, name):
    for words in (["run", clips / "h264.mp4", "-m", HERE / name], ["inspect", HERE / name]):
        done = vidmill(*words)
        assert done.code == 2 and "name the class in it" in done.err and "predictors.py:Detector" in done.err


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "NCHW"}, {"dtype": "float64"}, {"size": (0, 3)}, {"size": "640"}, {"mean": (1, 2)}, {"std": (1, 0, 1)},
        {"pad": 300}, {"batch": 0}, {"range": 2}, {"color": "RGB"}, {"resize": "fit"},
    ],
    ids=str,
)
def test_an_input_that_makes_no_sense_is_refused(options):
    [name] = options
    with pytest.raises(ValueError, match=rf"Input\({name}="):
        vidmill.Input(**options)
    assert vidmill.Input(size=64, mean=np.array([1, 2, 3])).size == (64, 64)


def test_an_interruption_does_not_wait_for_the_model(clips, vidmill, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nclass Slow:\n    def __init__(self):\n        time.sleep(60)\n    def predict(self, batch):\n        return batch\n"
    )
    run = vidmill.start("run", clips / "h264.mp4", "-m", tmp_path / "slow.py:Slow", "--out", tmp_path / "o.jsonl")
    time.sleep(1.5)
    children = psutil.Process(run.pid).children()
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert run.returncode == 130 and "nothing was begun" in err and children
    assert not any(child.is_running() for child in children) and not (tmp_path / "o.jsonl").exists()


def test_python_libraries_keep_to_their_threads(clips, monkeypatch):
    monkeypatch.setenv("TEST_RESULT", "[(np.ones((300, 300)) @ np.ones((300, 300))).shape and __import__('psutil').Process().num_threads()] * n")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    with vidmill.run(clips / "h264.mp4", model("Wrong"), every=20) as run:
        assert {result.outputs for result in run} == {threads_beside(1)}


def threads_beside(numbers):
    """Of a worker whose NumPy has so many: importing onnxruntime starts some of its own, which no variable governs."""
    code = "import numpy as np, onnxruntime, psutil; np.ones((300, 300)) @ np.ones((300, 300)); print(psutil.Process().num_threads())"
    environment = {"OPENBLAS_NUM_THREADS": str(numbers), "OMP_NUM_THREADS": str(numbers)}
    done = support.Command(sys.executable)("-c", code, env=environment)
    return int(done.out)
