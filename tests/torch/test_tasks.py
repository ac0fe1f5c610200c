"""Whole runs over real frames, beside the authors' own pipeline over the same frames and the same model.

Models have their real architecture and chance weights, with scores set so that some boxes pass. Such networks make much of little: one
level of one pixel changes all. So frames come without loss, and at sizes that both programs bring to the input's without rounding:
twice as large in each direction, each pixel four times (or, for classifiers, whose pictures are cut, just as large).
"""

import contextlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from parity import ROOT, mask_iou, rows
from ultralytics import YOLO
from ultralytics.nn.modules import head
from ultralytics.utils import ops

SIZE = 320
FRAMES = 4


@pytest.fixture(scope="session")
def frames(tmp_path_factory):
    """Folders of pictures of a real video: doubled, and single."""
    video = cv2.VideoCapture(str(ROOT / ".assets" / "bikes.mp4"))
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("doubled", "single")}
    for number in range(FRAMES):
        video.set(cv2.CAP_PROP_POS_FRAMES, number * 20)
        read, frame = video.read()
        assert read
        small = cv2.resize(frame, (SIZE, 200), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folders["doubled"] / f"{number}.png"), small.repeat(2, 0).repeat(2, 1))
        cv2.imwrite(str(folders["single"] / f"{number}.png"), cv2.resize(frame, (SIZE + 161, SIZE), interpolation=cv2.INTER_AREA))
    return folders


@pytest.fixture(scope="session")
def exported(frames, tmp_path_factory):
    """exported(name) is the file of an architecture, exported as its authors do it."""
    folder = tmp_path_factory.mktemp("exported")

    def export(name):
        with contextlib.chdir(folder):
            torch.manual_seed(1)
            model = YOLO(f"{name}.yaml", verbose=False)
            prepare(model.model, frames["doubled"])
            model.export(format="onnx", imgsz=SIZE, simplify=False, verbose=False)
        return folder / f"{name}.onnx"

    return export


@torch.no_grad()
def prepare(network: torch.nn.Module, folder: Path) -> None:
    """Norms get the statistics of the frames, so that places differ; and the last layer scores that differ."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    pictures = np.full((FRAMES, SIZE, SIZE, 3), 114, np.uint8)
    for picture, path in zip(pictures, sorted(folder.iterdir()), strict=True):
        picture[60:260] = cv2.imread(str(path))[::2, ::2, ::-1]
    pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    network.train()
    network(pictures)
    network.eval()
    last = network.model[-1]
    if isinstance(last, head.Classify):
        last.linear.weight *= 20
    if isinstance(last, head.Detect):
        branches = filter(None, (last.cv3, getattr(last, "one2one_cv3", None)))
        for layer in (stride[-1] for branch in branches for stride in branch):
            layer.bias.zero_()
            hook = layer.register_forward_hook(lambda layer, inputs, output: spread(layer, output))
            network(pictures)
            hook.remove()


def spread(layer: torch.nn.Module, output: torch.Tensor) -> None:
    """Sets a last layer so that each class's score varies over the places, few are sure, and none so sure that others equal it."""
    mean = output.mean((0, 2, 3))
    # No two classes have the same greatest score: which of equals is first hangs on the last bit.
    scale = torch.linspace(3.5, 4.5, len(mean)) / (output.amax((0, 2, 3)) - mean)
    layer.weight *= scale[:, None, None, None]
    layer.bias.copy_(-mean * scale - 3)


NAMES = ["yolo26n-pose", "yolo11n-seg", "yolo26n-obb", "yolo11n-cls", "yolo26n-sem"]


def of_result(result, task: str):
    """Ultralytics' results of a frame as a record has them."""
    frame = result.orig_shape
    if task == "classify":
        probs = result.probs
        return {"classes": [{"class_id": i, "confidence": c} for i, c in zip(probs.top5, probs.top5conf.tolist(), strict=True)]}
    if task == "semantic":
        classes = result.semantic_mask.data.squeeze().numpy()
        return {"masks": [{"class_id": int(i), "mask": classes == i} for i in np.unique(classes)]}
    boxes = result.obb if task == "obb" else result.boxes
    around = ops.clip_boxes(boxes.xyxy.clone(), frame).numpy()
    found = []
    for n, (xyxy, confidence, class_id) in enumerate(zip(around, boxes.conf.tolist(), boxes.cls.tolist(), strict=True)):
        one = {"xyxy": xyxy, "confidence": confidence, "class_id": int(class_id)}
        if task == "obb":
            one["corners"] = boxes.xyxyxyxy[n].numpy()[[2, 1, 0, 3]]
        if task == "pose":
            one["keypoints"] = result.keypoints.data[n].numpy()
        if task == "segment":
            one["mask"] = result.masks.data[n].numpy() > 0
        if xyxy[2] > xyxy[0] and xyxy[3] > xyxy[1]:
            found.append(one)
    return {"detections": found}


def iou(a, b) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = np.prod(np.maximum(sides, 0))
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def matches(ours: dict, theirs: dict, size: tuple[int, int]) -> bool:
    """Whether two results are of the same thing, as near as pixels that were scaled by two programs let them."""
    if ours["class_id"] != theirs["class_id"] or abs(ours.get("confidence", 0) - theirs.get("confidence", 0)) > 0.05:
        return False
    if "xyxy" in theirs and iou(np.array(ours["xyxy"]), np.array(theirs["xyxy"])) < 0.9:
        return False
    if "mask" in theirs:
        mine = ours["mask"] if isinstance(ours["mask"], np.ndarray) else rows(ours["mask"])
        other = theirs["mask"] if isinstance(theirs["mask"], np.ndarray) else rows(theirs["mask"])
        if mask_iou(mine, other) < 0.9:
            return False
    near = 0.02 * max(size)
    if "corners" in theirs and np.abs(np.array(ours["corners"]) - np.array(theirs["corners"])).max() > near:
        return False
    if "keypoints" in theirs:
        mine, other = np.array(ours["keypoints"]), np.array(theirs["keypoints"])
        # Ultralytics moves points outside of the frame to its edge.
        mine[:, :2], other[:, :2] = np.clip(mine[:, :2], 0, size), np.clip(other[:, :2], 0, size)
        return np.abs(mine[:, :2] - other[:, :2]).max() < near
    return True


@pytest.mark.parametrize("name", NAMES)
def test_whole_runs_find_what_the_authors_pipeline_finds(frames, command, exported, tmp_path, name):
    model = exported(name)
    folder = frames["single" if name.endswith("-cls") else "doubled"]
    done = command("run", folder, "--model", model, "--out", tmp_path / "found.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    results = list(YOLO(model, task=(task := task_of(name))).predict(
        str(folder), imgsz=SIZE, rect=False, conf=0.25, iou=0.7, retina_masks=True, verbose=False
    ))
    assert [record["source"] for record in records] == [result.path for result in results]
    counts = {"ours": 0, "theirs": 0, "ours matched": 0, "theirs matched": 0}
    for record, result in zip(records, results, strict=True):
        [(kind, theirs)] = of_result(result, task).items()
        ours, size = record[kind], (result.orig_shape[1], result.orig_shape[0])
        counts["ours"] += len(ours)
        counts["theirs"] += len(theirs)
        counts["ours matched"] += sum(any(matches(one, other, size) for other in theirs) for one in ours)
        counts["theirs matched"] += sum(any(matches(other, one, size) for other in ours) for one in theirs)
    print(name, counts)
    assert counts["theirs"] >= 20, "too little to say anything"
    assert counts["ours matched"] >= 0.99 * counts["ours"], counts
    assert counts["theirs matched"] >= 0.99 * counts["theirs"], counts


def task_of(name: str) -> str:
    ending = name.partition("-")[2]
    return {"seg": "segment", "cls": "classify", "sem": "semantic"}.get(ending, ending)
