"""Ultralytics' models that find persons (or other things) with keypoints."""

from collections.abc import Iterator
from unittest import mock

import numpy as np
import torch
from ultralytics.utils import nms, ops

from . import Case, Family, Thing, model_info, tensor
from .ultralytics_boxes import boxes, cells, final_rows, head_table, is_visible

LAYOUTS = [
    # Batch, input, frame, classes, keypoints and numbers of each, suppression built in.
    (1, (640, 640), (1920, 1080), 1, (17, 3), False),
    (2, (640, 384), (1280, 720), 1, (17, 3), False),
    (1, (320, 320), (333, 777), 3, (5, 2), False),
    (2, (640, 640), (1920, 1080), 1, (17, 3), True),
    (1, (320, 320), (640, 480), 4, (21, 2), True),
]


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, (width, height), displayed, classes, (points, numbers), final in LAYOUTS:
        extra = rng.uniform(-0.1, 1.1, (batch, cells(width, height), points, numbers)) * ([width, height, 1][:numbers])
        extra = extra.reshape(*extra.shape[:2], -1)
        table = head_table(rng, batch, (width, height), classes, extra)
        if final:
            table = final_rows(rng, table, classes)
        shape = [None, *table.shape[1:]]
        metadata = {"task": "pose", "stride": "32", "kpt_shape": str([points, numbers])}
        info = model_info([tensor("images", [None, 3, height, width])], [tensor("output0", shape)], metadata)
        yield Case(info, {"output0": table}, displayed=displayed, batch=batch)


def expected(case: Case, item: int) -> list[Thing]:
    points, numbers = eval(case.info["metadata"]["kpt_shape"])
    table = torch.from_numpy(case.outputs["output0"][item : item + 1])
    final = table.shape[-1] == 6 + points * numbers
    classes = table.shape[1] - 4 - points * numbers
    [kept] = nms.non_max_suppression(table.clone(), conf_thres=0.25, iou_thres=0.7, max_det=300, nc=classes, end2end=final)
    kept = kept[is_visible(case, kept)]
    things = boxes(case, kept)
    height, width = case.info["inputs"][0]["shape"][2:]
    frame = (case.displayed[1], case.displayed[0])
    found = kept[:, 6:].reshape(len(kept), points, numbers).clone()
    # PosePredictor.construct_result, but for the last step of scale_coords.
    with mock.patch.object(ops, "clip_coords", lambda coords, shape: coords):
        found = ops.scale_coords((height, width), found, frame).numpy()
    assert len(found) == len(things)
    for thing, one in zip(things, found, strict=True):
        thing.numbers["keypoints"] = one[:, :2]
        if numbers == 3:
            thing.numbers["keypoint_confidence"] = one[:, 2]
    return things


FAMILIES = [
    Family(
        "YOLOv8-pose, YOLO11-pose, YOLO26-pose", "ultralytics 8.4.190: nms.non_max_suppression, ops.scale_coords", cases, expected,
        note="keypoints outside of the frame stay where they are; Ultralytics moves them to its edge",
    )
]
