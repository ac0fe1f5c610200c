"""Types that several modules name."""

import os
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Buffer

StrPath = str | os.PathLike[str]
"""A path."""

Time = float | str
"""Seconds, or text: seconds or [HH:]MM:SS[.fff]; on the container's own clock."""

Rate = float | str | Fraction
"""Frames a second: 5, 0.5, "30000/1001", Fraction(30000, 1001)."""

PixelFormat = Literal["rgb", "bgr", "gray", "yuv"]


class SupportsDLPack(Protocol):
    """Arrays of PyTorch, JAX, CuPy and others."""

    def __dlpack__(self, *, stream: Any = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[Any, Any]: ...


class SupportsArray(Protocol):
    """What makes itself an array of NumPy's."""

    def __array__(self) -> NDArray[Any]: ...


AnyArray: TypeAlias = "NDArray[Any] | SupportsDLPack | SupportsArray | Buffer"
"""An array of whatever library, or memory of another kind; on the CPU."""
