"""What vidmill makes of a model's outputs, beside what the authors' own code makes of the same.

A family of models is a module of this package with `FAMILIES`, a list of `Family`. tests/torch/test_parity.py holds each of them to
its limits, and tools/models_table.py writes what was measured to docs/models.md.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent.parent


@dataclass
class Case:
    """Outputs of one batch, with what vidmill is told of the model."""

    info: dict
    outputs: dict[str, np.ndarray]
    options: dict = field(default_factory=dict)
    displayed: tuple[int, int] | None = None
    """Width and height of the frame; as large as the input where left out."""
    batch: int = 1


@dataclass
class Thing:
    """One result: a detection, or a class (without a box)."""

    xyxy: np.ndarray | None
    confidence: float
    class_id: int
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    """Whatever else is to be equal, in pixels or other units: `corners`, `keypoints`, `embedding`."""
    mask: np.ndarray | None = None
    """Height x width of the frame, True where it covers."""


@dataclass
class Family:
    """A family of models, and the authors' code that reads its outputs."""

    name: str
    reference: str
    """The function that it is compared with: `ultralytics 8.4.190 utils.nms.non_max_suppression`."""
    cases: Callable[[np.random.Generator], Iterator[Case]]
    expected: Callable[[Case, int], list[Thing]]
    """What the reference makes of item n of a case, in its order."""
    pixels: float = 0.01
    """How far a number in pixels may be off."""
    score: float = 1e-5
    mask_iou: float = 0.99
    note: str = ""
    """What is to be said of it: that weights are random, or what differs and why."""


@dataclass
class Agreement:
    """What a comparison came to."""

    compared: int = 0
    agreed: int = 0
    pixels: float = 0.0
    """The farthest that a number was off, among those that agreed."""
    score: float = 0.0
    problems: list[str] = field(default_factory=list)


def tensor(name: str, shape, element: str = "f32") -> dict:
    """An input or output; None stands for any number."""
    return {"name": name, "element": element, "shape": [n if n is not None else "any" for n in shape]}


def model_info(inputs, outputs, metadata=None, operators=None) -> dict:
    """What a model file says of itself, as vidmill reads it."""
    return {
        "path": "model.onnx", "sha256": "", "producer": "", "opset": 17, "inputs": inputs, "outputs": outputs,
        "metadata": metadata or {}, "operators": operators or {}, "weights": "f32",
    }


def program(name: str) -> Path:
    """One of vidmill-infer's example programs, built."""
    build = ["cargo", "build", "-q", "--locked", "-p", "vidmill-infer", "--example", name]
    subprocess.run(build, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / os.environ.get("VIDMILL_PROFILE", "debug") / "examples" / name


def decode(cases: list[Case], *arguments: str) -> list[dict]:
    """vidmill's results, as decode_raw tells them."""
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for number, case in enumerate(cases):
            outputs = []
            for place, (name, data) in enumerate(case.outputs.items()):
                file = Path(folder) / f"{number}-{place}"
                np.ascontiguousarray(data, "<f4").tofile(file)
                outputs.append({"name": name, "shape": list(data.shape), "file": str(file)})
            line = {"info": case.info, "options": case.options, "outputs": outputs, "batch": case.batch}
            if case.displayed:
                line["displayed"] = list(case.displayed)
            lines.append(json.dumps(line))
        told = subprocess.run(
            [program("decode_raw"), *arguments], input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True
        )
    return [json.loads(line) for line in told.stdout.splitlines()]


def things(found: dict) -> list[Thing]:
    """What vidmill found, as the reference's results are held."""
    if found.get("detections") is None:
        result = [Thing(None, c["confidence"], c["class_id"]) for c in found.get("classes") or []]
        result += [Thing(None, 1.0, r["class_id"], mask=rows(r["mask"])) for r in found.get("regions") or []]
        if found.get("embedding") is not None:
            result.append(Thing(None, 1.0, 0, {"embedding": np.array(found["embedding"])}))
        if found.get("text") is not None:
            codes = np.array([ord(character) for character in found["text"]["text"]])
            result.append(Thing(None, found["text"]["confidence"], 0, {"text": codes}))
        return result
    result = []
    for detection in found["detections"]:
        rect = detection["rect"]
        thing = Thing(
            np.array([rect[side] for side in ("x1", "y1", "x2", "y2")]), detection["confidence"], detection["class_id"]
        )
        if detection["corners"] is not None:
            thing.numbers["corners"] = np.array(detection["corners"])
        if detection["keypoints"]:
            points = detection["keypoints"]
            thing.numbers["keypoints"] = np.array([[p["x"], p["y"]] for p in points])
            if points[0]["confidence"] is not None:
                thing.numbers["keypoint_confidence"] = np.array([p["confidence"] for p in points])
        if detection["mask"] is not None:
            thing.mask = rows(detection["mask"])
        result.append(thing)
    return result


def rows(mask: dict) -> np.ndarray:
    """The pixels of a mask as COCO's files have it (tests/test_masks.py compares such with pycocotools)."""
    height, width = mask["size"]
    runs, number, shift = [], 0, 0
    for character in mask["counts"].encode():
        group = character - 48
        number |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            number -= (1 << shift) if group & 0x10 else 0
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number, shift = 0, 0
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def compare(family: Family, found: list[Thing], expected: list[Thing], agreement: Agreement) -> None:
    """Counts how many of the expected results are in the same place of what was found, and equal."""
    agreement.compared += len(expected)
    if len(found) != len(expected):
        agreement.problems.append(f"{len(found)} results, {len(expected)} expected")
    for place, (ours, theirs) in enumerate(zip(found, expected, strict=False)):
        off, score = difference(ours, theirs)
        agrees = (
            off <= family.pixels and score <= family.score and ours.class_id == theirs.class_id
            and mask_iou(ours.mask, theirs.mask) >= family.mask_iou
        )
        if agrees:
            agreement.agreed += 1
            agreement.pixels = max(agreement.pixels, off)
            agreement.score = max(agreement.score, score)
        else:
            agreement.problems.append(f"result {place}: {ours} is not {theirs}")
    agreement.compared += max(0, len(found) - len(expected))


def difference(ours: Thing, theirs: Thing) -> tuple[float, float]:
    """How far the numbers are off, at most, and the confidence."""
    if (ours.xyxy is None) != (theirs.xyxy is None) or ours.numbers.keys() != theirs.numbers.keys():
        return np.inf, np.inf
    pairs = [(ours.numbers[name], theirs.numbers[name]) for name in ours.numbers]
    if ours.xyxy is not None:
        pairs.append((ours.xyxy, theirs.xyxy))
    if any(np.shape(a) != np.shape(b) for a, b in pairs):
        return np.inf, np.inf
    off = max((float(np.abs(a - b).max(initial=0)) for a, b in pairs), default=0.0)
    return off, abs(ours.confidence - theirs.confidence)


def mask_iou(ours: np.ndarray | None, theirs: np.ndarray | None) -> float:
    if ours is None or theirs is None:
        return 1.0 if ours is theirs else 0.0
    if ours.shape != theirs.shape:
        return 0.0
    union = np.logical_or(ours, theirs).sum()
    return float(np.logical_and(ours, theirs).sum() / union) if union else 1.0


def measure(family: Family, seed: int = 1) -> Agreement:
    """All cases of a family, compared."""
    cases = list(family.cases(np.random.default_rng(seed)))
    agreement = Agreement()
    for case, result in zip(cases, decode(cases), strict=True):
        if "error" in result:
            agreement.problems.append(result["error"])
            continue
        for item, found in enumerate(result["found"]):
            if "error" in found:
                agreement.problems.append(found["error"])
                continue
            compare(family, things(found), family.expected(case, item), agreement)
    return agreement


def all_families() -> list[Family]:
    """Those of all modules of this package."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        found += importlib.import_module(f"{__name__}.{module.name}").FAMILIES
    return found


def crowd(rng: np.random.Generator, count: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes (x1, y1, x2, y2) in an input of width x height, many of them over the same objects: there is something to suppress."""
    width, height = size
    objects = max(1, count // 12)
    centres = rng.uniform(0.05, 0.95, (objects, 2)) * [width, height]
    sides = rng.uniform(0.05, 0.4, (objects, 2)) * [width, height]
    which = rng.integers(0, objects, count)
    centre = centres[which] + rng.normal(0, 0.06, (count, 2)) * sides[which]
    side = sides[which] * rng.uniform(0.8, 1.25, (count, 2))
    return np.concatenate([centre - side / 2, centre + side / 2], 1).astype(np.float32)


def visible(rows: np.ndarray, displayed: tuple[int, int]) -> list[Thing]:
    """Rows of x1, y1, x2, y2, confidence, class in pixels of the frame, clipped to it; those of which nothing is in it are left out, as
    vidmill does."""
    limits = np.array(displayed * 2, np.float32)
    things = [Thing(np.clip(row[:4], 0, limits), float(row[4]), int(row[5])) for row in np.asarray(rows)]
    return [thing for thing in things if thing.xyxy[2] > thing.xyxy[0] and thing.xyxy[3] > thing.xyxy[1]]
