"""Anchor-free detectors of which boxes come out in pixels: YOLO-NAS, DAMO-YOLO, PP-YOLOE; and final boxes of a whole batch in one table."""

from collections.abc import Iterator

import authors
import numpy as np
import torch
import torchvision

from . import Case, Family, Thing, crowd, model_info, tensor, visible
from .ultralytics_boxes import cells

FRAMES = [(640, 640, 1, (1280, 960)), (320, 320, 2, (640, 480)), (640, 384, 1, (640, 384))]


def several(rng, count: int, classes: int) -> np.ndarray:
    """Scores of which few are high, and some cells have two high ones."""
    scores = rng.uniform(0, 1, (count, classes)) ** 60
    scores[rng.uniform(size=count) < 0.9] *= 0.2
    twice = rng.choice(count, count // 40, replace=False)
    scores[twice, 3], scores[twice, 7] = rng.uniform(0.3, 0.8, (2, len(twice)))
    return scores.astype(np.float32)


def scored_cases(layout: str):
    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in FRAMES:
            count = cells(width, height)
            boxes = np.stack([crowd(rng, count, (width, height)) for _ in range(batch)])
            scores = np.stack([several(rng, count, 80) for _ in range(batch)])
            if layout == "classes first":
                outputs = {"tmp_17": boxes, "concat_14.tmp_0": scores.transpose(0, 2, 1)}
            elif layout == "scores first":
                outputs = {"output": scores, "1234": boxes}
            else:
                outputs = {"904": boxes, "913": scores}
            shapes = [tensor(name, [None, *data.shape[1:]]) for name, data in outputs.items()]
            info = model_info([tensor("input", [None, 3, height, width])], shapes)
            yield Case(info, outputs, {"iou": 0.7}, displayed, batch)

    return cases


def letterboxed(rows: np.ndarray, case: Case) -> list[Thing]:
    """From an input that the frame is in the middle of, in whole pixels after rounding."""
    height, width = case.info["inputs"][0]["shape"][2:]
    ratio = min(width / case.displayed[0], height / case.displayed[1])
    pad = [(width - round(case.displayed[0] * ratio)) // 2, (height - round(case.displayed[1] * ratio)) // 2]
    return visible(np.concatenate([(rows[:, :4] - pad * 2) / ratio, rows[:, 4:]], 1), case.displayed)


def top_left(rows: np.ndarray, case: Case) -> list[Thing]:
    height, width = case.info["inputs"][0]["shape"][2:]
    ratio = min(width / case.displayed[0], height / case.displayed[1])
    return visible(np.concatenate([rows[:, :4] / ratio, rows[:, 4:]], 1), case.displayed)


def stretched(rows: np.ndarray, case: Case) -> list[Thing]:
    height, width = case.info["inputs"][0]["shape"][2:]
    ratio = np.array(case.displayed * 2) / [width, height, width, height]
    return visible(np.concatenate([rows[:, :4] * ratio, rows[:, 4:]], 1), case.displayed)


def yolo_nas_expected(case: Case, item: int) -> list[Thing]:
    [callback] = authors.take(
        "super_gradients/training/models/detection_models/pp_yolo_e/post_prediction_callback.py", "PPYoloEPostPredictionCallback",
        torch=torch, torchvision=torchvision, DetectionPostPredictionCallback=torch.nn.Module,
    )
    process = callback(score_threshold=0.25, nms_threshold=0.7, nms_top_k=30000, max_predictions=300)
    outputs = tuple(torch.from_numpy(case.outputs[name][item : item + 1]) for name in ("904", "913"))
    [rows] = process(outputs)
    return letterboxed(rows.numpy(), case)


def multiclass_nms(boxes: np.ndarray, scores: np.ndarray, most: int, iou: float = 0.7) -> np.ndarray:
    """Each class above the threshold for itself, then torchvision's batched NMS; the surest."""
    which, classes = np.nonzero(scores > 0.25)
    sure = torch.from_numpy(scores[which, classes])
    kept = torchvision.ops.batched_nms(torch.from_numpy(boxes[which]), sure, torch.from_numpy(classes), iou)[:most].numpy()
    return np.concatenate([boxes[which], sure[:, None], classes[:, None]], 1)[kept]


def damo_expected(case: Case, item: int) -> list[Thing]:
    """DAMO-YOLO's damo/utils/boxes.py, postprocess and multiclass_nms."""
    return top_left(multiclass_nms(case.outputs["1234"][item], case.outputs["output"][item], 500)[:300], case)


def pp_yoloe_expected(case: Case, item: int) -> list[Thing]:
    """PaddleDetection's MultiClassNMS layer in the head: each class for itself, overlaps above the threshold go, the surest stay."""
    rows = multiclass_nms(case.outputs["tmp_17"][item], case.outputs["concat_14.tmp_0"][item].T, 300)
    return stretched(rows, case)


def flat_cases(columns: str):
    """Rows of all frames in one table; `columns` says in which order."""

    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in [(640, 640, 3, (1280, 960)), (320, 320, 1, (640, 480))]:
            parts, counts = [], [40 + 17 * item for item in range(batch)]
            for item, count in enumerate(counts):
                boxes, scores = crowd(rng, count, (width, height)), -np.sort(-rng.uniform(0, 1, (count, 1)), 0)
                classes, number = rng.integers(0, 80, (count, 1)), np.full((count, 1), item)
                orders = {
                    "paddle": [classes, scores, boxes], "super-gradients": [number, boxes, scores, classes],
                    "yolov7": [number, boxes, classes, scores],
                }
                parts.append(np.concatenate(orders[columns], 1))
            table = np.concatenate(parts).astype(np.float32)
            name = {"paddle": "multiclass_nms3_0.tmp_0", "super-gradients": "graph2_flat_predictions", "yolov7": "output"}[columns]
            outputs, shapes = {name: table}, [tensor(name, [None, table.shape[1]])]
            if columns == "paddle":
                outputs["multiclass_nms3_0.tmp_2"] = np.array(counts, np.float32)
                shapes.append(tensor("multiclass_nms3_0.tmp_2", [None], "i32"))
            info = model_info([tensor("image", [batch, 3, height, width])], shapes)
            yield Case(info, outputs, displayed=displayed, batch=batch)

    return cases


def paddle_expected(case: Case, item: int) -> list[Thing]:
    """PaddleDetection's deploy/python/infer.py: as many rows as the counts before say are skipped, then rows of class > -1 above the
    threshold count."""
    table, counts = case.outputs["multiclass_nms3_0.tmp_0"], case.outputs["multiclass_nms3_0.tmp_2"].astype(int)
    start = counts[:item].sum()
    rows = table[start : start + counts[item]]
    rows = rows[(rows[:, 1] > 0.25) & (rows[:, 0] > -1)]
    return stretched(rows[:, [2, 3, 4, 5, 1, 0]], case)


def flat_expected(case: Case, item: int) -> list[Thing]:
    """super-gradients' usage instructions for its flat format: image, x1, y1, x2, y2, confidence, class."""
    rows = case.outputs["graph2_flat_predictions"]
    return letterboxed(rows[(rows[:, 0] == item) & (rows[:, 5] > 0.25)][:, 1:], case)


def yolov7_expected(case: Case, item: int) -> list[Thing]:
    """YOLOv7's tools/YOLOv7onnx.ipynb: batch, x1, y1, x2, y2, class, score."""
    rows = case.outputs["output"]
    return letterboxed(rows[(rows[:, 0] == item) & (rows[:, 6] > 0.25)][:, [1, 2, 3, 4, 6, 5]], case)


def batch_cases(names):
    """Boxes, scores, classes and how many of them count."""

    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in [(640, 640, 3, (1280, 960)), (320, 320, 1, (640, 480))]:
            boxes = np.stack([crowd(rng, 100, (width, height)) for _ in range(batch)])
            scores = -np.sort(-rng.uniform(0, 1, (batch, 100)), 1)
            classes = rng.integers(0, 80, (batch, 100))
            counts = rng.integers(40, 90, (batch, 1))
            outputs = {name: data.astype(np.float32) for name, data in zip(names, (counts, boxes, scores, classes), strict=True)}
            shapes = [tensor(name, [None, *data.shape[1:]]) for name, data in outputs.items()]
            yield Case(model_info([tensor("images", [batch, 3, height, width])], shapes), outputs, displayed=displayed, batch=batch)

    return cases


def batch_expected(case: Case, item: int) -> list[Thing]:
    """The first so many of each; super-gradients' usage instructions, YOLOv7's and DAMO-YOLO's demos of TensorRT's EfficientNMS."""
    counts, boxes, scores, classes = case.outputs.values()
    count = int(counts[item, 0])
    rows = np.concatenate([boxes[item], scores[item][:, None], classes[item][:, None]], 1)[:count]
    return letterboxed(rows[rows[:, 4] > 0.25], case)


AGAIN = "the reference is written again from its source"
IN_BATCHES = [f"graph2_{name}" for name in ("num_predictions", "pred_boxes", "pred_scores", "pred_classes")]
EFFICIENT = ["num_dets", "det_boxes", "det_scores", "det_classes"]

FAMILIES = [
    Family(
        "YOLO-NAS", "super-gradients 3.7.1: PPYoloEPostPredictionCallback", scored_cases("boxes first"), yolo_nas_expected
    ),
    Family(
        "YOLO-NAS, flat", "super-gradients 3.7.1: usage instructions of the export", flat_cases("super-gradients"), flat_expected,
        note=AGAIN,
    ),
    Family(
        "YOLO-NAS, batch", "super-gradients 3.7.1: usage instructions of the export", batch_cases(IN_BATCHES), batch_expected,
        note=AGAIN,
    ),
    Family("DAMO-YOLO", "tinyvision/DAMO-YOLO: damo/utils/boxes.py, postprocess", scored_cases("scores first"), damo_expected, note=AGAIN),
    Family("PP-YOLOE, PP-YOLOE+", "PaddleDetection: MultiClassNMS", scored_cases("classes first"), pp_yoloe_expected, note=AGAIN),
    Family("PaddleDetection with suppression", "PaddleDetection: deploy/python/infer.py", flat_cases("paddle"), paddle_expected, note=AGAIN),
    Family("YOLOv7, end to end", "WongKinYiu/yolov7: tools/YOLOv7onnx.ipynb", flat_cases("yolov7"), yolov7_expected, note=AGAIN),
    Family("EfficientNMS (YOLO exports for TensorRT)", "tinyvision/DAMO-YOLO: tools/demo.py", batch_cases(EFFICIENT), batch_expected, note=AGAIN),
]
