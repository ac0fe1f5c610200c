"""What an image, or a part of it, is: as a whole, and pixel by pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vidmill._columns import CLASSES, class_names, class_numbers, confidences, numbers, same, shortest
from vidmill._masks import Masks
from vidmill._types import SupportsDLPack


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Classes:
    """What an image is as a whole, by falling confidence: three arrays of the same length k.

        >>> classes = vidmill.Classes(confidence=[0.75, 0.2], class_id=[281, 282], class_name=["tabby", "tiger cat"])
        >>> classes.class_name.tolist(), len(classes[classes.confidence > 0.5])
        (['tabby', 'tiger cat'], 1)
        >>> classes.to_dicts()[0]
        {'class_id': 281, 'class': 'tabby', 'confidence': 0.75}

    Args:
        confidence: 0 to 1: [k].
        class_id: Whole numbers from 0 on: [k].
        class_name: [k]; by default the numbers as text.

    Raises:
        TypeError: They are no numbers.
        ValueError: Shapes do not fit together, or a number is out of range.
    """

    confidence: NDArray[np.float32]
    """0 to 1: [k]."""
    class_id: NDArray[np.int64]
    """The model's own class numbers: [k]."""
    class_name: NDArray[np.str_]
    """The classes' names, or their numbers where the model has no names: [k]."""

    def __init__(
        self,
        confidence: ArrayLike | SupportsDLPack,
        class_id: ArrayLike | SupportsDLPack,
        class_name: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> None:
        count = numbers("class_id", class_id).size
        ids = class_numbers(class_id, count, CLASSES)
        scores = confidences("confidence", confidence, count, of=CLASSES)
        self._fill(scores, ids, class_names(class_name, ids, CLASSES))

    @classmethod
    def _of(cls, confidence: NDArray[np.float32], class_id: NDArray[np.int64], class_name: NDArray[np.str_]) -> Self:
        """Of arrays that are known to be right."""
        self = cls.__new__(cls)
        self._fill(confidence, class_id, class_name)
        return self

    def _fill(self, confidence: NDArray[np.float32], class_id: NDArray[np.int64], class_name: NDArray[np.str_]) -> None:
        # The way into a frozen class.
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "class_id", class_id)
        object.__setattr__(self, "class_name", class_name)

    def __len__(self) -> int:
        return len(self.class_id)

    def __getitem__(self, which: slice | NDArray[Any] | list[int]) -> Self:
        """The classes that a slice, a mask of booleans or a list of positions picks: `[:5]` for the best five.

        >>> vidmill.Classes([0.7, 0.2, 0.1], [4, 9, 1])[:2].class_id.tolist()
        [4, 9]
        """
        return self._of(self.confidence[which], self.class_id[which], self.class_name[which])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Classes):
            return NotImplemented
        return all(same(getattr(self, name), getattr(other, name)) for name in ("confidence", "class_id", "class_name"))

    __hash__: ClassVar[None]  # type: ignore[assignment]  # as always where equality is by value

    def to_dicts(self) -> list[dict[str, Any]]:
        """The `classes` of a record (docs/RECORD.md).

        >>> vidmill.Classes([0.7], [4]).to_dicts()
        [{'class_id': 4, 'class': '4', 'confidence': 0.7}]
        """
        rows = zip(self.class_id.tolist(), self.class_name.tolist(), shortest(self.confidence), strict=True)
        return [{"class_id": class_id, "class": name, "confidence": sure} for class_id, name, sure in rows]

    def to_ultralytics(self, decimals: int = 5) -> list[dict[str, Any]]:
        """What `Results.summary()` of ultralytics gives of a classification: the best five.

        >>> vidmill.Classes([0.7], [4], ["car"]).to_ultralytics()
        [{'name': 'car', 'class': 4, 'confidence': 0.7}]
        """
        best = self[:5]
        rows = zip(best.class_name.tolist(), best.class_id.tolist(), best.confidence.tolist(), strict=True)
        return [{"name": name, "class": class_id, "confidence": round(sure, decimals)} for name, class_id, sure in rows]

    def to_supervision(self) -> Any:
        """supervision.Classifications of the same arrays. Needs supervision."""
        import supervision

        return supervision.Classifications(class_id=self.class_id, confidence=self.confidence)


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Regions:
    """Which pixels of an image belong to which class: a mask for each of the k classes that are there.

        >>> sky = np.zeros((4, 6), bool)
        >>> sky[:2] = True
        >>> regions = vidmill.Regions(class_id=[2, 7], masks=np.stack([sky, ~sky]), class_name=["sky", "road"])
        >>> regions.masks.area.tolist()
        [12, 12]
        >>> regions.class_map()[:, 0].tolist()
        [2, 2, 7, 7]

    Args:
        class_id: Whole numbers from 0 on: [k].
        masks: What `vidmill.Masks` takes: k of them.
        class_name: [k]; by default the numbers as text.

    Raises:
        TypeError, ValueError: As `vidmill.Classes` and `vidmill.Masks`.
    """

    class_id: NDArray[np.int64]
    """The model's own class numbers: [k]."""
    class_name: NDArray[np.str_]
    """The classes' names, or their numbers where the model has no names: [k]."""
    masks: Masks
    """Each class's pixels: k masks of the image's size."""

    def __init__(
        self,
        class_id: ArrayLike | SupportsDLPack,
        masks: Masks | Sequence[Any] | NDArray[Any] | SupportsDLPack,
        class_name: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> None:
        ids = class_numbers(class_id, numbers("class_id", class_id).size, CLASSES)
        made = masks if isinstance(masks, Masks) else Masks(masks)
        if len(made) != len(ids):
            raise ValueError(f"{len(made)} masks for {len(ids)} classes")
        if None in made.rle:
            raise ValueError("a class without a mask: leave it out")
        self._fill(ids, made, class_names(class_name, ids, CLASSES))

    @classmethod
    def _of(cls, class_id: NDArray[np.int64], masks: Masks, class_name: NDArray[np.str_]) -> Self:
        """Of what is known to be right."""
        self = cls.__new__(cls)
        self._fill(class_id, masks, class_name)
        return self

    def _fill(self, class_id: NDArray[np.int64], masks: Masks, class_name: NDArray[np.str_]) -> None:
        # The way into a frozen class.
        object.__setattr__(self, "class_id", class_id)
        object.__setattr__(self, "class_name", class_name)
        object.__setattr__(self, "masks", masks)

    def __len__(self) -> int:
        return len(self.class_id)

    def __getitem__(self, which: slice | NDArray[Any] | list[int]) -> Self:
        """The classes that a slice, a mask of booleans or a list of positions picks.

        >>> everything = vidmill.Regions([2], np.ones((1, 4, 6), bool))
        >>> len(everything[everything.class_id == 7])
        0
        """
        return self._of(self.class_id[which], self.masks[which], self.class_name[which])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Regions):
            return NotImplemented
        return all(same(getattr(self, name), getattr(other, name)) for name in ("class_id", "class_name", "masks"))

    __hash__: ClassVar[None]  # type: ignore[assignment]  # as always where equality is by value

    def class_map(self, nothing: int = -1) -> NDArray[np.int32]:
        """The class number of each pixel: int32 [height, width]; `nothing` where a pixel belongs to none.

        >>> vidmill.Regions([3], np.ones((1, 2, 2), bool)).class_map().tolist()
        [[3, 3], [3, 3]]
        """
        labels = np.full(self.masks.shape[1:], nothing, np.int32)
        for class_id, mask in zip(self.class_id.tolist(), self.masks, strict=True):
            labels[mask] = class_id
        return labels

    def to_dicts(self) -> list[dict[str, Any]]:
        """The `masks` of a record (docs/RECORD.md).

        >>> vidmill.Regions([3], np.ones((1, 2, 2), bool)).to_dicts()
        [{'class_id': 3, 'class': '3', 'mask': {'size': [2, 2], 'counts': '04'}}]
        """
        rows = zip(self.class_id.tolist(), self.class_name.tolist(), self.masks.rle, strict=True)
        return [{"class_id": class_id, "class": name, "mask": mask} for class_id, name, mask in rows]

    def to_ultralytics(self, decimals: int = 5) -> list[dict[str, Any]]:
        """What `Results.summary()` of ultralytics gives of a semantic segmentation: each class's share of the pixels.

        >>> vidmill.Regions([3], np.ones((1, 2, 2), bool), ["sky"]).to_ultralytics()
        [{'name': 'sky', 'class': 3, 'pixel_ratio': 1.0}]
        """
        _, height, width = self.masks.shape
        rows = zip(self.class_name.tolist(), self.class_id.tolist(), self.masks.area.tolist(), strict=True)
        return [
            {"name": name, "class": class_id, "pixel_ratio": round(area / (height * width), decimals)}
            for name, class_id, area in rows
        ]
