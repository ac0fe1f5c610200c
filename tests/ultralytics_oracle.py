"""Ultralytics' own letterbox and post-processing, run by .venv-oracle's Python and spoken to over pipes.

Reads lines `{"shape": [...], "dtype": "...", "nc": N, "conf": F, "iou": F, "input": [h, w], "frame": [h, w]}`, each followed
by that array's bytes: a model's raw output. Answers each with a line of `[[x1, y1, x2, y2, confidence, class], ...]` in
pixels of the frame, best first. A line `{"letterbox": [h, w], "shape": [...]}` and a picture gives the letterboxed picture
back in the same form.
"""

import json
import os
import sys

os.environ.update(YOLO_OFFLINE="true", YOLO_VERBOSE="false", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=sys.prefix)

import numpy as np
import torch

sys.stdout, answers = sys.stderr, sys.stdout.buffer  # what the package prints must not mix with answers
from ultralytics.data.augment import LetterBox
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


def main():
    requests = sys.stdin.buffer
    while line := requests.readline():
        request = json.loads(line)
        dtype = np.dtype(request.get("dtype", "uint8"))
        count = int(np.prod(request["shape"]))
        array = np.frombuffer(requests.read(count * dtype.itemsize), dtype).reshape(request["shape"])
        if "letterbox" in request:
            picture = LetterBox(request["letterbox"], auto=False)(image=array.copy())
            answers.write(json.dumps({"shape": picture.shape}).encode() + b"\n" + picture.tobytes())
        else:
            output = yolov5_as_v8(array) if request.get("family") == "yolov5" else array.copy()
            answers.write(json.dumps(detections(request, output)).encode() + b"\n")
        answers.flush()


main()
