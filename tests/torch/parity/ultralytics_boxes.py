"""Ultralytics' detectors: YOLOv8 and its like, YOLOv5, and those with suppression built in."""

from collections.abc import Iterator

import numpy as np
import torch
from ultralytics.utils import nms, ops

from . import Case, Family, Thing, crowd, model_info, tensor

CLASSES = 80
REFERENCE = "ultralytics 8.4.190: nms.non_max_suppression, ops.scale_boxes"


def cells(width: int, height: int) -> int:
    return sum((width // stride) * (height // stride) for stride in (8, 16, 32))


def yolov8_cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, (width, height), displayed in [
        (1, (640, 640), (1920, 1080)), (2, (640, 384), (1280, 720)), (1, (320, 320), (333, 777)), (1, (640, 640), (640, 640)),
    ]:
        count = cells(width, height)
        boxes = np.stack([crowd(rng, count, (width, height)) for _ in range(batch)])
        centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        scores = rng.uniform(0, 1, (batch, count, CLASSES)) ** 40
        scores[rng.uniform(size=(batch, count)) < 0.85] *= 0.2
        table = np.concatenate([centres, sides, scores], -1).transpose(0, 2, 1).astype(np.float32)
        info = model_info(
            [tensor("images", [None, 3, height, width])], [tensor("output0", [None, 4 + CLASSES, count])],
            {"task": "detect", "stride": "32"},
        )
        yield Case(info, {"output0": table}, displayed=displayed, batch=batch)


def yolov8_expected(case: Case, item: int) -> list[Thing]:
    table = torch.from_numpy(case.outputs["output0"][item : item + 1])
    [kept] = nms.non_max_suppression(table, conf_thres=0.25, iou_thres=0.7, max_det=300)
    return boxes(case, kept)


def boxes(case: Case, kept: torch.Tensor) -> list[Thing]:
    """Rows of x1, y1, x2, y2, confidence, class in the input as results in the frame."""
    height, width = case.info["inputs"][0]["shape"][2:]
    scaled = ops.scale_boxes((height, width), kept[:, :4].clone(), (case.displayed[1], case.displayed[0]))
    rows = torch.cat([scaled, kept[:, 4:6]], 1).numpy()
    return [Thing(row[:4], float(row[4]), int(row[5])) for row in rows if row[2] > row[0] and row[3] > row[1]]


FAMILIES = [Family("YOLOv8, v9, 11, 12", REFERENCE, yolov8_cases, yolov8_expected)]
