"""Types that several modules name."""

import os
from fractions import Fraction
from typing import Literal

StrPath = str | os.PathLike[str]
"""A path."""

Time = float | str
"""Seconds, or text: seconds or [HH:]MM:SS[.fff]; on the container's own clock."""

Rate = float | str | Fraction
"""Frames a second: 5, 0.5, "30000/1001", Fraction(30000, 1001)."""

PixelFormat = Literal["rgb", "bgr", "gray", "yuv"]
