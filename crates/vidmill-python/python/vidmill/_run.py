"""Runs: the whole engine, with results as they come."""

import atexit
import inspect
import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidmill._classes import Classes, Regions
from vidmill._columns import as_json
from vidmill._detections import Detections
from vidmill._found import all_same, keys_of
from vidmill._progress import Progress, bar_for
from vidmill._types import Rate, StrPath, Time
from vidmill._vidmill import Run

_going: "weakref.WeakSet[Run]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """What is still going when Python ends leaves valid outputs."""
    for run in list(_going):
        run.close()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one sampled frame: a record (docs/RECORD.md).

        >>> result = next(vidmill.run("street.mp4", "yolov8n.onnx", start=4.8))
        >>> result.frame, result.pts, result.time, result.status
        (120, 61440, 4.8, 'ok')
        >>> result.detections.confidence.dtype
        dtype('float32')
    """

    source: str
    """The source as it was named; for a folder of pictures, the picture's path."""
    frame: int
    """Index among the decoded frames, from 0, as cv2 counts them."""
    pts: int | None
    """The container's timestamp in units of the stream's time base; None where there is none."""
    time: float | None
    """The same in seconds."""
    status: Literal["ok", "failed", "dropped"]
    """Which of the following are there."""
    detections: Detections | None = None
    """With "ok": what was found; None where the model is no detector."""
    error: str | None = None
    """With "failed": why."""
    attempts: int | None = None
    """With "failed": how many workers tried the frame."""
    reason: str | None = None
    """With "dropped": why."""
    outputs: Any = None
    """With "ok": what a model gives that vidmill does not decode."""
    classes: Classes | None = None
    """With "ok": what the frame is as a whole."""
    masks: Regions | None = None
    """With "ok": which pixels belong to which class."""
    text: str | None = None
    """With "ok": what the frame reads."""
    text_confidence: float | None = None
    """How sure the text is, 0 to 1."""
    embedding: NDArray[np.float32] | None = None
    """With "ok": the frame as a vector: [d]."""

    def __eq__(self, other: object) -> bool:
        return all_same(self, other) if isinstance(other, Result) else NotImplemented

    def to_dict(self) -> dict[str, Any]:
        """The record, as json.loads of the command's line gives it.

        >>> vidmill.Result("street.mp4", 121, 61952, 4.84, "dropped", reason="too late").to_dict()
        {'source': 'street.mp4', 'frame': 121, 'pts': 61952, 'time': 4.84, 'status': 'dropped', 'reason': 'too late'}
        """
        record: dict[str, Any] = {
            "source": self.source,
            "frame": self.frame,
            "pts": self.pts,
            "time": self.time,
            "status": self.status,
        }
        further = {"error": self.error, "attempts": self.attempts, "reason": self.reason}
        return record | keys_of(self) | {key: value for key, value in further.items() if value is not None}

    def to_json(self) -> str:
        """The record as JSON text.

        >>> vidmill.Result("street.mp4", 121, 61952, 4.84, "dropped", reason="too late").to_json()
        '{"source":"street.mp4","frame":121,"pts":61952,"time":4.84,"status":"dropped","reason":"too late"}'
        """
        return as_json(self.to_dict())


def run(
    source: StrPath | Iterable[StrPath],
    model: StrPath | type,
    *,
    out: StrPath | None = None,
    annotate: StrPath | None = None,
    format: Literal["jsonl", "csv", "parquet", "coco", "mot"] | None = None,
    resume: bool = False,
    every: int | None = None,
    fps: Rate | None = None,
    start: Time | None = None,
    end: Time | None = None,
    conf: float | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    classes: Sequence[str | int] = (),
    imgsz: int | None = None,
    labels: StrPath | None = None,
    top_k: int | None = None,
    normalize: bool = False,
    task: str | None = None,
    track: StrPath | None = None,
    card: StrPath | None = None,
    then: StrPath | type | None = None,
    then_classes: Sequence[str | int] = (),
    then_task: str | None = None,
    then_conf: float | None = None,
    then_labels: StrPath | None = None,
    then_batch: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    onnxruntime: StrPath | None = None,
    openvino: StrPath | None = None,
    batch: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    tune: bool | None = None,
    at_once: int | None = None,
    isolate: bool = False,
    timeout: float | None = None,
    worker_memory: int | str | None = None,
    recycle: int | None = None,
    progress: Progress = "auto",
) -> Run:
    """Runs a model over videos and images; gives a result for every sampled frame, in order, while it goes on.

        >>> with vidmill.run("street.mp4", "yolov8n.onnx", every=100, out="street.parquet") as run:
        ...     for result in run:
        ...         print(result.frame, result.time, result.detections.class_name, result.detections.xyxy.shape)
        0 0.0 ['person' 'car'] (2, 4)
        100 4.0 ['person' 'car'] (2, 4)
        200 8.0 ['person' 'car'] (2, 4)
        >>> run.manifest["ledger"]
        {'decoded': 250, 'skipped': 247, 'sampled': 3, 'ok': 3, 'failed': 0, 'dropped': 0}

    It is `vidmill run` within this process: the same records, the same memory. Work is done by threads that do not need
    Python, or, where the model runs in Python, in worker processes; when results are not taken, the run waits. `async for result in run` is the same in a coroutine (asyncio).

    Ctrl-C, leaving the `with` block, `close()` and the end of the program finish what is in flight and close all outputs
    validly.

    Args:
        source: A video, image, folder, glob, .txt list, URL, or several of these.
        model: An ONNX model, a model of PyTorch's (.pt, .torchscript, .pt2), or a class of yours, as "my_model.py:Detector" or itself:
            something with a method `predict(batch)` (see `vidmill.Input` and docs/PYTHON.md). The last two run in worker
            processes, each of which builds the class once.
        out: Where records are written as well: .jsonl, .csv, .parquet, .json (COCO), .txt (MOT, with track), or a folder; by default
            nowhere.
        annotate: Annotated video (.mp4), or a folder.
        track: Follow objects, and give each an id: "bytetrack", "sort", or a file of settings (.toml; docs/TRACKING.md): `track_id`
            of the detections.
        then: A second model, named like the first: each detection is cut out of its frame and given to it, and what it makes of it
            stands under the detection.
        tune: True finds the fastest way to run the model on this machine first, unless that has been done, which takes a minute; None uses
            what was found before; False does not.
        at_once: Sources that are read at the same time. They take turns, so a result of each comes in turn; results of one source come
            in order.
        progress: Whether to show how far it has come while results are taken: "auto" in a terminal (a line on standard error) and
            in a notebook, True also elsewhere (a line every 10 seconds), False nowhere.

    All others are the options of `vidmill run`, where `vidmill run --help` describes them; None leaves each at its default.
    With `resume`, results are those of frames that were not done before.

    Raises:
        ValueError: An option does not serve.

    Whatever is wrong with sources, model or outputs is raised where results are taken: FileNotFoundError, MediaError,
    ModelError, RunFailed.
    """
    if _worker_is_building():
        raise RuntimeError(
            f"vidmill.run is called while a worker process imports {_worker_is_building()} for its model: "
            'put the call under `if __name__ == "__main__":`'
        )
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    options: dict[str, Any] = {
        "out": out,
        "annotate": annotate,
        "format": format,
        "every": every,
        "fps": _text(fps, 6),
        "start": _text(start, 9),
        "end": _text(end, 9),
        "conf": conf,
        "iou": iou,
        "max-det": max_det,
        "classes": ",".join(map(str, classes)) or None,
        "imgsz": imgsz,
        "labels": labels,
        "top-k": top_k,
        "task": task,
        "track": None if track is None else os.fspath(track),
        "card": card,
        "then": None if then is None else _named(then),
        "then-classes": ",".join(map(str, then_classes)) or None,
        "then-task": then_task,
        "then-conf": then_conf,
        "then-labels": then_labels,
        "then-batch": then_batch,
        "device": device,
        "precision": precision,
        "onnxruntime": onnxruntime,
        "openvino": openvino,
        "batch": batch,
        "workers": workers,
        "threads": threads,
        "at-once": at_once,
        "timeout": timeout,
        "worker-memory": worker_memory,
        "recycle": recycle,
    }
    arguments = ["vidmill", "run", f"--model={_named(model)}"]
    arguments += [f"--{name}={value}" for name, value in options.items() if value is not None]
    switches = {"normalize": normalize, "isolate": isolate, "resume": resume, "tune": tune, "no-tune": tune is False}
    arguments += [f"--{name}" for name, given in switches.items() if given]
    going = Run([*arguments, "--", *(os.fspath(path) for path in sources)], out is not None, bar_for(progress))
    _going.add(going)
    return going


def _worker_is_building() -> str | None:
    """The file that this process, if it is a worker, imports now."""
    worker = sys.modules.get("vidmill._worker")
    return None if worker is None else worker.building


def _named(model: StrPath | type) -> str:
    """A model as the command takes it."""
    if not isinstance(model, type):
        return os.fspath(model)
    try:
        file = inspect.getsourcefile(model)
    except (OSError, TypeError):
        file = None
    if file is None or "<locals>" in model.__qualname__ or not os.path.exists(file):
        raise ValueError(
            f"{model.__qualname__} is not in a file that worker processes could import: "
            "put it into one, and name it as \"my_model.py:Detector\""
        )
    return f"{file}:{model.__qualname__}"


def _text(number: Rate | Time | None, decimals: int) -> str | None:
    """A number as the command takes it: with no more decimals than it compares."""
    if isinstance(number, float):
        return f"{number:.{decimals}f}"
    if isinstance(number, Fraction):
        return f"{number.numerator}/{number.denominator}"
    return None if number is None else str(number)
