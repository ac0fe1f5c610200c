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
from vidmill._classes import Classes, Regions
from vidmill._detections import Detections
from vidmill._found import Found
from vidmill._input import Input
from vidmill._masks import RLE, Masks, parts_of

Tensors = list[tuple[str, NDArray[np.float32]]]
Parts = dict[str, Any]
"""What was found, as the native side takes it: by the names of its own fields, what is there."""
Frame = str | Parts
Build = Callable[..., Any]

building: str | None = None
"""The file whose model is being made, while it is."""


def serve() -> int:
    """Serves until the supervisor lets this process go; returns its exit code."""
    return _vidmill.serve_predictor(Serving)


class PredictorError(Exception):
    """A predictor that cannot be used, in words that need no traceback."""


def describe(error: BaseException) -> str:
    """An exception with its traceback, without this package's own part of it; what it says comes first."""
    if isinstance(error, PredictorError | _vidmill.Error):
        return str(error)
    lines = [line.rstrip() for line in traceback.format_exception_only(error)]
    # A syntax error's place comes before what it says, notes come after.
    at = next((n for n, line in enumerate(lines) if line.startswith(type(error).__name__)), len(lines) - 1)
    summary = [lines[at], *lines[:at], *lines[at + 1 :]]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        summary.append(f"caused by {traceback.format_exception_only(cause)[-1].strip()}")
    frames = traceback.extract_tb(error.__traceback__)
    own = str(Path(__file__).parent) + os.sep
    while frames and (frames[0].filename.startswith(own) or frames[0].filename.startswith("<frozen importlib")):
        del frames[0]
    if frames:
        summary += ["Traceback (most recent call last):", "".join(traceback.format_list(frames)).rstrip()]
    return "\n".join(summary)


class Serving:
    """A predictor that is being served."""

    def __init__(self, order: dict[str, Any]) -> None:
        global building
        self.load, self.file = order["load"], Path(order["file"])
        with self.file.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = self.file.name if order["class"] is None else f"{self.file.name}:{order['class']}"
        building = str(self.file)
        try:
            build = _torch_builder(self.file) if order["class"] is None else _find(self.file, order["class"])
            predictor = build(**_choices(build, self.load, name))
        finally:
            building = None
        self.call: Callable[[NDArray[Any]], Any] = getattr(predictor, "predict", None) or predictor
        if not callable(self.call):
            raise PredictorError(f"{name} has no method predict(self, batch)")
        own_input = getattr(predictor, "input", None)
        self.input = Input() if own_input is None else own_input
        if not isinstance(self.input, Input):
            raise PredictorError(f"{name}: `input` is a vidmill.Input, not a {type(self.input).__name__}")
        self.predictor = predictor
        # What vidmill's own classes know beside that.
        self.file_metadata: Mapping[str, str] | None = getattr(predictor, "_vidmill_metadata", None)
        card = self.load["cards"]["card"] or {"entries": {}}
        asked = order["task"]["task"] or card["entries"].get("vidmill.task")
        self.task = asked if asked not in (None, "detect") else getattr(predictor, "task", None)
        self.gives_tensors = self.task not in (None, "outputs") or self.file_metadata is not None
        self.shape: tuple[int, ...] = ()

    def description(self) -> str:
        """What it is, as JSON (vidmill_infer::Description)."""
        metadata = self.input.metadata() if self.file_metadata is None else dict(self.file_metadata)
        if self.task is not None or not self.gives_tensors:
            metadata["vidmill.task"] = str(self.task or "outputs")
        names = getattr(self.predictor, "names", None)
        if names is not None:
            entries = names if isinstance(names, Mapping) else dict(enumerate(names))
            metadata["vidmill.names"] = json.dumps({str(key): str(name) for key, name in entries.items()})
        element = {"float32": "f32", "float16": "f16", "uint8": "u8"}[self.input.dtype]
        info = {
            "path": str(self.file),
            "sha256": self.sha256,
            "producer": "",
            "opset": None,
            "inputs": [{"name": "batch", "element": element, "shape": self.input.shape()}],
            "outputs": [],
            "metadata": metadata,
            "operators": {},
            "weights": None,
        }
        runtime = {
            "name": "python",
            "version": platform.python_version(),
            "library": sys.executable,
            "available": [],
            "device_asked": self.load["device"],
            "provider": "python",
            "nodes": {},
            "precision": "unknown",
            "fallback": None,
        }
        return json.dumps({"info": info, "runtime": runtime | getattr(self.predictor, "_vidmill_runtime", {})})

    def try_out(self, shape: list[int]) -> str:
        """Its outputs for a batch of this shape, as JSON (a list of vidmill_infer::TensorInfo); batches will have this shape but for
        their number of frames."""
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

    def predict(self, view: Any, frames: int, batch: int) -> tuple[bool, Tensors | list[Frame]]:
        """What comes of the frames whose bytes `view` looks at: True and all outputs; or False and each frame's parts, or why it has
        none."""
        given = np.frombuffer(view, self.input.dtype).reshape(frames, *self.shape)
        if batch > frames:
            given = np.concatenate([given, np.zeros((batch - frames, *self.shape), given.dtype)])
        result = self.call(given)
        if self.gives_tensors:
            return True, self._tensors(result)
        return False, [_parts(item) for item in _split(result, frames, batch)]

    def _tensors(self, result: Any) -> Tensors:
        """Outputs that vidmill is to decode, by name."""
        if isinstance(result, Mapping):
            named = list(result.items())
        else:
            outputs = list(result) if isinstance(result, list | tuple) else [result]
            names = getattr(self.predictor, "output_names", None) or [f"output{n}" for n in range(len(outputs))]
            if len(names) != len(outputs):
                raise PredictorError(f"predict returned {len(outputs)} outputs, and output_names has {len(names)}")
            named = list(zip(names, outputs, strict=True))
        return [(str(name), np.ascontiguousarray(_array(value), np.float32)) for name, value in named]


def _find(file: Path, name: str) -> Build:
    """The class `name` of a file, which is imported as what it is: a module by itself, or one of a package."""
    module = _import(file)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            classes = [key for key, value in vars(module).items() if hasattr(value, "predict")]
            remedy = f"; name one of: {', '.join(classes)}" if classes else ""
            raise PredictorError(f"{file.name} has no {name}{remedy}")
        found = getattr(found, part)
    if not callable(found):
        raise PredictorError(f"{name} of {file.name} is no class: it cannot be called to make a predictor")
    return found  # type: ignore[no-any-return]


def _import(file: Path) -> ModuleType:
    folder, parts = file.parent, [file.stem]
    while (folder / "__init__.py").exists() and folder.name.isidentifier():
        folder, parts = folder.parent, [folder.name, *parts]
    sys.path.insert(0, str(folder))
    if len(parts) > 1 and parts[0] not in sys.stdlib_module_names:
        return importlib.import_module(".".join(parts))
    # By its path, for its name may be that of another module; under which pickle then does not find it.
    name = f"{file.stem}_predictor" if file.stem in sys.modules else file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PredictorError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _torch_builder(file: Path) -> Build:
    try:
        from vidmill import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise PredictorError(f"{error}; this Python is {sys.executable}") from None
    return torch.builder(file)


def _choices(build: Build, load: dict[str, Any], model: str) -> dict[str, Any]:
    """What of the user's choices goes to the class: those that its `__init__` has parameters for."""
    parameters: Mapping[str, inspect.Parameter]
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
        value = value.detach().cpu()
        # NumPy has no bfloat16.
        value = (value.float() if value.is_floating_point() and value.itemsize < 4 else value).numpy()
    return np.asarray(value)


def _split(result: Any, frames: int, batch: int) -> list[Any]:
    """One result for each frame."""
    if result is None or _is_of_one(result) or not hasattr(result, "__len__"):
        kind = "None" if result is None else f"a {type(result).__name__}"
        raise PredictorError(
            f"predict returned {kind}: return a list or an array with one result for each of the {frames} frames of the batch"
        )
    if isinstance(result, Mapping):
        if not result:
            raise PredictorError("predict returned an empty dict: return one result for each frame")
        columns = {name: _split(column, frames, batch) for name, column in result.items()}
        return [{name: column[n] for name, column in columns.items()} for n in range(frames)]
    if len(result) not in (frames, batch):
        raise PredictorError(f"predict returned {len(result)} results for {frames} frames")
    return [result[n] for n in range(frames)]


def _is_of_one(result: Any) -> bool:
    """Whether it is one frame's, and not a batch's."""
    return isinstance(result, str | bytes | tuple | Classes | Regions) or _is_detections(result)


def _parts(item: Any) -> Frame:
    """A frame's result in the parts that the native side takes, or why there is none."""
    try:
        if isinstance(item, Found):
            parts = _found_parts(item)
        elif isinstance(item, Classes):
            parts = _found_parts(Found(classes=item))
        elif isinstance(item, Regions):
            parts = _found_parts(Found(masks=item))
        elif _is_detections(item):
            parts = _found_parts(Found(detections=item))
        elif _is_detections_and_more(item):
            parts = _found_parts(Found(detections=item[0], outputs=item[1]))
        else:
            parts = _found_parts(Found(outputs=item))
        if not parts or parts == {"outputs": "null"}:
            raise PredictorError("predict returned None for a frame: return vidmill.Detections, or any JSON value")
        return parts
    except PredictorError as error:
        return str(error)


def _is_detections_and_more(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and _is_detections(item[0])


def _found_parts(found: Found) -> Parts:
    parts: Parts = {}
    if found.detections is not None:
        parts["detections"] = _detection_parts(found.detections)
    if found.classes is not None:
        classes = found.classes
        sure = np.ascontiguousarray(classes.confidence, np.float32)
        parts["classes"] = classes.class_id.tolist(), sure, _own_names(classes.class_id, classes.class_name)
    if found.masks is not None:
        regions = found.masks
        masks = [_mask_parts(mask) for mask in regions.masks.rle]
        parts["regions"] = regions.class_id.tolist(), masks, _own_names(regions.class_id, regions.class_name)
    if found.text is not None:
        parts["text"] = str(found.text), 1.0 if found.text_confidence is None else float(found.text_confidence)
    if found.embedding is not None:
        vector = np.ascontiguousarray(_array(found.embedding), np.float32)
        if vector.ndim != 1:
            raise PredictorError(f"embedding has shape {list(vector.shape)}: that of one frame is [d]")
        parts["embedding"] = vector
    if found.outputs is not None:
        parts["outputs"] = _json(found.outputs)
    return parts


def _mask_parts(mask: RLE | None) -> tuple[int, int, str] | None:
    return None if mask is None else parts_of(mask)


def _own_names(class_id: NDArray[Any], names: Any) -> list[str]:
    """The names, unless they are nothing but the numbers: then those of the model hold."""
    texts = [str(name) for name in names]
    return [] if texts == [str(number) for number in class_id.tolist()] else texts


def _is_detections(item: Any) -> bool:
    """vidmill's, supervision's, or whatever else has their fields."""
    return all(hasattr(item, name) for name in ("xyxy", "confidence", "class_id"))


def _detection_parts(found: Any) -> Parts:
    xyxy = np.ascontiguousarray(_array(found.xyxy), np.float32)
    if xyxy.size == 0:
        xyxy = xyxy.reshape(0, 4)
    if xyxy.ndim != 2 or xyxy.shape[1] != 4:
        raise PredictorError(f"xyxy of detections has shape {xyxy.shape}: [n, 4] is expected")
    count = len(xyxy)
    confidence = np.ones(count, np.float32) if found.confidence is None else _array(found.confidence)
    class_id = np.zeros(count, np.int64) if found.class_id is None else _array(found.class_id)
    if count and class_id.dtype.kind == "f" and not np.array_equal(class_id, np.floor(class_id)):
        raise PredictorError("class_id of detections holds numbers that are not whole")
    names = getattr(found, "class_name", None)
    if names is None and isinstance(getattr(found, "data", None), Mapping):
        names = found.data.get("class_name")
    names = [] if names is None else names
    if isinstance(names, str) or len(names) not in (0, count):
        raise PredictorError(f"class_name of detections: a list with one name for each of {count} boxes is expected")
    for name, column in (("confidence", confidence), ("class_id", class_id)):
        if column.shape != (count,):
            raise PredictorError(f"detections of different lengths: {count} boxes, and {name} of shape {column.shape}")
    class_id = class_id.astype(np.int64)
    parts: Parts = {
        "xyxy": xyxy,
        "confidence": np.ascontiguousarray(confidence, np.float32),
        "class_id": np.ascontiguousarray(class_id),
        "names": _own_names(class_id, names),
    }
    return parts | (_further_parts(found) if isinstance(found, Detections) else _supervision_parts(found))


def _further_parts(found: Detections) -> Parts:
    """What else detections may have. What a cascade's next model would find in each is a `Found` for each."""
    _refuse_tracks(found.track_id)
    parts: Parts = {}
    for name in ("corners", "keypoints"):
        if (points := getattr(found, name)) is not None:
            parts[name] = np.ascontiguousarray(points)
    if found.masks is not None:
        parts["masks"] = [_mask_parts(mask) for mask in found.masks.rle]
    inner = {
        "detections": found.detections,
        "classes": found.classes,
        "masks": found.regions,
        "text": found.text,
        "text_confidence": found.text_confidence,
        "embedding": found.embedding,
        "outputs": found.outputs,
    }
    columns = {name: column for name, column in inner.items() if column is not None}
    if columns:
        parts["inside"] = [_inside(columns, row) for row in range(len(found))]
    return parts


def _inside(columns: dict[str, Any], row: int) -> Parts | None:
    fields = {name: column[row] for name, column in columns.items()}
    if "embedding" in fields:
        vector = fields["embedding"]
        fields["embedding"] = vector[~np.isnan(vector)] if not np.isnan(vector).all() else None
    if "text_confidence" in fields and np.isnan(fields["text_confidence"]):
        fields["text_confidence"] = None
    return _found_parts(Found(**fields)) or None


def _supervision_parts(found: Any) -> Parts:
    """The fields that supervision's detections may have beside those."""
    _refuse_tracks(getattr(found, "tracker_id", None))
    parts: Parts = {}
    masks = getattr(found, "mask", None)
    if masks is not None:
        try:
            made = Masks(_array(masks))
        except (TypeError, ValueError) as error:
            raise PredictorError(str(error)) from None
        parts["masks"] = [_mask_parts(mask) for mask in made.rle]
    data = getattr(found, "data", None)
    if isinstance(data, Mapping) and data.get("xyxyxyxy") is not None:
        parts["corners"] = np.ascontiguousarray(_array(data["xyxyxyxy"]), np.float32).reshape(-1, 4, 2)
    return parts


def _refuse_tracks(track_id: Any) -> None:
    if track_id is not None:
        raise PredictorError(
            "detections have track_id: a predictor cannot tell it, for frames go to several workers in any order; leave it out"
        )


def _json(value: Any) -> str:
    try:
        try:
            text = _dump(value)
        except TypeError as error:
            if "keys must be" not in str(error):
                raise
            text = _dump(_with_plain_keys(value))
        text.encode()
    except UnicodeEncodeError:
        return _dump(value, ensure_ascii=True)
    except (ValueError, TypeError, RecursionError) as error:
        raise PredictorError(f"the result of a frame cannot be written as JSON: {error}") from None
    return text


def _dump(value: Any, ensure_ascii: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":"), default=_plain)


def _with_plain_keys(value: Any) -> Any:
    """The same with numbers of NumPy's as ordinary ones where they are keys."""
    if isinstance(value, Mapping):
        return {
            (key.item() if isinstance(key, np.generic) else key): _with_plain_keys(item) for key, item in value.items()
        }
    return [_with_plain_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """What JSON has a word for."""
    if isinstance(value, Detections | Classes | Regions):
        return value.to_dicts()
    if isinstance(value, Found):
        return value.to_dict()
    if isinstance(value, Masks):
        return value.rle
    if hasattr(value, "detach") or isinstance(value, np.ndarray | np.generic):
        array = _array(value)
        if array.dtype in (np.float32, np.float16):
            flat = np.ascontiguousarray(array, np.float32).reshape(-1)
            return _vidmill.shortest(flat).reshape(array.shape).tolist()
        return (array.astype(np.float64) if array.dtype.kind == "f" else array).tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"it holds a {type(value).__name__}; return Detections, arrays, numbers, text, lists or dicts")
