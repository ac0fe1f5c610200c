"""Ultralytics' own letterbox and post-processing, run by .venv-oracle's Python and spoken to over pipes.

Reads lines `{"do": ..., "shape": [...], "dtype": "...", ...}`, each followed by that array's bytes, and answers each:

detect      the array is a raw output, with "family", "nc", "conf", "iou", "input": [h, w], "frame": [h, w]; the answer is a line
            of `[[x1, y1, x2, y2, confidence, class], ...]` in pixels of the frame, best first
suppress    the array is `[n, 6]` of such rows, with "iou"; the answer is a line of those that torchvision keeps
summary     the array is `[n, 6]` of such rows ([n, 7] with tracks before the confidence), with "names", and perhaps "frame": [h, w],
            "masks" and "keypoints" as lists; or the array is `[n, 7]` of oriented boxes, with "obb": true; or it is the "probs" of
            classes, or the "semantic" class of each pixel; the answer is a line of what `Results.summary()` makes of them
letterbox   the array is a picture, with "to": [h, w]; the answer is a line `{"shape": [...]}` and the picture's bytes
"""

import json
import os
import sys

os.environ.update(YOLO_OFFLINE="true", YOLO_VERBOSE="false", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=sys.prefix)

import numpy as np
import torch
import torchvision

sys.stdout, answers = sys.stderr, sys.stdout.buffer  # what the package prints must not mix with answers
from ultralytics.data.augment import LetterBox
from ultralytics.engine.results import Results
from ultralytics.utils import nms, ops


def detections(request, output):
    found = nms.non_max_suppression(
        torch.from_numpy(output.astype(np.float32)),
        conf_thres=request["conf"],
        iou_thres=request["iou"],
        max_det=300,
        nc=request["nc"],
        end2end=output.shape[-1] == 6,
        max_time_img=60,
    )[0]
    found[:, :4] = ops.scale_boxes(request["input"], found[:, :4], request["frame"])
    return found.tolist()


def yolov5_as_v8(output):
    """YOLOv5's rows as YOLOv8's columns: Ultralytics' YOLOv5 multiplies objectness into the class scores first."""
    scores = output[..., 5:] * output[..., 4:5]
    return np.concatenate([output[..., :4], scores], -1).transpose(0, 2, 1)


def suppressed(request, rows):
    rows = torch.from_numpy(rows.astype(np.float32))
    return rows[torchvision.ops.batched_nms(rows[:, :4], rows[:, 4], rows[:, 5], request["iou"])].tolist()


def summary(request, array):
    names = dict(enumerate(request["names"]))
    array = torch.from_numpy(array.astype(np.float32))
    kind = next((kind for kind in ("obb", "probs", "semantic") if request.get(kind)), "boxes")
    given = {"semantic_mask" if kind == "semantic" else kind: array}
    if request.get("masks"):
        given["masks"] = torch.tensor(request["masks"], dtype=torch.uint8)
    if request.get("keypoints"):
        given["keypoints"] = torch.tensor(request["keypoints"])
    return Results(np.zeros((*request.get("frame", (8, 8)), 3), np.uint8), "", names, **given).summary()


def answer(request, array):
    if request["do"] == "letterbox":
        picture = LetterBox(request["to"], auto=False)(image=array.copy())
        return json.dumps({"shape": picture.shape}).encode() + b"\n" + picture.tobytes()
    if request["do"] == "summary":
        return json.dumps(summary(request, array)).encode() + b"\n"
    if request["do"] == "suppress":
        return json.dumps(suppressed(request, array)).encode() + b"\n"
    output = yolov5_as_v8(array) if request["family"] == "yolov5" else array.copy()
    return json.dumps(detections(request, output)).encode() + b"\n"


def main():
    requests = sys.stdin.buffer
    while line := requests.readline():
        request = json.loads(line)
        dtype = np.dtype(request["dtype"])
        count = int(np.prod(request["shape"]))
        array = np.frombuffer(requests.read(count * dtype.itemsize), dtype).reshape(request["shape"])
        answers.write(answer(request, array))
        answers.flush()


main()
