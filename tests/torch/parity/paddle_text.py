"""PaddleOCR's finder and reader of text, as RapidOCR ships them with their models."""

from collections.abc import Iterator

import cv2
import numpy as np
from rapidocr_onnxruntime.ch_ppocr_det.text_detect import TextDetector
from rapidocr_onnxruntime.ch_ppocr_det.utils import DBPostProcess
from rapidocr_onnxruntime.ch_ppocr_rec.utils import CTCLabelDecode

from . import Case, Family, Thing, model_info, tensor

CONF = 0.5


def text_map(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Slanted bars with soft edges, holes and noise, as a detector's map of lines of text looks like."""
    field = np.zeros((height, width), np.float32)
    for _ in range(int(width * height / 5000)):
        centre = rng.uniform(0, 1, 2) * [width, height]
        size = rng.uniform([12, 4], [width / 8, height / 30])
        angle = rng.choice([0, 0, 90, rng.uniform(-90, 90)])
        box = cv2.boxPoints(((float(centre[0]), float(centre[1])), (float(size[0]), float(size[1])), float(angle)))
        bar = np.zeros_like(field)
        cv2.fillPoly(bar, [box.round().astype(np.int32)], float(rng.uniform(0.4, 1)))
        field = np.maximum(field, bar)
    field = cv2.GaussianBlur(field, (0, 0), 1.2)
    field *= rng.uniform(0.5, 1.15, field.shape).astype(np.float32)
    return np.clip(field, 0, 1)


def db_cases(rng: np.random.Generator) -> Iterator[Case]:
    for (width, height), batch in [((960, 544), 1), ((640, 640), 2), ((320, 192), 1), ((736, 992), 1), ((960, 960), 1)]:
        maps = np.stack([text_map(rng, width, height)[None] for _ in range(batch)])
        info = model_info(
            [tensor("x", [None, 3, height, width])], [tensor("sigmoid_0.tmp_0", [None, 1, None, None])],
        )
        for displayed in [(width, height), (1920, 1080), (417, 333)]:
            yield Case(info, {"sigmoid_0.tmp_0": maps}, {"conf": CONF, "max_det": 1000}, displayed=displayed, batch=batch)


def db_expected(case: Case, item: int) -> list[Thing]:
    post = DBPostProcess(thresh=0.3, box_thresh=CONF, max_candidates=1000, unclip_ratio=1.6, use_dilation=True)
    width, height = case.displayed
    boxes, scores = post(case.outputs["sigmoid_0.tmp_0"][item : item + 1], (height, width))
    detector = TextDetector.__new__(TextDetector)
    things = []
    for box, score in zip(boxes, scores, strict=True):
        for kept in detector.filter_tag_det_res(np.array([box]), (height, width)):
            corners = kept.astype(float)
            things.append(Thing(np.concatenate([corners.min(0), corners.max(0)]), float(score), 0, {"corners": corners}))
    return sorted(things, key=lambda thing: -np.float32(thing.confidence))


CHARACTERS = [chr(code) for code in range(0x21, 0x7F)] + [chr(code) for code in range(0x4E00, 0x4F00)] + ["\u3000"]


def ctc_cases(rng: np.random.Generator) -> Iterator[Case]:
    columns = len(CHARACTERS) + 2
    for batch, steps in [(1, 40), (60, 40), (50, 133), (6, 1)]:
        logits = rng.normal(0, 1, (batch, steps, columns))
        best = rng.integers(0, columns, (batch, steps))
        best[rng.uniform(size=best.shape) < 0.4] = 0
        again = rng.uniform(size=best.shape) < 0.3
        best[:, 1:][again[:, 1:]] = best[:, :-1][again[:, 1:]]
        np.put_along_axis(logits, best[..., None], rng.uniform(4, 12, (batch, steps, 1)), -1)
        table = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        info = model_info(
            [tensor("x", [None, 3, 48, None])], [tensor("softmax_11.tmp_0", [None, None, columns])],
            {"character": "\n".join(CHARACTERS)},
        )
        yield Case(info, {"softmax_11.tmp_0": table.astype(np.float32)}, batch=batch)


def ctc_expected(case: Case, item: int) -> list[Thing]:
    decode = CTCLabelDecode(character=list(CHARACTERS))
    [(text, confidence)] = decode(case.outputs["softmax_11.tmp_0"][item : item + 1])
    return [Thing(None, confidence, 0, {"text": np.array([ord(character) for character in text])})]


RAPID = "rapidocr-onnxruntime 1.4.4"
FAMILIES = [
    Family(
        "PP-OCR text detection (DB)", f"{RAPID}: ch_ppocr_det.utils.DBPostProcess, text_detect.TextDetector.filter_tag_det_res",
        db_cases, db_expected, score=1e-3, note="detections come by falling confidence, not from top to bottom",
    ),
    Family("PP-OCR text recognition (CTC)", f"{RAPID}: ch_ppocr_rec.utils.CTCLabelDecode", ctc_cases, ctc_expected, pixels=0.0),
]
