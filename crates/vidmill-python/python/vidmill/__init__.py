"""Runs vision models over video; every frame is accounted for.

    for frame in vidmill.frames("street.mp4", every=5): ...       # arrays, true times
    model = vidmill.load("yolov8n.onnx"); model.detect(images)    # boxes of images of any size
    for result in vidmill.run("street.mp4", "yolov8n.onnx"): ...  # the engine, at its full speed
"""

from vidmill._batched import batched, run_inference
from vidmill._classes import Classes, Regions
from vidmill._detections import Detections
from vidmill._found import Found
from vidmill._frames import frames
from vidmill._input import Input
from vidmill._masks import RLE, Masks
from vidmill._pool import Pool, RemoteTraceback
from vidmill._predictor import Predictor, load
from vidmill._run import Result, run
from vidmill._shared_array import SharedArray, SharedArrayHandle
from vidmill._tables import to_arrow, to_pandas
from vidmill._vidmill import (
    Error,
    Frame,
    Frames,
    MediaError,
    Model,
    ModelError,
    Run,
    RunFailed,
    ViewKept,
    WorkerCrashed,
    WorkerError,
    WorkerOutOfMemory,
    WorkerTimeout,
    __version__,
)

__all__ = [
    "RLE",
    "Classes",
    "Detections",
    "Error",
    "Found",
    "Frame",
    "Frames",
    "Input",
    "Masks",
    "MediaError",
    "Model",
    "ModelError",
    "Pool",
    "Predictor",
    "Regions",
    "RemoteTraceback",
    "Result",
    "Run",
    "RunFailed",
    "SharedArray",
    "SharedArrayHandle",
    "ViewKept",
    "WorkerCrashed",
    "WorkerError",
    "WorkerOutOfMemory",
    "WorkerTimeout",
    "__version__",
    "batched",
    "frames",
    "load",
    "run",
    "run_inference",
    "to_arrow",
    "to_pandas",
]
