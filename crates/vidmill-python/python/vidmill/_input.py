"""What a predictor wants to be given."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """The batches that a predictor's `predict` takes: the default is float32 [n, 3, height, width], RGB, 0 to 1, letterboxed.

        >>> class Detector:
        ...     input = vidmill.Input(size=(640, 384), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        ...
        ...     def predict(self, batch):
        ...         return [f"a picture of {frame.shape}" for frame in batch]
        >>> vidmill.Input(size=(640, 384)).size
        (640, 384)

    Frames go from the decoder's planes to this in one pass, in memory that the predictor reads without a copy.
    """

    size: tuple[int, int] | int | None = None
    """(width, height) in pixels, or one number for both; None is what the user says (imgsz), or 640 x 640."""
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    layout: Literal["nchw", "nhwc"] = "nchw"
    """Channels before or after the pixels: [n, 3, height, width] or [n, height, width, 3]."""
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    range: Literal[1, 255] | None = None
    """What white is, before `mean` and `std`; None is 255 for uint8 and 1 for the others."""
    mean: tuple[float, float, float] | None = None
    """Subtracted from each channel, in units of `range`."""
    std: tuple[float, float, float] | None = None
    """Each channel is then divided by this."""
    resize: Literal["letterbox", "letterbox-top-left", "stretch", "center-crop", "fit-height"] = "letterbox"
    """How a frame of another shape fits: with bars around it, or below and right of it; distorted; or cut off."""
    pad: int = 114
    """Value of the bars, 0 to 255."""
    batch: int | None = None
    """Frames in every batch, where the predictor takes just so many; None is any number."""

    def __post_init__(self) -> None:
        choices = {
            "dtype": ("float32", "float16", "uint8"),
            "layout": ("nchw", "nhwc"),
            "color": ("rgb", "bgr", "gray"),
            "range": (None, 1, 255),
            "resize": ("letterbox", "letterbox-top-left", "stretch", "center-crop", "fit-height"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                shown = ", ".join(repr(choice) for choice in known)
                raise ValueError(f"Input({name}={getattr(self, name)!r}): choose one of {shown}")
        if self.size is not None:
            sides = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
            if len(sides) != 2 or not all(isinstance(side, int) and 1 <= side <= 16384 for side in sides):
                raise ValueError(f"Input(size={self.size!r}): (width, height) in pixels is expected, each from 1 to 16384")
            object.__setattr__(self, "size", sides)
        for name in ("mean", "std"):
            if (value := getattr(self, name)) is not None:
                numbers = tuple(float(number) for number in value)
                if len(numbers) != 3 or (name == "std" and 0 in numbers):
                    raise ValueError(f"Input({name}={value!r}): three numbers are expected, and none of std is 0")
                object.__setattr__(self, name, numbers)
        if not 0 <= self.pad <= 255:
            raise ValueError(f"Input(pad={self.pad}): 0 to 255 is expected")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"Input(batch={self.batch}): at least 1 is expected; None is any number")

    def shape(self) -> list[int | str]:
        """The dimensions as models tell theirs: names are any number."""
        channels = 1 if self.color == "gray" else 3
        # Two numbers, or none, since it was made.
        width, height = self.size if isinstance(self.size, tuple) else ("width", "height")
        batch = self.batch or "batch"
        return [batch, channels, height, width] if self.layout == "nchw" else [batch, height, width, channels]

    def metadata(self) -> dict[str, str]:
        """The rest, as the metadata of a model file tells it (README.md, "Your own model")."""
        white = self.range or (255 if self.dtype == "uint8" else 1)
        entries: dict[str, object] = {"color": self.color, "range": white, "resize": self.resize, "pad": self.pad}
        entries |= {
            name: list(value) for name, value in (("mean", self.mean), ("std", self.std)) if value is not None
        }
        return {f"vidmill.{name}": str(value) for name, value in entries.items()}
