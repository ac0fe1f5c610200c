"""Comparing detections of two programs on the same frames."""

import json

import numpy as np


def iou(a, b):
    """Intersection over union of every box of `a` `[n, 4]` with every box of `b` `[m, 4]` (x1, y1, x2, y2): `[n, m]`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None, :] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def matched(ours, theirs, least_iou=0.9, confidence=0.02):
    """How many of `ours` have a partner in `theirs`: same class, IoU and confidence close; each partner serves once.

    Both are lists of records' detections.
    """
    if not ours or not theirs:
        return 0
    overlap = iou(*(np.array([d["xyxy"] for d in side], float) for side in (ours, theirs)))
    classes, scores = ([np.array([d[key] for d in side]) for side in (ours, theirs)] for key in ("class_id", "confidence"))
    fits = (overlap >= least_iou) & (classes[0][:, None] == classes[1][None, :])
    fits &= np.abs(scores[0][:, None] - scores[1][None, :]) <= confidence
    overlap = np.where(fits, overlap, 0)
    count = 0
    for row in range(len(ours)):
        best = int(overlap[row].argmax())
        if overlap[row, best] > 0:
            overlap[:, best] = 0
            count += 1
    return count


def share(pairs, least=0.25, margin=0.03, **limits):
    """The share of boxes that the two sides agree on, over all frames' (ours, theirs), both ways.

    Both sides were asked for boxes from `least` up. A box that lies within `margin` of it may be missing on the other side without
    being wrong: it must not be matched, but it may be a partner.
    """
    total = agreed = 0
    for ours, theirs in pairs:
        for one, other in ((ours, theirs), (theirs, ours)):
            sure = [d for d in one if d["confidence"] >= least + margin]
            total += len(sure)
            agreed += matched(sure, other, **limits)
    return (agreed / total if total else 1.0), total


def read_jsonl(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def files_share(path, other, **limits):
    """`share` over two JSONL files of the same frames."""
    ours, theirs = read_jsonl(path), read_jsonl(other)
    if [r["frame"] for r in ours] != [r["frame"] for r in theirs]:
        raise ValueError(f"{path} and {other} are not about the same frames")
    return share([(a["detections"], b["detections"]) for a, b in zip(ours, theirs)], **limits)
