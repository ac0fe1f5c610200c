"""YOLO models other than Ultralytics' newest: YOLOv5, v6 and v7, YOLOX, and those with suppression built in."""

import time
from collections.abc import Iterator

import authors
import numpy as np
import torch
import torchvision
from ultralytics.utils import nms, ops

from . import Case, Family, Thing, crowd, model_info, tensor, visible
from .points import top_left
from .ultralytics_boxes import cells

FRAMES = [(640, 640, 1, (1920, 1080)), (320, 320, 2, (333, 777)), (640, 384, 1, (1280, 720))]
WHOLE = [(640, 640, 1, (1280, 1280)), (320, 320, 2, (640, 320)), (640, 384, 1, (640, 384))]


def likely(rng, count: int, classes: int) -> np.ndarray:
    """Objectness and class scores; most boxes are of nothing."""
    objectness = np.where(rng.uniform(size=(count, 1)) < 0.04, rng.uniform(0.3, 1, (count, 1)), rng.uniform(0, 0.24, (count, 1)))
    return np.concatenate([objectness, rng.uniform(0, 1, (count, classes)) ** 2], 1)


def sides(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def yolov5_cases(rng: np.random.Generator) -> Iterator[Case]:
    # The reference does not round the padding to whole pixels; these frames leave none in halves.
    for width, height, batch, displayed in WHOLE:
        count = 3 * cells(width, height)
        rows = [np.concatenate([sides(crowd(rng, count, (width, height))), likely(rng, count, 3)], 1) for _ in range(batch)]
        data = np.stack(rows).astype(np.float32)
        info = model_info([tensor("images", [None, 3, height, width])], [tensor("output0", [None, count, 8])], {"stride": "32"})
        yield Case(info, {"output0": data}, displayed=displayed, batch=batch)


def yolov5_expected(case: Case, item: int) -> list[Thing]:
    [corners, _, back, suppress] = authors.take(
        "yolov5/utils/general.py", "xywh2xyxy", "clip_boxes", "scale_boxes", "non_max_suppression",
        torch=torch, torchvision=torchvision, np=np, time=time,
    )
    del corners
    [rows] = suppress(torch.from_numpy(case.outputs["output0"][item : item + 1].copy()), iou_thres=0.7)
    height, width = case.info["inputs"][0]["shape"][2:]
    rows[:, :4] = back((height, width), rows[:, :4], case.displayed[::-1])
    return visible(rows.numpy(), case.displayed)


def yolox_cases(raw: bool):
    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in WHOLE:
            count = cells(width, height)
            parts = []
            for _ in range(batch):
                rows = np.concatenate([sides(crowd(rng, count, (width, height))), likely(rng, count, 5)], 1)
                if raw:
                    grids = [np.meshgrid(np.arange(width // s), np.arange(height // s)) for s in (8, 16, 32)]
                    cell = np.concatenate([np.stack(grid, 2).reshape(-1, 2) for grid in grids])
                    stride = np.repeat([8, 16, 32], [grid[0].size for grid in grids])[:, None]
                    rows[:, :2], rows[:, 2:4] = rows[:, :2] / stride - cell, np.log(rows[:, 2:4] / stride)
                parts.append(rows)
            data = np.stack(parts).astype(np.float32)
            operators = {"Conv": 60} if raw else {"Conv": 60, "Exp": 1}
            info = model_info(
                [tensor("images", [None, 3, height, width])], [tensor("output", [None, count, 10])], operators=operators
            )
            yield Case(info, {"output": data}, displayed=displayed, batch=batch)

    return cases


def yolox_expected(raw: bool):
    def expected(case: Case, item: int) -> list[Thing]:
        """Each cell stands for its best class, as in YOLOX's own evaluation (yolox/utils/boxes.py, postprocess)."""
        [decode, suppress, by_class] = authors.take(
            "../yolox_demo_utils.py", "demo_postprocess", "nms", "multiclass_nms_class_aware", np=np
        )
        del suppress
        height, width = case.info["inputs"][0]["shape"][2:]
        output = case.outputs["output"][item].astype(np.float64)
        rows = decode(output[None], (height, width))[0] if raw else output
        scores = rows[:, 4:5] * rows[:, 5:]
        scores *= scores == scores.max(1, keepdims=True)
        boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], 1)
        # Their areas count pixels (side + 1); in thousandths of a pixel that makes no difference.
        found = by_class(boxes * 1000, scores, 0.7, 0.25)
        found = found[np.argsort(-found[:, 4], kind="stable")][:300]
        found[:, :4] /= 1000
        return top_left(found, case)

    return expected


def final_cases(rng: np.random.Generator) -> Iterator[Case]:
    for width, height, batch, displayed in FRAMES:
        boxes = np.stack([crowd(rng, 300, (width, height)) for _ in range(batch)])
        scores, classes = -np.sort(-(rng.uniform(0, 1, (batch, 300, 1)) ** 2), 1), rng.integers(0, 80, (batch, 300, 1))
        data = np.concatenate([boxes, scores, classes], -1).astype(np.float32)
        info = model_info([tensor("images", [None, 3, height, width])], [tensor("output0", [None, 300, 6])], {"end2end": "True"})
        yield Case(info, {"output0": data}, displayed=displayed, batch=batch)


def final_expected(case: Case, item: int) -> list[Thing]:
    [rows] = nms.non_max_suppression(torch.from_numpy(case.outputs["output0"][item : item + 1]), 0.25, 0.7, end2end=True)
    height, width = case.info["inputs"][0]["shape"][2:]
    rows[:, :4] = ops.scale_boxes((height, width), rows[:, :4].clone(), case.displayed[::-1])
    return visible(rows.numpy(), case.displayed)


YOLOX = "yolox 0.3.0: utils.demo_utils"

FAMILIES = [
    Family("YOLOv5, v7", "yolov5 7.0.14: utils.general.non_max_suppression", yolov5_cases, yolov5_expected),
    Family("YOLOX", YOLOX, yolox_cases(True), yolox_expected(True)),
    Family("YOLOX that decodes, YOLOv6", YOLOX, yolox_cases(False), yolox_expected(False)),
    Family(
        "YOLOv10, YOLO26, suppression built in", "ultralytics 8.4.190: nms.non_max_suppression(end2end=True)", final_cases,
        final_expected,
    ),
]
