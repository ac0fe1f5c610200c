"""Models of PyTorch's as predictors: TorchScript, and programs exported by torch.export. Needs torch (`pip install vidmill[torch]`).

    model = vidmill.torch.TorchScript("yolov8n.torchscript", device="cpu")
    model.predict(batch)                       # {"output0": float32 [n, 84, 8400]}
    vidmill.run("street.mp4", "model.pt2")     # the same in worker processes, each with the model loaded once

They are loaded once, in evaluation mode, and run under torch.inference_mode: no gradient is ever kept. On a CPU the model reads the
batch where it lies; on CUDA it goes through one pinned buffer and one stream, which are reused.
"""

import functools
import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidmill._input import Input
from vidmill._types import StrPath
from vidmill._vidmill import ModelError

try:
    import torch
except ModuleNotFoundError as _error:
    if _error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "PyTorch is not installed, which this model needs: pip install 'vidmill[torch]'", name="torch"
    ) from None

__all__ = ["ExportedProgram", "TorchScript"]

with warnings.catch_warnings():
    # PyTorch warns once that a batch cannot be written to; which is right, and of use to nobody.
    warnings.simplefilter("ignore")
    torch.from_numpy(np.frombuffer(bytes(1), np.uint8))

_PRECISIONS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# What is beside the weights: Ultralytics' exporter calls it so, and whoever writes vidmill's keys may call it otherwise.
_METADATA_FILES = ("config.txt", "vidmill.json")


class _Module:
    """A module on its device."""

    path: Path
    input: Input
    device: str
    """The device that runs it: "cpu" or "cuda:N"."""
    fallback: str | None
    """Why that is no better one, where "auto" chose it."""
    precision: str
    """Of weights and inputs: "f32", "f16" or "bf16"."""
    _vidmill_metadata: dict[str, str]

    def __init__(self, path: StrPath, device: str, precision: str, threads: int) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f"there is no model {self.path}")
        self._device, self.fallback = _device(device)
        self.device = str(self._device)
        if precision not in ("auto", *_PRECISIONS):
            raise ValueError(f'precision "{precision}" is unknown; choose one of: auto, f32, f16, bf16')
        self.precision = "f32" if precision == "auto" else precision
        self._dtype = _PRECISIONS[self.precision]
        if threads > 0:
            torch.set_num_threads(threads)
        self._staging = _Staging(self._device) if self._device.type == "cuda" else None

    def predict(self, batch: NDArray[Any], /) -> dict[str, NDArray[Any]]:
        """Outputs by name, "output0" and so on where the model gives them none; float32 but for integers. `batch` is [n, ...]."""
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(batch))
            if self._staging is not None:
                return self._staging.run(given, self._run)
            return {name: _to_numpy(value) for name, value in self._run(given).items()}

    __call__ = predict

    @property
    def _vidmill_runtime(self) -> dict[str, Any]:
        """What really runs, for the manifest."""
        told = {"name": "torch", "version": torch.__version__, "provider": self.device}
        return told | {"precision": self.precision, "fallback": self.fallback}

    def _run(self, given: torch.Tensor) -> dict[str, torch.Tensor]:
        if given.is_floating_point() and given.dtype != self._dtype:
            given = given.to(self._dtype)
        return _named(self._module(given))

    _module: Callable[[torch.Tensor], Any]


class TorchScript(_Module):
    """A TorchScript archive (`torch.jit.script` or `torch.jit.trace`, then `.save`), loaded once, in evaluation mode.

    Args:
        path: The file.
        device: auto, cpu, cuda or cuda:N: that one, or it fails; only "auto" may choose.
        precision: auto or f32, f16, bf16: of weights and inputs.
        threads: PyTorch's own threads in this process; 0 leaves them as they are.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: It is no TorchScript archive, or the device cannot be used.
    """

    def __init__(
        self, path: StrPath, *, device: str = "auto", precision: str = "auto", threads: int = 0
    ) -> None:
        super().__init__(path, device, precision, threads)
        extra: dict[str, Any] = dict.fromkeys(_METADATA_FILES, "")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                module = torch.jit.load(os.fspath(self.path), map_location=self._device, _extra_files=extra)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{self.path} is no TorchScript archive ({_first_line(error)}); a checkpoint of weights has to be exported first: "
                "torch.jit.trace(model.eval(), example).save(path), or `yolo export format=torchscript`"
            ) from error
        module.eval()
        self._module = module if self.precision == "f32" else module.to(self._dtype)
        self._vidmill_metadata = _metadata(self.path, extra)
        self.input: Input = _declared(self._vidmill_metadata)


class ExportedProgram(_Module):
    """A program of torch.export (`torch.export.save`), loaded once.

    What it does in training it was exported with, so one that was exported in training mode is refused.

    Args:
        path: The file.
        device: auto, cpu, cuda or cuda:N: that one, or it fails; only "auto" may choose.
        threads: PyTorch's own threads in this process; 0 leaves them as they are.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: It is no exported program, it was exported in training mode, or the device cannot be used.
    """

    def __init__(self, path: StrPath, *, device: str = "auto", threads: int = 0) -> None:
        super().__init__(path, device, "auto", threads)
        if not hasattr(torch, "export") or not hasattr(torch.export, "load"):
            raise ModelError(f"torch {torch.__version__} cannot load exported programs: install 2.4 or newer")
        extra: dict[str, Any] = dict.fromkeys(_METADATA_FILES, "")
        try:
            # What it says in its log is in its exception, too.
            logging.getLogger("torch.export").setLevel(logging.CRITICAL)
            program = torch.export.load(self.path, extra_files=extra)
        except Exception as error:  # whatever its reader stumbles over
            raise ModelError(f"{self.path} is no program of torch.export: {_first_line(error)}") from error
        if (what := _trains(program)) is not None:
            raise ModelError(
                f"{self.path} was exported in training mode (it has a {what} that trains): export model.eval()"
            )
        module = program.module()
        self._module = module.to(self._device) if self._device.type != "cpu" else module
        self._vidmill_metadata = _metadata(self.path, extra)
        self.input: Input = _of_program(self.path, program)


def builder(path: Path) -> Callable[..., TorchScript | ExportedProgram]:
    """What loads the file, as its name's ending tells."""
    kind = ExportedProgram if path.suffix.lower() == ".pt2" else TorchScript
    return functools.partial(kind, path)


class _Staging:
    """The way to a GPU and back: pinned memory, memory on the device, and a stream, all of them used again and again."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.buffers: dict[tuple[str, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}

    def run(
        self, given: torch.Tensor, model: Callable[[torch.Tensor], dict[str, torch.Tensor]]
    ) -> dict[str, NDArray[Any]]:
        with torch.cuda.stream(self.stream):
            pinned, on_device = self._pair("batch", given)
            pinned.copy_(given)
            on_device.copy_(pinned, non_blocking=True)
            outputs = model(on_device)
            back = {}
            for name, value in outputs.items():
                value = value.float() if value.is_floating_point() else value
                pinned, _ = self._pair(name, value)
                pinned.copy_(value, non_blocking=True)
                back[name] = pinned
        self.stream.synchronize()
        # The pinned memory is the next batch's.
        return {name: value.numpy().copy() for name, value in back.items()}

    def _pair(self, name: str, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Memory here and there for a tensor of this type and shape; as large as the largest so far."""
        key, count = (name, like.dtype), like.numel()
        pair = self.buffers.get(key)
        if pair is None or pair[0].numel() < count:
            pinned = torch.empty(count, dtype=like.dtype, pin_memory=True)
            # What comes from the device has its place there already.
            pair = (pinned, torch.empty(count if name == "batch" else 0, dtype=like.dtype, device=self.device))
            self.buffers[key] = pair
        pinned, on_device = pair
        there = on_device[:count].view(like.shape) if on_device.numel() >= count else on_device
        return pinned[:count].view(like.shape), there


def _device(asked: str) -> tuple[torch.device, str | None]:
    """The device to use, and why it is no better one."""
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0"), None
        return torch.device("cpu"), "PyTorch finds no CUDA device"
    if asked == "cpu":
        return torch.device("cpu"), None
    kind, _, number = asked.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise ModelError(f"device {asked} cannot be used: PyTorch runs on cpu, cuda or cuda:N; choose one of these")
    if not torch.cuda.is_available():
        raise ModelError(
            f"device {asked} cannot be used: torch {torch.__version__} finds no CUDA device; "
            "check nvidia-smi, or choose cpu"
        )
    if int(number or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {asked} cannot be used: there are {torch.cuda.device_count()}, from cuda:0 on")
    return torch.device(f"cuda:{number or 0}"), None


def _named(outputs: Any) -> dict[str, torch.Tensor]:
    """Outputs by name, however deep they are nested."""
    if isinstance(outputs, Mapping):
        named = {
            (str(key) if len(parts) == 1 else f"{key}.{name}"): tensor
            for key, value in outputs.items()
            for parts in [_named(value)]
            for name, tensor in parts.items()
        }
        return named
    flat: list[torch.Tensor] = []
    _flatten(outputs, flat)
    return {f"output{number}": tensor for number, tensor in enumerate(flat)}


def _flatten(outputs: Any, flat: list[torch.Tensor]) -> None:
    if isinstance(outputs, torch.Tensor):
        flat.append(outputs)
    elif isinstance(outputs, list | tuple):
        for part in outputs:
            _flatten(part, flat)
    elif isinstance(outputs, Mapping):
        for part in outputs.values():
            _flatten(part, flat)
    else:
        raise TypeError(f"the model gave a {type(outputs).__name__}: tensors, lists, tuples and dicts of them are expected")


def _to_numpy(value: torch.Tensor) -> NDArray[Any]:
    value = value.float() if value.is_floating_point() else value
    return value.numpy()  # type: ignore[no-any-return]


def _metadata(path: Path, extra: Mapping[str, Any]) -> dict[str, str]:
    """The entries beside the weights."""
    found: dict[str, str] = {}
    for name, text in extra.items():
        if not text:
            continue
        try:
            entries = json.loads(text)
            found |= {str(key): value if isinstance(value, str) else repr(value) for key, value in entries.items()}
        except (ValueError, AttributeError) as error:
            raise ModelError(f"{name} in {path} is no JSON object: {_first_line(error)}") from error
    return found


def _declared(metadata: Mapping[str, str]) -> Input:
    """The input that Ultralytics' exporter traced: fixed, unless it says otherwise."""
    try:
        height, width = json.loads(metadata["imgsz"])
        if "'dynamic': True" in metadata.get("args", ""):
            return Input()
        return Input(size=(width, height), batch=int(metadata.get("batch", 1)))
    except (KeyError, ValueError, TypeError):
        return Input()


def _of_program(path: Path, program: Any) -> Input:
    """The input of an exported program, as its graph has it."""
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.name in names]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].dim() != 4:
        raise ModelError(f"{path} has {len(values)} inputs: one batch of images, [n, 3, height, width], is expected")
    [value] = values
    dims = [dim if isinstance(dim, int) else None for dim in value.shape]
    is_last = dims[1] not in (1, 3) and dims[3] in (1, 3)
    batch, height, width = (dims[0], dims[1], dims[2]) if is_last else (dims[0], dims[2], dims[3])
    dtype = {torch.float32: "float32", torch.float16: "float16", torch.uint8: "uint8"}.get(value.dtype)
    if dtype is None:
        raise ModelError(f"{path} takes {value.dtype}: float32, float16 or uint8 is expected")
    return Input(
        size=None if width is None or height is None else (width, height),
        batch=batch,
        dtype=dtype,  # type: ignore[arg-type]
        layout="nhwc" if is_last else "nchw",
        color="gray" if 1 in (dims[3] if is_last else dims[1],) else "rgb",
    )


def _trains(program: Any) -> str | None:
    """The first operator of the graph that does in training what it does not do otherwise."""
    places = {"dropout": 2, "native_dropout": 2, "batch_norm": 5, "_native_batch_norm_legit": 5}
    for node in program.graph.nodes:
        name = str(node.target).removeprefix("aten.").split(".")[0] if node.op == "call_function" else ""
        place = places.get(name)
        if place is not None and len(node.args) > place and node.args[place] is True:
            return name
        if name == "_native_batch_norm_legit_functional":
            return "batch_norm"
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
