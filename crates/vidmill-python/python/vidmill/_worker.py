"""What a worker process runs whose model runs in Python: a class of the user's, or a model of PyTorch's."""

import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidmill import _vidmill
from vidmill._input import Input

_TORCH = (".pt", ".pth", ".pt2", ".torchscript")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Tensors = list[tuple[str, NDArray[np.float32]]]
Frame = str | tuple[Any, str | None]


def serve() -> int:
    """Serves until the supervisor lets this process go; returns its exit code."""
    return _vidmill.serve_predictor(Serving)


class PredictorError(Exception):
    """A predictor that cannot be used, in words that need no traceback."""


def describe(error: BaseException) -> str:
    """An exception with its traceback, without this package's own part of it; its last line comes first."""
    if isinstance(error, PredictorError | _vidmill.Error):
        return str(error)
    lines = [line.rstrip() for line in traceback.format_exception_only(error)]
    # A syntax error tells its place before.
    summary = "\n".join([lines[-1], *lines[:-1]])
    frames = traceback.extract_tb(error.__traceback__)
    own = str(Path(__file__).parent)
    while frames and (frames[0].filename.startswith(own) or frames[0].filename.startswith("<frozen importlib")):
        del frames[0]
    if not frames:
        return summary
    return f"{summary}\nTraceback (most recent call last):\n{''.join(traceback.format_list(frames))}".rstrip()


class Serving:
    """A predictor that is being served."""

    def __init__(self, order: dict[str, Any]) -> None:
        load = order["load"]
        # Several workers share the cores; whoever wants more says so in the environment.
        for name in _THREADS:
            os.environ.setdefault(name, str(load["threads"] or 1))
        file, _, name = order["model"].rpartition(":")
        if Path(order["model"]).suffix.lower() in _TORCH:
            file, build = order["model"], _torch_builder(order["model"])
        else:
            build = _find(Path(file), name)
        self.file = Path(file)
        self.load = load
        predictor = build(**_choices(build, load, order["model"]))
        self.call: Callable[[NDArray[Any]], Any] = getattr(predictor, "predict", None) or predictor
        if not callable(self.call):
            raise PredictorError(f"{order['model']} has no method predict(self, batch)")
        self.input = getattr(predictor, "input", None) or Input()
        if not isinstance(self.input, Input):
            raise PredictorError(f"{order['model']}: `input` is a vidmill.Input, not {self.input!r}")
        self.predictor = predictor
        asked = order["task"]["task"]
        self.task = asked if asked not in (None, "detect") else getattr(predictor, "task", None)
        self.gives_tensors = self.task not in (None, "outputs") or hasattr(predictor, "metadata")
        self.shape: tuple[int, ...] = ()

    def description(self) -> str:
        """What it is, as JSON (vidmill_infer::Description)."""
        predictor = self.predictor
        metadata = getattr(predictor, "metadata", None)
        metadata = self.input.metadata() if metadata is None else dict(metadata)
        if self.task is not None or not self.gives_tensors:
            metadata["vidmill.task"] = self.task or "outputs"
        names = getattr(predictor, "names", None)
        if names is not None:
            entries = names if isinstance(names, Mapping) else dict(enumerate(names))
            metadata["vidmill.names"] = json.dumps({str(key): str(name) for key, name in entries.items()})
        element = {"float32": "f32", "float16": "f16", "uint8": "u8"}[self.input.dtype]
        runtime = getattr(predictor, "runtime", None) or ("python", platform.python_version())
        info = {
            "path": str(self.file),
            "sha256": hashlib.sha256(self.file.read_bytes()).hexdigest(),
            "producer": "",
            "opset": None,
            "inputs": [{"name": "batch", "element": element, "shape": self.input.shape()}],
            "outputs": [],
            "metadata": metadata,
            "operators": {},
            "weights": None,
        }
        device = self.load["device"]
        told = {
            "name": runtime[0],
            "version": runtime[1],
            "library": sys.executable,
            "available": [],
            "device_asked": device,
            "provider": str(getattr(predictor, "provider", None) or _asked_device(device) or "python"),
            "nodes": {},
            "precision": str(getattr(predictor, "precision", None) or "unknown"),
            "fallback": getattr(predictor, "fallback", None),
        }
        return json.dumps({"info": info, "runtime": told})

    def try_out(self, shape: list[int]) -> str:
        """Its outputs for a batch of this shape, as JSON (a list of vidmill_infer::TensorInfo)."""
        self.shape = tuple(shape[1:])
        if not self.gives_tensors:
            return "[]"
        outputs = []
        for name, tensor in self._tensors(self.call(np.zeros(shape, self.input.dtype))):
            dims: list[int | str] = list(tensor.shape)
            if self.input.batch is None and dims and dims[0] == shape[0]:
                dims[0] = "batch"
            outputs.append({"name": name, "element": "f32", "shape": dims})
        return json.dumps(outputs)

    def predict(self, view: Any, frames: int, batch: int) -> Tensors | list[Frame]:
        """What comes of the frames whose bytes `view` looks at: all outputs; or of each frame its parts, or why it failed."""
        given = np.frombuffer(view, self.input.dtype).reshape(frames, *self.shape)
        if batch > frames:
            given = np.concatenate([given, np.zeros((batch - frames, *self.shape), given.dtype)])
        result = self.call(given)
        if self.gives_tensors:
            return self._tensors(result)
        tensors = _float_tensors(result, batch)
        return tensors if tensors is not None else [_parts(item) for item in _split(result, frames, batch)]

    def _tensors(self, result: Any) -> Tensors:
        """Outputs that vidmill is to decode, by name."""
        if isinstance(result, Mapping):
            named = list(result.items())
        else:
            outputs = list(result) if isinstance(result, list | tuple) else [result]
            names = list(getattr(self.predictor, "output_names", [])) or [f"output{n}" for n in range(len(outputs))]
            if len(names) != len(outputs):
                raise PredictorError(f"it gave {len(outputs)} outputs, and output_names has {len(names)}")
            named = list(zip(names, outputs, strict=True))
        return [(str(name), np.ascontiguousarray(_array(value), np.float32)) for name, value in named]


def _find(file: Path, name: str) -> Callable[..., Any]:
    """The class `name` of a file, which is imported as what it is: a module by itself, or one of a package."""
    module = _import(file)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            classes = [key for key, value in vars(module).items() if hasattr(value, "predict")]
            remedy = f"; name one of: {', '.join(classes)}" if classes else ""
            raise PredictorError(f"{file} has no {name}{remedy}")
        found = getattr(found, part)
    if not callable(found):
        raise PredictorError(f"{name} of {file} is no class: it cannot be called to make a predictor")
    return found  # type: ignore[no-any-return]


def _import(file: Path) -> ModuleType:
    folder, parts = file.resolve().parent, [file.stem]
    while (folder / "__init__.py").exists():
        folder, parts = folder.parent, [folder.name, *parts]
    sys.path.insert(0, str(folder))
    name = ".".join(parts)
    if len(parts) > 1:
        return importlib.import_module(name)
    # By its path, for its name may be that of another module; under which pickle then does not find it.
    name = f"{name}_predictor" if name in sys.modules else name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PredictorError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _torch_builder(file: str) -> Callable[..., Any]:
    try:
        from vidmill import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise PredictorError(f"{error}; this Python is {sys.executable}") from None
    return torch.builder(file)


def _asked_device(device: str) -> str | None:
    """The device that was asked for, if one was."""
    return None if device in ("auto", "cpu") else device


def _choices(build: Callable[..., Any], load: dict[str, Any], model: str) -> dict[str, Any]:
    """What of the user's choices goes to the class: those that its `__init__` has parameters for."""
    try:
        parameters = inspect.signature(build).parameters
    except ValueError:  # a class that is not written in Python and does not tell
        parameters = {}
    usual = {"device": ("auto", "cpu"), "precision": ("auto", "f32"), "threads": (0, 1)}
    chosen = {}
    for name, defaults in usual.items():
        if name in parameters:
            if load[name] != defaults[0] or parameters[name].default is inspect.Parameter.empty:
                chosen[name] = load[name]
        elif name != "threads" and load[name] not in defaults:
            raise PredictorError(
                f"{name} {load[name]} cannot be used: {model} does not choose its {name}; "
                f"give its __init__ a parameter `{name}`, or leave --{name} out"
            )
    return chosen


def _array(value: Any) -> NDArray[Any]:
    """A NumPy array, of whatever is like one."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _float_tensors(result: Any, batch: int) -> Tensors | None:
    """What are arrays of floats for the whole batch: these need not go through JSON here."""
    named = result.items() if isinstance(result, Mapping) else [("output0", result)]
    tensors = []
    for name, value in named:
        if not (isinstance(value, np.ndarray) or hasattr(value, "detach")):
            return None
        array = _array(value)
        if array.dtype not in (np.float32, np.float16) or array.shape[:1] != (batch,):
            return None
        tensors.append((str(name), np.ascontiguousarray(array, np.float32)))
    return tensors


def _split(result: Any, frames: int, batch: int) -> list[Any]:
    """One result for each frame."""
    if result is None:
        raise PredictorError(f"predict returned None: return one result for each of the {frames} frames of the batch")
    if isinstance(result, Mapping):
        columns = {name: _split(column, frames, batch) for name, column in result.items()}
        return [{name: column[n] for name, column in columns.items()} for n in range(frames)]
    if not hasattr(result, "__len__") or isinstance(result, str | bytes):
        raise PredictorError(
            f"predict returned {type(result).__name__}: return a list or array with one result for each frame"
        )
    if len(result) not in (frames, batch):
        raise PredictorError(f"predict returned {len(result)} results for {frames} frames")
    return [result[n] for n in range(frames)]


def _parts(item: Any) -> Frame:
    """A frame's result in the parts that the native side takes, or why there is none."""
    try:
        detections, outputs = item, None
        if isinstance(item, tuple) and len(item) == 2 and _is_detections(item[0]):
            detections, outputs = item
        if not _is_detections(detections):
            detections, outputs = None, item
            if item is None:
                return "predict returned None for a frame: return vidmill.Detections, or any JSON value"
        text = None if outputs is None else _json(outputs)
        return (None if detections is None else _detection_parts(detections)), text
    except (PredictorError, TypeError, ValueError) as error:
        return str(error)


def _is_detections(item: Any) -> bool:
    """vidmill's, supervision's, or whatever else has their fields."""
    return all(hasattr(item, name) for name in ("xyxy", "confidence", "class_id"))


def _detection_parts(found: Any) -> tuple[Any, ...]:
    xyxy = np.ascontiguousarray(_array(found.xyxy), np.float32).reshape(-1, 4)
    count = len(xyxy)
    confidence = np.ones(count, np.float32) if found.confidence is None else found.confidence
    class_id = np.zeros(count, np.int64) if found.class_id is None else found.class_id
    confidence = np.ascontiguousarray(_array(confidence), np.float32)
    class_id = np.ascontiguousarray(_array(class_id), np.int64)
    if confidence.shape != (count,) or class_id.shape != (count,):
        raise PredictorError(
            f"detections of different lengths: {count} boxes, confidence {confidence.shape}, class_id {class_id.shape}"
        )
    if count and (class_id.min() < 0 or class_id.max() >= 2**32):
        raise PredictorError("class_id holds a number that is no class")
    names = getattr(found, "class_name", None)
    if names is None and isinstance(getattr(found, "data", None), Mapping):
        names = found.data.get("class_name")
    return xyxy, confidence, class_id, [] if names is None else [str(name) for name in names]


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError as error:
        raise PredictorError(f"the result of a frame cannot be written as JSON: {error}") from None


def _plain(value: Any) -> Any:
    """What JSON has a word for."""
    if _is_detections(value) and hasattr(value, "to_dicts"):
        return value.to_dicts()
    if hasattr(value, "detach") or isinstance(value, np.ndarray | np.generic):
        array = _array(value)
        # The shortest number that reads back the same, as everywhere in a record.
        return array.astype(str).astype(float).tolist() if array.dtype in (np.float32, np.float16) else array.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(
        f"a {type(value).__name__} in the result of a frame cannot be written as JSON: "
        "return Detections, arrays, numbers, text, lists or dicts"
    )
