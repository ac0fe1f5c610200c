"""DETR and its descendants, as Ultralytics, their authors, Hugging Face and Roboflow export them."""

from collections.abc import Iterator
from types import SimpleNamespace

import authors
import numpy as np
import torch
from ultralytics.models.rtdetr.predict import RTDETRPredictor

from . import Case, Family, Thing, crowd, model_info, tensor, visible

FRAMES = [(640, 640, 1, (1920, 1080)), (320, 320, 2, (333, 777)), (640, 384, 1, (1280, 720)), (560, 560, 3, (560, 560))]


def centred(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """cx, cy, w, h in 0..1."""
    rows = np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)
    return (rows / [width, height, width, height]).astype(np.float32)


def all_boxes(rng, batch: int, queries: int, width: int, height: int) -> np.ndarray:
    return np.stack([centred(crowd(rng, queries, (width, height)), width, height) for _ in range(batch)])


def chosen_cases(rng: np.random.Generator) -> Iterator[Case]:
    for width, height, batch, displayed in FRAMES:
        scores = rng.uniform(0, 1, (batch, 300, 1)) ** 3
        classes = rng.integers(0, 80, (batch, 300, 1))
        table = np.concatenate([all_boxes(rng, batch, 300, width, height), -np.sort(-scores, 1), classes], -1)
        info = model_info(
            [tensor("images", [batch, 3, height, width])], [tensor("output0", [None, None, 6])],
            {"head": "RTDETRDecoder", "task": "detect", "stride": "32"},
        )
        yield Case(info, {"output0": table.astype(np.float32)}, displayed=displayed, batch=batch)


def chosen_expected(case: Case, item: int) -> list[Thing]:
    width, height = case.displayed
    names = {number: str(number) for number in range(80)}
    predictor = SimpleNamespace(
        args=SimpleNamespace(conf=0.25, classes=None, max_det=300), batch=[["frame"]], model=SimpleNamespace(names=names)
    )
    frame = np.zeros((height, width, 3), np.uint8)
    [found] = RTDETRPredictor.postprocess(predictor, torch.from_numpy(case.outputs["output0"][item : item + 1]), None, [frame])
    return visible(found.boxes.data.numpy(), case.displayed)


def table_cases(rng: np.random.Generator) -> Iterator[Case]:
    """As Ultralytics exported it before version 8.4: scores of all classes."""
    for width, height, batch, displayed in FRAMES[:2]:
        scores = rng.uniform(0, 1, (batch, 300, 80)) ** 60
        table = np.concatenate([all_boxes(rng, batch, 300, width, height), scores], -1).astype(np.float32)
        info = model_info(
            [tensor("images", [batch, 3, height, width])], [tensor("output0", [batch, 300, 84])],
            {"description": "Ultralytics rtdetr-l model trained on coco.yaml", "task": "detect"},
        )
        yield Case(info, {"output0": table}, displayed=displayed, batch=batch)


def table_expected(case: Case, item: int) -> list[Thing]:
    """RTDETRPredictor.postprocess of ultralytics 8.3: the best class of a query, above the threshold, by falling score."""
    boxes, scores = torch.from_numpy(case.outputs["output0"][item]).split((4, 80), -1)
    best, classes = scores.max(-1, keepdim=True)
    rows = torch.cat([boxes, best, classes], -1)[best.squeeze(-1) > 0.25]
    rows = rows[rows[:, 4].argsort(descending=True)]
    half = rows[:, 2:4] / 2
    corners = torch.cat([rows[:, :2] - half, rows[:, :2] + half], -1) * torch.tensor(case.displayed * 2)
    return visible(torch.cat([corners, rows[:, 4:]], -1).numpy(), case.displayed)


def authors_cases(rng: np.random.Generator) -> Iterator[Case]:
    for width, height, batch, displayed in FRAMES:
        boxes = np.stack([crowd(rng, 300, (width, height)) for _ in range(batch)])
        outputs = {
            "labels": rng.integers(0, 80, (batch, 300)).astype(np.float32), "boxes": boxes,
            "scores": -np.sort(-(rng.uniform(0, 1, (batch, 300)) ** 3), 1).astype(np.float32),
        }
        shapes = [tensor("labels", [None, 300], "i64"), tensor("boxes", [None, 300, 4]), tensor("scores", [None, 300])]
        info = model_info([tensor("images", [None, 3, height, width])], shapes)
        yield Case(info, outputs, {"task": "rt-detr"}, displayed, batch)


def authors_expected(case: Case, item: int) -> list[Thing]:
    """`draw` of RT-DETR's tools/deployment/onnx_inf.py: what is above the threshold, the boxes by the ratio of frame and input."""
    height, width = case.info["inputs"][0]["shape"][2:]
    labels, boxes, scores = (case.outputs[name][item] for name in ("labels", "boxes", "scores"))
    ratio = np.array(case.displayed * 2) / [width, height, width, height]
    kept = scores > 0.25
    rows = np.concatenate([(boxes * ratio)[kept], scores[kept, None], labels[kept, None]], 1)
    return visible(rows, case.displayed)


def logits_cases(classes: int, queries: int, operators: dict, names=("logits", "pred_boxes")):
    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in FRAMES:
            logits = rng.normal(-7, 2.2, (batch, queries, classes)).astype(np.float32)
            logits[:, ::3, : max(2, classes // 9)] += 4
            outputs = {names[0]: logits, names[1]: all_boxes(rng, batch, queries, width, height)}
            shapes = [tensor(names[0], [None, queries, classes]), tensor(names[1], [None, queries, 4])]
            info = model_info([tensor("pixel_values", [None, 3, height, width])], shapes, operators=operators)
            yield Case(info, outputs, displayed=displayed, batch=batch)

    return cases


def hugging_face(file: str, processor: str, **options):
    """post_process_object_detection of one of Hugging Face's image processors."""

    def expected(case: Case, item: int) -> list[Thing]:
        [corners] = authors.take("transformers/image_transforms.py", "_center_to_corners_format_torch", torch=torch)
        [process] = authors.take(
            f"transformers/models/{file}", f"{processor}.post_process_object_detection",
            torch=torch, nn=torch.nn, center_to_corners_format=corners, requires=lambda **_: lambda function: function,
        )
        width, height = case.displayed
        logits, boxes = (torch.from_numpy(case.outputs[name][item : item + 1]) for name in ("logits", "pred_boxes"))
        outputs = SimpleNamespace(logits=logits, pred_boxes=boxes)
        [found] = process(None, outputs, threshold=0.25, target_sizes=torch.tensor([[height, width]]), **options)
        return sorted_rows(found, case)

    return expected


def rf_detr_expected(case: Case, item: int) -> list[Thing]:
    [corners] = authors.take("rfdetr/utilities/box_ops.py", "box_cxcywh_to_xyxy", torch=torch)
    [process] = authors.take(
        "rfdetr/models/postprocess.py", "PostProcess",
        torch=torch, nn=torch.nn, F=torch.nn.functional, box_ops=SimpleNamespace(box_cxcywh_to_xyxy=corners),
    )
    width, height = case.displayed
    boxes, logits = (torch.from_numpy(case.outputs[name][item : item + 1]) for name in ("dets", "labels"))
    [found] = process(num_select=300)({"pred_logits": logits, "pred_boxes": boxes}, torch.tensor([[height, width]]))
    return sorted_rows({name: value[found["scores"] > 0.25] for name, value in found.items()}, case)


def sorted_rows(found: dict, case: Case) -> list[Thing]:
    rows = torch.cat([found["boxes"], found["scores"][:, None], found["labels"][:, None]], 1)
    rows = rows[rows[:, 4].argsort(descending=True, stable=True)]
    return visible(rows.numpy(), case.displayed)


PICKED = {"TopK": 2, "GridSample": 12}
DETR = hugging_face("detr/image_processing_detr.py", "DetrImageProcessor")
RT_DETR = hugging_face("rt_detr/image_processing_rt_detr.py", "RTDetrImageProcessor")
DEFORMABLE = hugging_face("deformable_detr/image_processing_deformable_detr.py", "DeformableDetrImageProcessor")
OF = "transformers 5.24.0"
PROCESS = "post_process_object_detection"

FAMILIES = [
    Family(
        "RT-DETR of Ultralytics", "ultralytics 8.4.190: RTDETRPredictor.postprocess", chosen_cases, chosen_expected
    ),
    Family(
        "RT-DETR of Ultralytics before 8.4", "ultralytics 8.3: RTDETRPredictor.postprocess", table_cases, table_expected,
        note="the reference is written again from its source",
    ),
    Family(
        "RT-DETR, RT-DETRv2, D-FINE, DEIM", "lyuwenyu/RT-DETR: tools/deployment/onnx_inf.py, draw", authors_cases, authors_expected,
        note="the reference is written again from its source",
    ),
    Family("RT-DETR, D-FINE of Hugging Face", f"{OF}: RTDetrImageProcessor.{PROCESS}", logits_cases(80, 300, PICKED), RT_DETR),
    Family("DETR, YOLOS", f"{OF}: DetrImageProcessor.{PROCESS}", logits_cases(92, 100, {"Softmax": 12}), DETR),
    Family(
        "Deformable and Conditional DETR", f"{OF}: DeformableDetrImageProcessor.{PROCESS}",
        logits_cases(91, 300, {"GridSample": 12}), DEFORMABLE,
    ),
    Family(
        "RF-DETR", "rfdetr 1.11.2: models.postprocess.PostProcess",
        logits_cases(91, 300, PICKED, ("labels", "dets")), rf_detr_expected,
    ),
]
