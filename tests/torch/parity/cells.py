"""Detectors that tell distances from cells: NanoDet, PicoDet; and FastestDet. Their references are written again from their sources, and
share torchvision's NMS with them."""

from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
import torchvision

from . import Case, Family, Thing, model_info, tensor
from .points import letterboxed, multiclass_nms, several, stretched

FRAMES = [(320, 320, 1, (640, 480)), (416, 416, 2, (832, 416)), (640, 384, 1, (640, 384))]


def grid(width: int, height: int, stride: int) -> np.ndarray:
    """x and y of each cell, row by row."""
    x, y = np.meshgrid(np.arange(ceil(width / stride)), np.arange(ceil(height / stride)))
    return np.stack([x.flatten(), y.flatten()], -1).astype(np.float32)


def distributions(rng, count: int, bins: int) -> np.ndarray:
    """Logits of four distances each, most of them with a peak."""
    logits = rng.normal(0, 1, (count, 4, bins))
    peaks = rng.integers(0, bins, (count, 4, 1))
    np.put_along_axis(logits, peaks, 4.0, -1)
    return logits.reshape(count, 4 * bins).astype(np.float32)


def joint_cases(strides, bins: int):
    """NanoDet's one output."""

    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in FRAMES:
            count = sum(len(grid(width, height, stride)) for stride in strides)
            rows = [np.concatenate([several(rng, count, 80), distributions(rng, count, bins)], 1) for _ in range(batch)]
            data = np.stack(rows)
            info = model_info([tensor("data", [None, 3, height, width])], [tensor("output", [None, *data.shape[1:]])])
            yield Case(info, {"output": data}, {}, displayed, batch)

    return cases


def split_cases(strides, names):
    """Scores of all strides, then distributions of all."""

    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in FRAMES:
            counts = [len(grid(width, height, stride)) for stride in strides]
            scores = [np.stack([several(rng, count, 80) for _ in range(batch)]) for count in counts]
            boxes = [np.stack([distributions(rng, count, 8) for _ in range(batch)]) for count in counts]
            outputs = dict(zip(names(strides), scores + boxes, strict=True))
            shapes = [tensor(name, [None, *data.shape[1:]]) for name, data in outputs.items()]
            info = model_info([tensor("image", [None, 3, height, width])], shapes)
            yield Case(info, outputs, {}, displayed, batch)

    return cases


def around(cells: np.ndarray, logits: np.ndarray, stride: int, middle: float) -> np.ndarray:
    """The mean of each distribution, times the stride, as distances from the cells."""
    bins = logits.shape[1] // 4
    odds = torch.softmax(torch.from_numpy(logits).reshape(-1, 4, bins), -1)
    distances = (odds * torch.arange(bins)).sum(-1).numpy() * stride
    centres = (cells + middle) * stride
    return np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], 1).astype(np.float32)


def joint_expected(strides, middle: float, back):
    def expected(case: Case, item: int) -> list[Thing]:
        """get_bboxes of NanoDet's heads: distance2bbox clamps to the input, then multiclass_nms."""
        height, width = case.info["inputs"][0]["shape"][2:]
        rows, parts, start = case.outputs["output"][item], [], 0
        for stride in strides:
            cells = grid(width, height, stride)
            parts.append(around(cells, rows[start : start + len(cells), 80:], stride, middle))
            start += len(cells)
        boxes = np.clip(np.concatenate(parts), 0, np.array([width, height, width, height], np.float32))
        return back(nms(boxes, rows[:, :80]), case)

    return expected


def split_expected(strides, clamp: bool, back):
    def expected(case: Case, item: int) -> list[Thing]:
        """NanoDet's as above; PicoDetPostProcess of PaddleDetection's deploy/python/picodet_postprocess.py does not clamp."""
        height, width = case.info["inputs"][0]["shape"][2:]
        data = [output[item] for output in case.outputs.values()]
        scores, logits = data[: len(strides)], data[len(strides) :]
        parts = [
            around(grid(width, height, stride), one, stride, 0.5) for stride, one in zip(strides, logits, strict=True)
        ]
        boxes = np.concatenate(parts)
        if clamp:
            boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
        return back(nms(boxes, np.concatenate(scores)), case)

    return expected


def nms(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return multiclass_nms(boxes, scores, 300, 0.6)


def fastestdet_cases(rng: np.random.Generator) -> Iterator[Case]:
    for width, height, batch, displayed in [(352, 352, 1, (704, 352)), (320, 192, 3, (320, 192)), (640, 640, 1, (800, 600))]:
        rows, columns = height // 16, width // 16
        objectness = rng.uniform(0, 1, (batch, 1, rows, columns)) ** 3
        regression = rng.normal(0, 1, (batch, 4, rows, columns))
        regression[:, 2:] -= 1.5
        classes = torch.softmax(torch.from_numpy(rng.normal(0, 3, (batch, 80, rows, columns))), 1).numpy()
        data = np.concatenate([objectness, regression, classes], 1).astype(np.float32)
        info = model_info([tensor("input.1", [batch, 3, height, width])], [tensor("758", list(data.shape))])
        yield Case(info, {"758": data}, {"max_det": 2000}, displayed, batch)


def fastestdet_expected(case: Case, item: int) -> list[Thing]:
    """handle_preds of FastestDet's utils/tool.py: in 0..1 of the frame."""
    data = torch.from_numpy(case.outputs["758"][item])
    rows, columns = data.shape[1:]
    best, classes = data[5:].max(0)
    scores = data[0] ** 0.6 * best**0.4
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cx, cy = (data[1].tanh() + x) / columns, (data[2].tanh() + y) / rows
    w, h = data[3].sigmoid(), data[4].sigmoid()
    boxes = torch.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], -1).reshape(-1, 4)
    passed = (scores > 0.25).flatten()
    boxes, scores, classes = boxes[passed], scores.flatten()[passed], classes.flatten()[passed]
    kept = torchvision.ops.batched_nms(boxes, scores, classes, 0.45).numpy()
    height, width = case.info["inputs"][0]["shape"][2:]
    table = np.concatenate([boxes * torch.tensor([width, height] * 2), scores[:, None], classes[:, None]], 1)
    return stretched(table[kept], case)


def named(strides):
    return [f"cls_pred_stride_{stride}" for stride in strides] + [f"dis_pred_stride_{stride}" for stride in strides]


def numbered(strides):
    return [f"transpose_{number}.tmp_0" for number in range(2 * len(strides))]


THREE, FOUR = (8, 16, 32), (8, 16, 32, 64)
AGAIN = "the reference is written again from its source"
NANODET = "RangiLyu/nanodet: nanodet/model/head"
PICODET = "PaddleDetection: deploy/python/picodet_postprocess.py"

FAMILIES = [
    Family("NanoDet-Plus", f"{NANODET}/nanodet_plus_head.py", joint_cases(FOUR, 8), joint_expected(FOUR, 0.0, stretched), note=AGAIN),
    Family("NanoDet", f"{NANODET}/gfl_head.py", joint_cases(THREE, 8), joint_expected(THREE, 0.5, letterboxed), note=AGAIN),
    Family("NanoDet-g", f"{NANODET}/gfl_head.py", joint_cases(THREE, 11), joint_expected(THREE, 0.5, letterboxed), note=AGAIN),
    Family(
        "NanoDet, an output for each stride", f"{NANODET}/gfl_head.py", split_cases(THREE, named),
        split_expected(THREE, True, letterboxed), note=AGAIN,
    ),
    Family("PicoDet", PICODET, split_cases(FOUR, numbered), split_expected(FOUR, False, stretched), note=AGAIN),
    Family("FastestDet", "dog-qiuqiu/FastestDet: utils/tool.py, handle_preds", fastestdet_cases, fastestdet_expected, note=AGAIN),
]
