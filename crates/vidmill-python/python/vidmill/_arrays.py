"""What others call arrays, as NumPy's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# DLPack's numbers of devices whose memory the processor reads: the processor's own, and such as CUDA and ROCm lend it.
_READABLE = {1, 3, 11, 13}
_DEVICES = {2: "a CUDA", 4: "an OpenCL", 7: "a Vulkan", 8: "a Metal", 10: "a ROCm", 14: "a oneAPI", 15: "a WebGPU"}


def as_array(value: Any) -> NDArray[Any]:
    """What speaks DLPack, the buffer protocol or `__array__`, as a NumPy array: of the same memory, where that can be.

    Raises:
        TypeError: It is none of these.
        ValueError: It lies in the memory of another device.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("a masked array has numbers that are none: fill it first, array.filled(0)")
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        _check_device(value)
        # PyTorch lends no tensor that is still to have a gradient.
        lent = value.detach() if getattr(value, "requires_grad", False) else value
        try:
            return np.from_dlpack(lent)
        except (BufferError, RuntimeError, TypeError):
            # A type that DLPack or NumPy's side of it does not know; what follows may, or says why not.
            pass
    if not hasattr(value, "__array__") and not _is_buffer(value):
        hint = ": np.stack() makes one of a list of arrays" if isinstance(value, list | tuple) else ""
        raise TypeError(
            f"a NumPy array is needed, or what speaks DLPack, the buffer protocol or __array__, not {type(value)}{hint}"
        )
    return np.asarray(value)


def _check_device(value: Any) -> None:
    kind, number = value.__dlpack_device__()
    if int(kind) not in _READABLE:
        device = _DEVICES.get(int(kind), "another")
        raise ValueError(
            f"the array is in the memory of {device} device (number {number}):"
            " copy it to the CPU first, in PyTorch with tensor.cpu()"
        )


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value).release()
    except TypeError:
        return False
    return True
