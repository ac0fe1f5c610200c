"""Ultralytics' models that give boxes at any angle."""

from collections.abc import Iterator

import numpy as np
import torch
from ultralytics.engine.results import OBB
from ultralytics.utils import nms, ops

from . import Case, Family, Thing, model_info, tensor
from .ultralytics_boxes import cells, head_table

LAYOUTS = [
    # Batch, input, frame, classes, suppression built in.
    (1, (640, 640), (1920, 1080), 15, False),
    (2, (640, 384), (1280, 720), 2, False),
    (1, (320, 320), (333, 777), 3, False),
    (2, (640, 640), (1920, 1080), 15, True),
]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, size, displayed, classes, final in LAYOUTS:
        table = head_table(rng, batch, size, classes, rng.uniform(-np.pi / 4, 3 * np.pi / 4, (batch, cells(*size), 1)))
        if final:
            rows = table.transpose(0, 2, 1)
            order = np.argsort(-rows[..., 4:-1].max(-1), 1, kind="stable")[:, :300]
            rows = np.take_along_axis(rows, order[..., None], 1)
            scores = rows[..., 4:-1]
            numbers = [rows[..., :4], scores.max(-1)[..., None], scores.argmax(-1)[..., None], rows[..., -1:]]
            table = np.concatenate(numbers, -1).astype(np.float32)
        told = [tensor("output0", [None, *table.shape[1:]])]
        info = model_info([tensor("images", [None, 3, size[1], size[0]])], told, {"task": "obb", "stride": "32"})
        yield Case(info, {"output0": table}, displayed=displayed, batch=batch)


def expected(case: Case, item: int) -> list[Thing]:
    table = torch.from_numpy(case.outputs["output0"][item : item + 1])
    final = table.shape[-1] == 7
    [kept] = nms.non_max_suppression(
        table.clone(), conf_thres=0.25, iou_thres=0.7, max_det=300, nc=table.shape[1] - 5, end2end=final, rotated=True
    )
    # OBBPredictor.construct_result.
    height, width = case.info["inputs"][0]["shape"][2:]
    frame = (case.displayed[1], case.displayed[0])
    boxes = torch.cat([kept[:, :4], kept[:, -1:]], dim=-1)
    boxes[:, :4] = ops.scale_boxes((height, width), boxes[:, :4], frame, xywh=True)
    found = OBB(torch.cat([boxes, kept[:, 4:6]], dim=-1), frame)
    around = ops.clip_boxes(found.xyxy.clone(), frame).numpy()
    visible = (around[:, 2] > around[:, 0]) & (around[:, 3] > around[:, 1])
    things = []
    for index in np.flatnonzero(visible):
        # Ultralytics goes round from the lower right corner against the clock.
        corners = found.xyxyxyxy[index].numpy()[[2, 1, 0, 3]]
        things.append(Thing(around[index], float(found.conf[index]), int(found.cls[index]), {"corners": corners}))
    return things


FAMILIES = [
    Family(
        "YOLOv8-obb, YOLO11-obb, YOLO26-obb", "ultralytics 8.4.190: nms.non_max_suppression(rotated=True), engine.results.OBB",
        cases, expected,
    )
]
