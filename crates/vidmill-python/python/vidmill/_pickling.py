"""Objects as bytes that other processes can make them of: arrays' memory apart from the rest, so that it is copied once."""

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any

Packed = tuple[bytes, list[memoryview]]
"""A pickle, and the buffers that belong to it."""

_CANNOT = (pickle.PicklingError, AttributeError, TypeError)
"""What pickle raises for what it cannot do."""


class OnDevice(TypeError):
    """A tensor in a device's memory, which belongs to one process."""


def pack(value: object, *, by_value: bool = False) -> Packed:
    """Pickles anything; what pickle cannot do is left to cloudpickle, if that is installed.

    With `by_value`, cloudpickle comes first: it takes along what `__main__` defines, for processes that cannot import it.
    """
    buffers: list[pickle.PickleBuffer] = []
    keep = buffers.append
    cloud = _cloudpickle() if by_value else None
    if cloud is not None:
        _refuse_devices(value)
        pickled = cloud(value, protocol=5, buffer_callback=keep)
    else:
        try:
            pickled = _dumps(value, keep)
        except OnDevice:
            raise
        except _CANNOT as error:
            buffers.clear()
            cloud = _cloudpickle()
            if cloud is None:
                error.add_note(
                    "hint: pip install cloudpickle to send lambdas, local functions and what a notebook defines to "
                    "workers, or define it at the top of a module"
                )
                raise
            pickled = cloud(value, protocol=5, buffer_callback=keep)
    return pickled, [buffer.raw() for buffer in buffers]


def has_cloudpickle() -> bool:
    """Whether functions can be sent whole."""
    return _cloudpickle() is not None


def _dumps(value: object, keep: Callable[[pickle.PickleBuffer], Any]) -> bytes:
    if "torch" not in sys.modules:
        return pickle.dumps(value, protocol=5, buffer_callback=keep)
    out = io.BytesIO()
    _Watchful(out, protocol=5, buffer_callback=keep).dump(value)
    return out.getvalue()


def _refuse_devices(value: object) -> None:
    if "torch" in sys.modules:
        try:
            _Watchful(io.BytesIO(), protocol=5, buffer_callback=lambda _: None).dump(value)
        except OnDevice:
            raise
        except Exception:  # noqa: BLE001, S110: whatever else is wrong with it, the real attempt tells
            pass


class _Watchful(pickle.Pickler):
    """Looks at every object on its way; used where PyTorch is loaded, and only there."""

    def reducer_override(self, obj: Any, /) -> Any:
        tensor = getattr(sys.modules.get("torch"), "Tensor", None)
        if isinstance(tensor, type) and isinstance(obj, tensor) and getattr(obj, "is_cuda", False):
            device = getattr(obj, "device", "a device")
            raise OnDevice(
                f"a tensor on {device} cannot be sent to another process: send tensor.cpu().numpy() and move it to the device there"
            )
        return NotImplemented


def _cloudpickle() -> Callable[..., bytes] | None:
    try:
        import cloudpickle
    except ImportError:
        return None
    dumps: Callable[..., bytes] = cloudpickle.dumps
    return dumps
