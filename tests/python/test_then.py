"""Cascades from Python, and with models that run in Python."""

import json
import sys
from pathlib import Path

import pytest
import test_cascade
import vidmill

OWN = '''
import numpy as np
import vidmill

class Mean:
    input = vidmill.Input(size=({side}, {side}), resize="stretch")

    def predict(self, batch):
        cells = batch.reshape(len(batch), 3, {cells}, {side} // {cells}, {cells}, {side} // {cells}).mean((3, 5))
        return [{{"cells": one}} for one in cells]

class Halves:
    """The left and the right half of every frame."""

    names = ("left", "right")
    input = vidmill.Input(size=(320, 320))

    def predict(self, batch):
        xyxy = np.array([[0, 0, 160, 320], [160, 0, 320, 320]], np.float32)
        one = vidmill.Detections(xyxy=xyxy, confidence=np.array([0.9, 0.8], np.float32), class_id=np.array([0, 1]),
                                 class_name=np.array(["left", "right"]))
        return [one for _ in batch]
'''.format(side=test_cascade.SIDE, cells=test_cascade.CELLS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("then")
    (path / "own.py").write_text(OWN)
    test_cascade.mean_model(path / "means.onnx")
    return path


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_cascade_is_the_commands(clips, models, folder, detect, tmp_path):
    options = ("--then", folder / "means.onnx", "--then-classes", "car,person", "--then-batch", 3)
    command = detect(clips / "h264.mp4", models / "yolov8.onnx", *options)
    with vidmill.run(
        clips / "h264.mp4", models / "yolov8.onnx", then=folder / "means.onnx", then_classes=["car", "person"], then_batch=3,
        out=tmp_path / "own.jsonl",
    ) as run:
        count = sum(1 for _ in run)
    assert count == len(command.records)
    assert (tmp_path / "own.jsonl").read_bytes() == command.path.read_bytes()
    assert run.manifest["then"]["classes"] == ["car", "person"]


def test_the_second_model_may_run_in_python(clips, models, folder, detect, tmp_path, monkeypatch):
    monkeypatch.setenv("VIDMILL_PYTHON", sys.executable)
    native = detect(clips / "h264.mp4", models / "yolov8.onnx", "--then", folder / "means.onnx", "--every", 4)
    own = detect(clips / "h264.mp4", models / "yolov8.onnx", "--then", f"{folder}/own.py:Mean", "--every", 4, out="own.jsonl")
    assert not own.manifest["parallelism"]["isolated"] and own.manifest["then"]["parallelism"]["isolated"]
    compared = 0
    for one, two in zip(native.records, own.records, strict=True):
        for a, b in zip(one["detections"], two["detections"], strict=True):
            cells = zip(sum(sum(a["outputs"]["cells"], []), []), sum(sum(b["outputs"]["cells"], []), []), strict=True)
            assert all(abs(x - y) < 1e-5 for x, y in cells)
            compared += 1
    assert compared > 20


def test_the_first_model_may_run_in_python(clips, folder, detect, monkeypatch):
    monkeypatch.setenv("VIDMILL_PYTHON", sys.executable)
    options = ("--then", folder / "means.onnx", "--then-classes", "right", "--every", 6)
    run = detect(clips / "h264.mp4", f"{folder}/own.py:Halves", *options)
    assert len(run.records) == 4
    for record in run.records:
        assert {d["class"]: "outputs" in d for d in record["detections"]} == {"left": False, "right": True}
