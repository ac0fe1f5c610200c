"""The package as it is installed: its types, and the command that comes with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import support
import vidmill

PACKAGE = support.ROOT / "crates" / "vidmill-python"
SCRIPT = Path(sys.executable).parent / "vidmill"

USES = '''
import asyncio
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import vidmill

with vidmill.frames("a.mp4", every=5, fps=Fraction(1, 3), start="0:01", end=2, size=(640, 360), format="bgr") as frames:
    for frame in frames:
        assert_type(frame.array, NDArray[np.uint8])
        assert_type(frame.time, float | None)
    frame = frames[3]
    assert_type(frame, vidmill.Frame)
    assert_type(frames.at("0:03"), vidmill.Frame)

memoryview(frame)
np.from_dlpack(frame)
detector = vidmill.load("m.onnx")
detector.detect([memoryview(frame), frame, frame.array])
detector(memoryview(b""))
assert_type(vidmill.Detections([[1, 2, 3, 4]], [0.5], np.array([1])), vidmill.Detections)
assert_type(vidmill.Detections(xyxy=[], confidence=[], class_id=[], class_name=["car"]).class_name, NDArray[np.str_])

model = vidmill.load("m.onnx", device="cuda:0", classes=["person", 2])
predictor: vidmill.Predictor[dict[str, NDArray[np.float32]]] = model


class Means:
    input = vidmill.Input(size=(320, 192), dtype="uint8", layout="nhwc")

    def predict(self, batch: NDArray[np.uint8], /) -> list[float]:
        return [float(frame.mean()) for frame in batch]


means: vidmill.Predictor[list[float]] = Means()
assert_type(means.predict(np.zeros((1, 192, 320, 3), np.uint8)), list[float])
assert_type(vidmill.run("a.mp4", Means, workers=2), vidmill.Run)
for whole in model.find([frame], format="bgr"):
    assert_type(whole, vidmill.Found)
    assert_type(whole.classes, vidmill.Classes | None)
    assert_type(whole.embedding, NDArray[np.float32] | None)
    if whole.masks is not None:
        assert_type(whole.masks.class_map(), NDArray[np.int32])
assert_type(model.keypoint_names, list[str])
masks = vidmill.Masks(np.zeros((2, 4, 6), np.bool_))
assert_type(masks[0], NDArray[np.bool_])
assert_type(masks[1:], vidmill.Masks)
assert_type(np.asarray(masks), NDArray[Any])
assert_type(masks.rle[0], vidmill.RLE | None)
posed = vidmill.Detections(
    [[0, 0, 1, 1]], [0.5], [1], keypoints=[[[1, 2, 0.5]]], masks=[masks.rle[0]], text=["a"], classes=[vidmill.Classes([0.5], [1])]
)
assert_type(posed.keypoints, NDArray[np.float32] | None)
assert_type(posed.masks, vidmill.Masks | None)
for found in model.detect([frame, frame.array]):
    assert_type(found, vidmill.Detections)
    assert_type(found[found.confidence > 0.5], vidmill.Detections)


async def results() -> None:
    async with vidmill.run(["a.mp4"], "m.onnx", out="out.jsonl", isolate=True, progress="auto") as run:
        async for result in run:
            assert_type(result, vidmill.Result)
    async for frame in vidmill.frames("a.mp4"):
        assert_type(frame, vidmill.Frame)


def brightness(image: NDArray[np.uint8], scale: float = 1.0) -> float:
    return float(image.mean()) * scale


class Detector:
    def predict(self, batch: NDArray[np.uint8]) -> list[str]:
        return ["" for _ in batch]


with vidmill.Pool(brightness, 2, timeout=1.5, worker_memory="1G") as pool:
    assert_type(pool.map([frame.array]), list[float])
    assert_type(pool.map([frame.array], return_exceptions=True), list[float | Exception])
    assert_type(pool.submit(frame.array, scale=2.0).result(), float)
    for bright in pool.imap_unordered(frame.array for frame in vidmill.frames("a.mp4")):
        assert_type(bright, float)


async def awaited() -> None:
    detectors = vidmill.Pool(Detector, recycle=100)
    assert_type(await detectors.asubmit(frame.array), list[str])
    async for words in detectors.aimap(vidmill.frames("a.mp4")):
        assert_type(words, list[str])


with vidmill.SharedArray.create((2, 3), np.uint8, name="a") as shared:
    assert_type(vidmill.SharedArray.attach("a", readonly=True), vidmill.SharedArray)
for word in vidmill.batched([frame], Detector(), 8):
    assert_type(word, str)
assert_type(vidmill.run_inference(Detector(), shared), list[str])
'''


def check(*arguments):
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(list(map(str, command)), cwd=PACKAGE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def pyright(*paths):
    check("basedpyright", "-p", "pyproject.toml", "--pythonpath", sys.executable, *paths)


def test_the_package_is_typed_strictly():
    check("mypy", "--config-file", "pyproject.toml", "-p", "vidmill")


def test_stubs_say_what_is_there(tmp_path):
    # Before Python 3.12 nothing shows that a native class has the buffer protocol.
    (tmp_path / "allowed").write_text("vidmill._vidmill.Frame.__buffer__\n")
    options = ("--allowlist", tmp_path / "allowed", "--ignore-unused-allowlist")
    check("mypy.stubtest", "vidmill._vidmill", "--mypy-config-file", "pyproject.toml", *options)


def test_uses_are_typed(tmp_path):
    (tmp_path / "uses.py").write_text(USES)
    check("mypy", "--strict", tmp_path / "uses.py")


def test_pyright_has_nothing_to_say_either(tmp_path):
    (tmp_path / "uses.py").write_text(USES)
    pyright(PACKAGE / "python" / "vidmill", tmp_path / "uses.py")


def test_everything_public_is_documented():
    for name in vidmill.__all__:
        if name != "__version__":
            assert getattr(vidmill, name).__doc__, name


@pytest.fixture(scope="module")
def script():
    """The command that the package installs."""
    return support.Command(SCRIPT)


def test_the_script_is_the_command(script, vidmill, dark, clips, models, tmp_path):
    for arguments in (["--version"], ["run", "--help"], ["inspect", clips / "h264.mp4"], ["run"], ["run", "a", "-m", "b", "--every", 0]):
        theirs, ours = vidmill(*arguments), script(*arguments)
        assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)
    outputs = []
    for number, command in enumerate((vidmill, script)):
        for isolate in ([], ["--isolate"]):
            out = tmp_path / f"{number}{len(isolate)}.jsonl"
            done = command("run", clips / "h264.mp4", "-m", models / "yolov8.onnx", "-o", out, *isolate)
            assert done.code == 0, done.err
            outputs.append(out.read_bytes())
    assert len(outputs) == 4 and len(set(outputs)) == 1
    assert script("run", dark, "-m", models / "yolov8_nan.onnx", "--quiet").code == 3
    manifest = json.loads((tmp_path / "10.jsonl.manifest.json").read_text())
    assert manifest["command"][1:3] == ["run", str(clips / "h264.mp4")]


def test_ctrl_c_ends_the_script_as_it_ends_the_command(script, clips, centernet, tmp_path):
    import signal
    import time

    long = tmp_path / "long.mkv"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 100, "-i", clips / "h264.mp4", "-c", "copy", long)
    out = tmp_path / "out.jsonl"
    with script.start("run", long, "-m", centernet, "-o", out) as process:
        end = time.monotonic() + 30
        while not (out.exists() and out.stat().st_size > 1000) and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "Traceback" not in told and "interrupted after" in told
    support.assert_balanced(json.loads(Path(f"{out}.manifest.json").read_text())["ledger"])
