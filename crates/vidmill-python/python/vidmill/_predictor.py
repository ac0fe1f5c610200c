"""Models."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from numpy.typing import NDArray

from vidmill._types import StrPath
from vidmill._vidmill import Model

Outputs = TypeVar("Outputs", covariant=True)


@runtime_checkable
class Predictor(Protocol[Outputs]):
    """What runs a model: `vidmill.load` gives one, and any class with this method is one. `vidmill.run` says what it makes of the
    outputs.

        >>> class Means:
        ...     def predict(self, batch, /):
        ...         return batch.mean(axis=(1, 2, 3), dtype=np.float32)
        >>> isinstance(Means(), vidmill.Predictor)
        True
        >>> Means().predict(np.ones((2, 3, 4, 4), np.float32)).tolist()
        [1.0, 1.0]
    """

    def predict(self, batch: NDArray[Any], /) -> Outputs:
        """What comes of one batch, whose first dimension counts its items."""
        ...


def load(
    model: StrPath,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    conf: float | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    classes: Sequence[str | int] = (),
    imgsz: int | tuple[int, int] | None = None,
    labels: StrPath | None = None,
    top_k: int | None = None,
    normalize: bool = False,
    task: str | None = None,
    card: StrPath | None = None,
    onnxruntime: StrPath | None = None,
    openvino: StrPath | None = None,
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
        conf: Least confidence of a detection, 0 to 1; by default what the model's card says, or what is
            usual for its kind, mostly 0.25.
        iou: Boxes of one class that overlap more than this are one, 0 to 1; by default the card's, or what is
            usual for its kind, mostly 0.7.
        max_det: Most detections in an image; by default the card's, or 300.
        classes: Only these, by name or number; empty for all.
        imgsz: Input side (or (width, height)) in pixels, for models of dynamic size.
        labels: A file of class names, one a line.
        top_k: Most classes of a whole image, from models that classify images; by default the card's, or 5.
        normalize: Whether embeddings are given length 1.
        task: How outputs are read, where that is not recognised.
        card: The model's card (docs/MODEL_CARD.md); by default the model's name with .toml, if it is there.
        onnxruntime: ONNX Runtime's shared library; by default that of the installed package `onnxruntime`, else as `vidmill doctor` tells.
        openvino: The same of OpenVINO, with the package `openvino`.

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
        top_k=top_k,
        normalize=normalize,
        task=task,
        card=card,
        onnxruntime=onnxruntime,
        openvino=openvino,
    )
