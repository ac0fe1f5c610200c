"""Suppression, against torchvision's and OpenCV's."""

import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.ops import nms

ROOT = Path(__file__).resolve().parent.parent.parent
BOX = np.dtype([("xyxy", "<f4", 4), ("confidence", "<f4"), ("class_id", "<u4")])


@pytest.fixture(scope="module")
def suppress():
    """suppress(cases) is what vidmill keeps of each: of (boxes, threshold), places by falling confidence."""
    build = ["cargo", "build", "-q", "--locked", "-p", "vidmill-infer", "--example", "nms_raw"]
    subprocess.run(build, cwd=ROOT, check=True)
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "examples" / "nms_raw"

    def run(cases):
        parts = []
        for boxes, threshold in cases:
            parts += [np.uint32(len(boxes)).tobytes(), np.float32(threshold).tobytes(), boxes.tobytes()]
        told = subprocess.run([program], input=b"".join(parts), capture_output=True, check=True).stdout
        numbers, kept, at = np.frombuffer(told, "<u4"), [], 0
        for _ in cases:
            count = int(numbers[at])
            kept.append(numbers[at + 1 : at + 1 + count].astype(np.int64))
            at += 1 + count
        assert at == len(numbers)
        return kept

    return run


def random_cases(seed, count, coarse):
    """Boxes of 3 classes that overlap a good deal. Coarse ones are equal, empty, or touch, and share their confidences."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        boxes = np.zeros(generator.integers(0, 40), BOX)
        corner = generator.uniform(0, 20, (len(boxes), 2))
        size = generator.uniform(0, 12, (len(boxes), 2))
        confidence = generator.uniform(0, 1, len(boxes))
        if coarse:
            corner, size, confidence = np.floor(corner), np.floor(size), np.round(confidence, 1)
        boxes["xyxy"] = np.concatenate([corner, corner + size], 1)
        boxes["confidence"] = confidence
        boxes["class_id"] = generator.integers(0, 3, len(boxes))
        yield boxes, np.float32(generator.choice([0.25, 0.45, 0.5, 0.7, generator.uniform(0, 1)]))


def torchvisions(boxes, threshold):
    """Each class by itself, as torchvision.ops.batched_nms does for many boxes."""
    kept = []
    for class_id in np.unique(boxes["class_id"]):
        [places] = np.nonzero(boxes["class_id"] == class_id)
        own = boxes[places]
        found = nms(torch.tensor(own["xyxy"]), torch.tensor(own["confidence"]), float(threshold))
        kept += places[found.numpy()].tolist()
    return sorted(kept)


@pytest.mark.parametrize("coarse", [True, False])
def test_fifty_thousand_cases_each_as_torchvision(suppress, coarse):
    cases = list(random_cases(11, 50_000, coarse))
    dropped = 0
    for (boxes, threshold), kept in zip(cases, suppress(cases), strict=True):
        assert sorted(kept.tolist()) == torchvisions(boxes, threshold)
        order = sorted(kept.tolist(), key=lambda place: (-boxes["confidence"][place], place))
        assert kept.tolist() == order
        dropped += len(boxes) - len(kept)
    assert dropped > len(cases) / 2, "there was something to suppress"


def test_as_opencv(suppress):
    """But where an overlap is the threshold within OpenCV's own rounding."""
    cases, different = list(random_cases(12, 20_000, coarse=False)), 0
    for boxes, _ in cases:
        boxes["class_id"] = 0
    for (boxes, threshold), kept in zip(cases, suppress(cases), strict=True):
        corners = boxes["xyxy"].astype(float)
        rects = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        own = cv2.dnn.NMSBoxes(rects.tolist(), boxes["confidence"].tolist(), 0.0, float(threshold))
        different += sorted(np.asarray(own, int).ravel().tolist()) != sorted(kept.tolist())
    assert different <= 2
