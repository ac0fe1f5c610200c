"""The native half. Docstrings are in the functions that make these: vidmill.frames, vidmill.load, vidmill.run."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vidmill._detections import Detections
from vidmill._found import Found
from vidmill._progress import Bar
from vidmill._run import Result
from vidmill._types import AnyArray, PixelFormat, Rate, StrPath, Time

__all__ = [
    "Error",
    "Frame",
    "Frames",
    "MediaError",
    "Model",
    "ModelError",
    "Run",
    "RunFailed",
    "View",
    "ViewKept",
    "WorkerCrashed",
    "WorkerError",
    "WorkerOutOfMemory",
    "WorkerTimeout",
    "Workers",
    "__version__",
    "check_mask",
    "command",
    "decode_mask",
    "encode_mask",
    "mask_area",
    "need_memory",
    "openvino_library",
    "runtime_library",
    "serve_pool",
    "serve_predictor",
    "serve_worker",
    "shortest",
]

__version__: str

class Error(Exception):
    """What can go wrong in vidmill; all of its own exceptions are this one."""

class MediaError(Error):
    """A video or image that cannot be read."""

class ModelError(Error):
    """A model, runtime or device that cannot be used, or that failed."""

class RunFailed(Error):
    """A run that could not begin or could not go on."""

class WorkerError(Error):
    """A worker process of a `Pool` that cannot start, or that could not do an item."""

class WorkerCrashed(WorkerError):
    """The worker ended, or was killed, at this item."""

class WorkerTimeout(WorkerError):
    """The item took longer than the pool's `timeout`."""

class WorkerOutOfMemory(WorkerError):
    """The worker took more memory at this item than there is, or than `worker_memory` allows."""

class ViewKept(Error):
    """A function that a `Pool` calls keeps an array of its arguments beyond the call: `.copy()` what is kept."""

@final
class Frame:
    """A decoded frame."""

    @property
    def array(self) -> NDArray[np.uint8]:
        """The pixels, contiguous and this frame's own: [height, width, 3], [height, width] for "gray", [height * 3 // 2, width] for "yuv"."""
    @property
    def index(self) -> int:
        """Index among all decoded frames of the file, from 0, as cv2 counts them."""
    @property
    def pts(self) -> int | None:
        """The container's own timestamp in units of `Frames.time_base`; None for images and where the container does not say."""
    @property
    def time(self) -> float | None:
        """The same in seconds."""
    @property
    def concealed(self) -> bool:
        """Whether the decoder hid errors in this frame."""
    @property
    def format(self) -> PixelFormat:
        """What `array` holds."""
    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

@final
class Frames:
    """The frames of one video or image; see `vidmill.frames`."""

    def __new__(
        cls,
        source: StrPath,
        *,
        every: int | None = None,
        fps: Rate | None = None,
        start: Time | None = None,
        end: Time | None = None,
        size: tuple[int, int] | None = None,
        format: PixelFormat = "rgb",
        threads: int = 0,
    ) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Frame: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[Frame]: ...
    def __getitem__(self, index: int, /) -> Frame:
        """The frame of this index among all decoded frames, exactly. Raises IndexError beyond the last."""
    def at(self, time: Time) -> Frame:
        """The frame that is shown at a time: the last one that is not after it."""
    def close(self) -> None:
        """Gives the file and all decoders back; what was given out stays valid."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> Awaitable[None]: ...
    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
    @property
    def width(self) -> int:
        """Width in pixels, as displayed: rotated, before `size`."""
    @property
    def height(self) -> int:
        """Height in pixels, as displayed."""
    @property
    def rotation(self) -> Literal[0, 90, 180, 270]:
        """By how many degrees decoded pictures are turned clockwise to be displayed."""
    @property
    def time_base(self) -> Fraction | None:
        """Seconds per unit of `Frame.pts`; None for images."""
    @property
    def average_rate(self) -> Fraction | None:
        """Average frames per second as the container declares them. Not used for timing."""
    @property
    def declared_count(self) -> int | None:
        """Frames as the container declares them; damaged files may hold fewer."""
    @property
    def duration(self) -> float | None:
        """Seconds as the container declares them."""
    @property
    def probe(self) -> dict[str, Any]:
        """What the file is: the `probe` of a manifest."""
    @property
    def damage(self) -> dict[str, Any]:
        """What was concealed or lost so far: the `damage` of a manifest."""

@final
class Model:
    """A model that is ready to run, a `Predictor`; see `vidmill.load`."""

    def __new__(
        cls,
        path: StrPath,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        conf: float | None = None,
        iou: float | None = None,
        max_det: int | None = None,
        classes: Sequence[str] = ...,
        imgsz: tuple[int, int] | None = None,
        labels: StrPath | None = None,
        top_k: int | None = None,
        normalize: bool = False,
        task: str | None = None,
        card: StrPath | None = None,
        onnxruntime: StrPath | None = None,
        openvino: StrPath | None = None,
    ) -> Self: ...
    def __call__(self, batch: AnyArray, /) -> dict[str, NDArray[np.float32]]:
        """Runs the model on a batch as it is: an array of the input's own type and shape, [n, ...]. Returns its outputs by name; other
        types of numbers are converted to float32. What speaks DLPack, the buffer protocol or `__array__` will do, and is not
        copied where its elements lie one after the other."""
    def predict(self, batch: AnyArray, /) -> dict[str, NDArray[np.float32]]:
        """The same, for whoever takes any `vidmill.Predictor`."""
    def detect(self, images: Iterable[AnyArray | Frame], *, format: Literal["rgb", "bgr"] = "rgb") -> list[Detections]:
        """What is found in each image: uint8 [height, width, 3] in the order that `format` tells, [height, width] for grey, or a
        `Frame`, which knows its own; as NumPy's arrays, or as a batch may be. Images may differ in size; boxes are in pixels of
        each."""
    def find(self, images: Iterable[AnyArray | Frame], *, format: Literal["rgb", "bgr"] = "rgb") -> list[Found]:
        """Whatever the model finds in each image, which is given as to `detect`: detections, classes, masks, text, an embedding, or
        its outputs as they are (task="outputs")."""
    @property
    def path(self) -> Path:
        """The file."""
    @property
    def sha256(self) -> str:
        """Of the file, in hexadecimal."""
    @property
    def provider(self) -> str:
        """The execution provider that runs the model."""
    @property
    def task(self) -> str | None:
        """The family of models that was recognised; None where none was."""
    @property
    def names(self) -> dict[int, str]:
        """Class names by class number."""
    @property
    def keypoint_names(self) -> list[str]:
        """The names of its detections' keypoints, in their order; numbers where it has no names, empty where it gives none."""
    @property
    def info(self) -> dict[str, Any]:
        """What the model file says about itself: inputs, outputs, metadata."""
    @property
    def runtime(self) -> dict[str, Any]:
        """What really runs: the `runtime` of a manifest."""

@final
class Run:
    """A run that goes on in the background; see `vidmill.run`."""

    def __new__(cls, arguments: Sequence[str], writes: bool, bar: Bar | None = None) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Result: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[Result]: ...
    def stop(self) -> None:
        """Asks the run to stop: no more frames are taken, what is in flight is finished and still comes."""
    def close(self) -> None:
        """Stops the run if it is still going, and waits until all outputs are closed. Results that were not taken are left out;
        in the outputs they are."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> Awaitable[None]: ...
    @property
    def manifest(self) -> dict[str, Any]:
        """What ran, and the ledger (docs/RECORD.md); RuntimeError while the run is going."""
    @property
    def progress(self) -> dict[str, Any]:
        """How far the run has come: source, open (sources being read), decoded, settled, failed, expected."""

@final
class View:
    """Bytes of a batch or of a pool's arguments, to be read."""

    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Workers:
    """Worker processes that call Python; see `vidmill.Pool`."""

    def __new__(
        cls,
        start: bytes,
        *,
        workers: int,
        slots: int,
        item_bytes: int,
        result_bytes: int,
        timeout: float | None,
        retries: int,
        worker_memory: int | None,
        recycle: int | None,
        start_timeout: float,
    ) -> Self: ...
    def submit(
        self, number: int, pickle: bytes, buffers: Sequence[memoryview], wait: bool
    ) -> bool:
        """Hands over a call; False when there is no room and none is to be waited for."""
    def has_room(self) -> bool:
        """Whether another call could be handed over now."""
    def take(self) -> list[tuple[int, int | None, Any, list[NDArray[np.uint8]]]] | None:
        """Waits for answers: number, status, pickle, buffers; with the status None, the pickle is an exception. None at the end."""
    def close(self) -> None:
        """Ends the workers; what is not done fails."""
    def process_ids(self) -> list[int]:
        """Those that run now."""

def check_mask(height: int, width: int, counts: str) -> str: ...
def command(arguments: Sequence[str]) -> int: ...
def decode_mask(height: int, width: int, counts: str) -> NDArray[np.uint8]: ...
def encode_mask(pixels: NDArray[np.uint8]) -> str: ...
def mask_area(height: int, width: int, counts: str) -> int: ...
def need_memory(bytes: int) -> None: ...
def openvino_library() -> Path | None: ...
def runtime_library() -> Path | None: ...
def serve_pool(
    build: Callable[[bytes], Callable[[Any, list[Any]], tuple[int, bytes, list[memoryview]]]],
    refuse: Callable[[str, BaseException | None], tuple[int, bytes, list[memoryview]]],
) -> int: ...
def serve_worker() -> int: ...

def serve_predictor(build: Callable[[dict[str, Any]], Any]) -> int: ...

def shortest(numbers: NDArray[np.float32]) -> NDArray[np.float64]: ...
