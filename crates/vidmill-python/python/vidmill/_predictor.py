"""Models."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vidmill._detections import Detections
from vidmill._types import StrPath
from vidmill._vidmill import Frame, Model


@runtime_checkable
class Predictor(Protocol):
    """What turns images into detections. `vidmill.load` gives one; anything with these two methods is one.

        >>> class Half:
        ...     def __call__(self, batch, /):
        ...         return {"mean": batch.mean(axis=(1, 2, 3), dtype=np.float32)}
        ...
        ...     def detect(self, images, *, format="rgb"):
        ...         halves = [[0, 0, image.shape[1] / 2, image.shape[0]] for image in map(np.asarray, images)]
        ...         return [vidmill.Detections([half], [1.0], [0], ["left half"]) for half in halves]
        >>> isinstance(Half(), vidmill.Predictor)
        True
        >>> Half().detect(vidmill.frames("street.mp4", end=0.04))[0].to_dicts()
        [{'xyxy': [0.0, 0.0, 320.0, 272.0], 'confidence': 1.0, 'class_id': 0, 'class': 'left half'}]
    """

    def __call__(self, batch: NDArray[Any], /) -> Mapping[str, NDArray[np.float32]]:
        """Raw outputs by name for one batch, whose first dimension counts its items."""
        ...

    def detect(
        self, images: Iterable[NDArray[np.uint8] | Frame], *, format: Literal["rgb", "bgr"] = "rgb"
    ) -> list[Detections]:
        """What is found in each of the images, uint8 [height, width, 3]."""
        ...


def load(
    model: StrPath,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[str | int] = (),
    imgsz: int | tuple[int, int] | None = None,
    labels: StrPath | None = None,
    task: str | None = None,
    onnxruntime: StrPath | None = None,
) -> Model:
    """Loads an ONNX model on a device: the one asked for, or it fails; only "auto" may choose.

        >>> model = vidmill.load("yolov8n.onnx", device="cpu")
        >>> model(np.zeros((1, 3, 640, 640), np.float32))["output0"].shape   # as it is, and raw
        (1, 84, 8400)
        >>> image = vidmill.frames("street.mp4")[120].array   # uint8 [height, width, 3]
        >>> [found] = model.detect([image])   # letterbox, inference, box decoding, NMS
        >>> found.class_name.tolist(), found.xyxy.shape
        (['person', 'car'], (2, 4))

    A model that is not recognised as a detector can still be called. Calls from several threads wait for each other.

    Args:
        model: The file.
        device: auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N or openvino.
        precision: auto, f32, f16 or bf16.
        threads: Of the session on a CPU; 0 for as many as there are cores.
        conf: Least confidence of a detection, 0 to 1.
        iou: Boxes of one class that overlap more than this are one, 0 to 1.
        max_det: Most detections in an image.
        classes: Only these, by name or number; empty for all.
        imgsz: Input side (or (width, height)) in pixels, for models of dynamic size.
        labels: A file of class names, one a line.
        task: How outputs are read, where that is not recognised.
        onnxruntime: ONNX Runtime's shared library; by default that of the installed package `onnxruntime`, else as `vidmill doctor` tells.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: The model, the runtime or the device cannot be used.
        ValueError: An argument does not serve.
    """
    side = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    return Model(
        model,
        device=device,
        precision=precision,
        threads=threads,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=[str(name) for name in classes],
        imgsz=side,
        labels=labels,
        task=task,
        onnxruntime=onnxruntime,
    )
