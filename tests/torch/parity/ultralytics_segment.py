"""Ultralytics' models that give a mask for each box."""

from collections.abc import Iterator

import numpy as np
import torch
from ultralytics.utils import nms, ops

from . import Case, Family, Thing, model_info, tensor
from .ultralytics_boxes import boxes, cells, final_rows, head_table, in_frame, is_visible

COEFFICIENTS = 32
LAYOUTS = [
    # Batch, input, frame, classes, suppression built in. Frames differ in how fine the prototypes must be made before padding is cut off.
    (1, (640, 640), (1920, 1080), 80, False),
    (2, (640, 384), (1280, 720), 3, False),
    (1, (320, 320), (333, 777), 2, False),
    (1, (320, 320), (854, 480), 2, False),
    (2, (320, 320), (320, 240), 4, True),
    (1, (320, 320), (200, 100), 1, True),
]


def blobs(rng: np.random.Generator, batch: int, size: tuple[int, int]) -> np.ndarray:
    """Smooth prototypes, as those of a trained model: their sums have edges, not noise."""
    width, height = size[0] // 4, size[1] // 4
    coarse = torch.from_numpy(rng.normal(0, 1, (batch, COEFFICIENTS, max(2, height // 10), max(2, width // 10))))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").numpy().astype(np.float32)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, size, displayed, classes, final in LAYOUTS:
        extra = rng.normal(0, 1, (batch, cells(*size), COEFFICIENTS))
        table = head_table(rng, batch, size, classes, extra)
        if final:
            table = final_rows(rng, table, classes)
        prototypes = blobs(rng, batch, size)
        outputs = {"output0": table, "output1": prototypes}
        told = [tensor(name, [None, *data.shape[1:]]) for name, data in outputs.items()]
        info = model_info([tensor("images", [None, 3, size[1], size[0]])], told, {"task": "segment", "stride": "32"})
        yield Case(info, outputs, displayed=displayed, batch=batch)


def expected(case: Case, item: int) -> list[Thing]:
    table = torch.from_numpy(case.outputs["output0"][item : item + 1])
    prototypes = torch.from_numpy(case.outputs["output1"][item])
    final = table.shape[-1] == 6 + COEFFICIENTS
    classes = table.shape[1] - 4 - COEFFICIENTS
    [kept] = nms.non_max_suppression(table.clone(), conf_thres=0.25, iou_thres=0.7, max_det=300, nc=classes, end2end=final)
    # SegmentationPredictor.construct_result with retina_masks=True.
    masks = ops.process_mask_native(prototypes, kept[:, 6:], in_frame(case, kept), (case.displayed[1], case.displayed[0]))
    keep = masks.amax((-2, -1)) > 0
    kept, masks = kept[keep], masks[keep]
    visible = is_visible(case, kept)
    things = boxes(case, kept)
    for thing, mask in zip(things, masks[visible].numpy(), strict=True):
        thing.mask = mask > 0
    return things


FAMILIES = [
    Family(
        "YOLOv8-seg, YOLO11-seg, YOLO26-seg",
        "ultralytics 8.4.190: nms.non_max_suppression, ops.process_mask_native (retina_masks=True)",
        cases, expected, mask_iou=0.999, note="masks of the frame's size; an IoU of 0.999 at least",
    )
]
