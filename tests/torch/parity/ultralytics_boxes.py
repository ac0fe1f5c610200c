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


def head_table(
    rng: np.random.Generator, batch: int, size: tuple[int, int], classes: int, extra: np.ndarray, steep: int = 40
) -> np.ndarray:
    """`[n, 4 + classes + extra, boxes]`, as a head with `extra` numbers beside each box gives it: boxes that overlap, few of them sure."""
    count = cells(*size)
    boxes = np.stack([crowd(rng, count, size) for _ in range(batch)])
    centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    scores = rng.uniform(0, 1, (batch, count, classes)) ** steep
    scores[rng.uniform(size=(batch, count)) < 0.85] *= 0.2
    return np.concatenate([centres, sides, scores, extra], -1).transpose(0, 2, 1).astype(np.float32)


def final_rows(rng: np.random.Generator, table: np.ndarray, classes: int, most: int = 300) -> np.ndarray:
    """The same as `[n, most, 6 + extra]`: the surest boxes, each with its best class, as YOLO26 gives them."""
    rows = table.transpose(0, 2, 1)
    scores = rows[..., 4 : 4 + classes]
    best = scores.max(-1)
    order = np.argsort(-best, 1, kind="stable")[:, :most]
    take = lambda values: np.take_along_axis(values, order[..., None], 1)  # noqa: E731
    centre, side = take(rows[..., :2]), take(rows[..., 2:4])
    place = np.concatenate([centre - side / 2, centre + side / 2], -1)
    numbers = [place, take(best[..., None]), take(scores.argmax(-1)[..., None]), take(rows[..., 4 + classes :])]
    return np.concatenate(numbers, -1).astype(np.float32)


def yolov8_expected(case: Case, item: int) -> list[Thing]:
    table = torch.from_numpy(case.outputs["output0"][item : item + 1])
    [kept] = nms.non_max_suppression(table, conf_thres=0.25, iou_thres=0.7, max_det=300)
    return boxes(case, kept)


def boxes(case: Case, kept: torch.Tensor) -> list[Thing]:
    """Rows of x1, y1, x2, y2, confidence, class in the input as results in the frame."""
    rows = torch.cat([in_frame(case, kept), kept[:, 4:6]], 1)[is_visible(case, kept)].numpy()
    return [Thing(row[:4], float(row[4]), int(row[5])) for row in rows]


def in_frame(case: Case, kept: torch.Tensor) -> torch.Tensor:
    height, width = case.info["inputs"][0]["shape"][2:]
    return ops.scale_boxes((height, width), kept[:, :4].clone(), (case.displayed[1], case.displayed[0]))


def is_visible(case: Case, kept: torch.Tensor) -> torch.Tensor:
    """Which of them have a part in the frame; vidmill gives no others."""
    scaled = in_frame(case, kept)
    return (scaled[:, 2] > scaled[:, 0]) & (scaled[:, 3] > scaled[:, 1])


FAMILIES = [Family("YOLOv8, v9, 11, 12", REFERENCE, yolov8_cases, yolov8_expected)]
