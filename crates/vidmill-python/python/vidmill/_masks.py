"""Which pixels belong to an object."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vidmill import _vidmill
from vidmill._arrays import as_array
from vidmill._types import SupportsDLPack


class RLE(TypedDict):
    """A mask as COCO's run-length encoding, compressed: what pycocotools' `mask.decode` takes.

    >>> square: vidmill.RLE = {"size": [4, 6], "counts": "0220`0"}
    >>> set(square) == set(vidmill.Masks(np.ones((1, 4, 6), bool)).rle[0])
    True
    """

    size: list[int]
    """[height, width] in pixels."""
    counts: str
    """Lengths of alternating runs of clear and set pixels, down the columns from left to right."""


class Masks:
    """Masks of one image, n of them, kept as run lengths: pixels are made when they are looked at.

        >>> squares = np.zeros((2, 4, 6), bool)
        >>> squares[0, :2, :2] = squares[1, 1:, 3:] = True
        >>> masks = vidmill.Masks(squares)
        >>> len(masks), masks.shape, masks.area.tolist()
        (2, (2, 4, 6), [4, 9])
        >>> masks[1].dtype, masks[1].shape   # one of them
        (dtype('bool'), (4, 6))
        >>> masks.rle[0]   # as pycocotools takes it
        {'size': [4, 6], 'counts': '0220`0'}
        >>> np.array_equal(np.asarray(masks), squares)   # all of them
        True

    A slice, a mask of booleans or a list of positions gives the masks that it picks, still as run lengths.

    Args:
        masks: Booleans or whole numbers, of which all but 0 are set: [n, height, width]; or run lengths as pycocotools gives
            them, all of one size. None among them is no mask, which is seen as clear.

    Raises:
        TypeError: They are neither.
        ValueError: Shapes or sizes differ, or run lengths do not fit their size.
    """

    __slots__ = ("_rle",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # as always where equality is by value

    _rle: "list[RLE | None]"

    def __init__(self, masks: "Sequence[RLE | Mapping[str, Any] | None] | NDArray[Any] | SupportsDLPack | Masks") -> None:
        if isinstance(masks, Masks):
            self._rle = list(masks._rle)
        elif isinstance(masks, Sequence) and all(mask is None or isinstance(mask, Mapping) for mask in masks):
            self._rle = [None if mask is None else _checked(mask, row) for row, mask in enumerate(masks)]
            sizes = {tuple(mask["size"]) for mask in self._rle if mask is not None}
            if len(sizes) > 1:
                raise ValueError(f"masks of one image are of one size, and these are {sorted(sizes)}")
        else:
            self._rle = _encoded(masks)

    @classmethod
    def _of(cls, rle: "list[RLE | None]") -> Self:
        """Of run lengths that are known to be right."""
        self = cls.__new__(cls)
        self._rle = rle
        return self

    @property
    def rle(self) -> "list[RLE | None]":
        """Each as run lengths; None where there is no mask."""
        return list(self._rle)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, height, width); height and width are 0 where there is none."""
        height, width = next((mask["size"] for mask in self._rle if mask is not None), (0, 0))
        return len(self._rle), height, width

    @property
    def area(self) -> NDArray[np.int64]:
        """How many pixels are set: [n]. It takes no pixels to tell."""
        areas = [0 if mask is None else _vidmill.mask_area(*parts_of(mask)) for mask in self._rle]
        return np.array(areas, np.int64)

    def __len__(self) -> int:
        return len(self._rle)

    @overload
    def __getitem__(self, which: int) -> NDArray[np.bool_]: ...
    @overload
    def __getitem__(self, which: slice | NDArray[Any] | list[int]) -> Self: ...
    def __getitem__(self, which: int | slice | NDArray[Any] | list[int]) -> NDArray[np.bool_] | Self:
        if isinstance(which, int | np.integer):
            return self._pixels(self._rle[which])
        if isinstance(which, slice):
            return self._of(self._rle[which])
        return self._of([self._rle[row] for row in np.arange(len(self._rle))[which]])

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self._pixels(mask) for mask in self._rle)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All of them: bool [n, height, width], made anew."""
        if copy is False:
            raise ValueError("masks are run lengths, whose pixels are made anew: they cannot be had without a copy")
        every = np.zeros(self.shape, np.bool_)
        for pixels, mask in zip(every, self._rle, strict=True):
            if mask is not None:
                pixels[:] = self._pixels(mask)
        return every if dtype is None else every.astype(dtype, copy=False)

    def _pixels(self, mask: "RLE | None") -> NDArray[np.bool_]:
        if mask is None:
            return np.zeros(self.shape[1:], np.bool_)
        return _vidmill.decode_mask(*parts_of(mask)).view(np.bool_)

    def __eq__(self, other: object) -> bool:
        return self._rle == other._rle if isinstance(other, Masks) else NotImplemented

    def __repr__(self) -> str:
        count, height, width = self.shape
        return f"<vidmill.Masks of {count}, {width}x{height}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Masks, (self._rle,)


def parts_of(mask: RLE) -> tuple[int, int, str]:
    """Height, width and counts, as the native side takes them."""
    height, width = mask["size"]
    return height, width, mask["counts"]


def _checked(mask: Mapping[str, Any], row: int) -> RLE:
    try:
        height, width = (int(side) for side in mask["size"])
        counts = mask["counts"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"mask {row} is no run-length encoding: it is {{'size': [height, width], 'counts': ...}}") from None
    if isinstance(counts, bytes):
        counts = counts.decode("latin-1")
    if not isinstance(counts, str):
        raise TypeError(f"counts of mask {row} are of type {type(counts).__name__}: pycocotools' frPyObjects compresses them")
    try:
        # Written anew, equal masks are equal texts.
        return {"size": [height, width], "counts": _vidmill.check_mask(height, width, counts)}
    except (ValueError, OverflowError) as error:
        raise ValueError(f"mask {row}: {error}") from None


def _encoded(masks: Any) -> "list[RLE | None]":
    array = np.asarray(masks) if isinstance(masks, list | tuple) else as_array(masks)
    if array.dtype.kind not in "biu":
        raise TypeError(f"masks hold {array.dtype}: give booleans, as array > 0.5")
    if array.ndim != 3:
        raise ValueError(f"masks have shape {list(array.shape)}: they are [n, height, width]")
    size = list(array.shape[1:])

    def one(pixels: NDArray[Any]) -> RLE:
        rows = np.ascontiguousarray(pixels if pixels.dtype == np.bool_ else pixels != 0)
        return {"size": list(size), "counts": _vidmill.encode_mask(rows.view(np.uint8))}

    return [one(pixels) for pixels in array]
