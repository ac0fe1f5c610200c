"""What was found in one image."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vidmill._arrays import as_array
from vidmill._types import SupportsDLPack

if TYPE_CHECKING:
    import pandas
    import pyarrow

_Scalar = TypeVar("_Scalar", bound=np.generic)
_LARGEST_CLASS = 2**31 - 1  # Parquet's column holds no more


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Detections:
    """What was found in one image, by falling confidence: four arrays of the same length n.

        >>> found = vidmill.Detections(xyxy=[[10, 20, 50, 80]], confidence=[0.9], class_id=[2], class_name=["car"])
        >>> len(found), found.xyxy.shape, found.xyxy.dtype
        (1, (1, 4), dtype('float32'))
        >>> found.to_json()
        '[{"xyxy":[10.0,20.0,50.0,80.0],"confidence":0.9,"class_id":2,"class":"car"}]'

    The fields are those of supervision's Detections; `data["class_name"]` is there, too.

    Args:
        xyxy: Left, top, right, bottom in pixels: [n, 4].
        confidence: 0 to 1: [n].
        class_id: Whole numbers from 0 on: [n].
        class_name: [n]; by default the numbers as text.

    Lists and whatever `Model.detect` takes for an image will do. An array of the right type is not copied. Nothing is sorted.

    Raises:
        TypeError: They are no numbers.
        ValueError: Shapes do not fit together, or a number is out of range.
    """

    xyxy: NDArray[np.float32]
    """Left, top, right, bottom in pixels of the image, clipped to it: [n, 4]."""
    confidence: NDArray[np.float32]
    """0 to 1: [n]."""
    class_id: NDArray[np.int64]
    """The model's own class numbers: [n]."""
    class_name: NDArray[np.str_]
    """The classes' names, or their numbers where the model has no names: [n]."""

    def __init__(
        self,
        xyxy: ArrayLike | SupportsDLPack,
        confidence: ArrayLike | SupportsDLPack,
        class_id: ArrayLike | SupportsDLPack,
        class_name: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> None:
        boxes = _floats("xyxy", xyxy)
        if boxes.shape == (0,):  # no boxes, as a list
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"xyxy has shape {list(boxes.shape)}: it is [n, 4], a row of left, top, right, bottom for each box")
        count = len(boxes)
        scores = _column("confidence", _floats("confidence", confidence), count)
        out_of_range = (scores < 0) | (scores > 1)
        if out_of_range.any():
            row = int(out_of_range.argmax())
            raise ValueError(f"confidence[{row}] is {scores[row]}: it is from 0 to 1")
        numbers = _column("class_id", _class_numbers(class_id), count)
        if class_name is None:
            names = numbers.astype(np.str_)
        elif isinstance(class_name, str):
            raise TypeError("class_name is one text for all: give one for each box")
        else:
            names = _column("class_name", np.asarray(class_name, np.str_), count)
        self._fill(boxes, scores, numbers, names)

    @classmethod
    def _of(
        cls,
        xyxy: NDArray[np.float32],
        confidence: NDArray[np.float32],
        class_id: NDArray[np.int64],
        class_name: NDArray[np.str_],
    ) -> Self:
        """Of arrays that are known to be right: what the engine and parts of other detections are made with."""
        self = cls.__new__(cls)
        self._fill(xyxy, confidence, class_id, class_name)
        return self

    def _fill(
        self,
        xyxy: NDArray[np.float32],
        confidence: NDArray[np.float32],
        class_id: NDArray[np.int64],
        class_name: NDArray[np.str_],
    ) -> None:
        # The way into a frozen class.
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "class_id", class_id)
        object.__setattr__(self, "class_name", class_name)

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """Further columns, as supervision keeps them."""
        return {"class_name": self.class_name}

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, which: slice | NDArray[Any] | list[int]) -> Self:
        """The detections that a slice, a mask of booleans or a list of positions picks.

        >>> found = vidmill.Detections([[0, 0, 9, 9], [5, 5, 8, 8]], [0.9, 0.4], [0, 2])
        >>> len(found[found.confidence > 0.5])
        1
        """
        if isinstance(which, int | np.integer):
            raise TypeError("a part of detections is picked by a slice, a mask or a list: write [[i]] for the i-th alone")
        return self._of(self.xyxy[which], self.confidence[which], self.class_id[which], self.class_name[which])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        return (
            np.array_equal(self.xyxy, other.xyxy)
            and np.array_equal(self.confidence, other.confidence)
            and np.array_equal(self.class_id, other.class_id)
            and np.array_equal(self.class_name, other.class_name)
        )

    __hash__: ClassVar[None]  # type: ignore[assignment]  # as always where equality is by value

    def to_dicts(self) -> list[dict[str, Any]]:
        """The `detections` of a record (docs/RECORD.md): a list of xyxy, confidence, class_id, class.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.9], [2]).to_dicts()
        [{'xyxy': [0.0, 0.0, 9.0, 9.0], 'confidence': 0.9, 'class_id': 2, 'class': '2'}]
        """
        rows = zip(self.xyxy, self.confidence, self.class_id, self.class_name, strict=True)
        return [
            {
                "xyxy": [_shortest(side) for side in xyxy],
                "confidence": _shortest(confidence),
                "class_id": int(class_id),
                "class": str(name),
            }
            for xyxy, confidence, class_id, name in rows
        ]

    def to_json(self) -> str:
        """The same as JSON text.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.9], [2]).to_json()
        '[{"xyxy":[0.0,0.0,9.0,9.0],"confidence":0.9,"class_id":2,"class":"2"}]'
        """
        return json.dumps(self.to_dicts(), ensure_ascii=False, separators=(",", ":"))

    def to_ultralytics(self, decimals: int = 5) -> list[dict[str, Any]]:
        """What `Results.summary()` of ultralytics gives, whose JSON is that of its `to_json()`: pixels, rounded.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.123456], [2], ["car"]).to_ultralytics()
        [{'name': 'car', 'class': 2, 'confidence': 0.12346, 'box': {'x1': 0.0, 'y1': 0.0, 'x2': 9.0, 'y2': 9.0}}]
        """
        rows = zip(self.xyxy.tolist(), self.confidence.tolist(), self.class_id.tolist(), self.class_name.tolist(), strict=True)
        return [
            {
                "name": name,
                "class": class_id,
                "confidence": round(confidence, decimals),
                "box": dict(zip(("x1", "y1", "x2", "y2"), (round(side, decimals) for side in xyxy), strict=True)),
            }
            for xyxy, confidence, class_id, name in rows
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with one row a detection: x1, y1, x2, y2, confidence, class_id, class. Needs pandas.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.5], [2], ["car"]).to_pandas()
            x1   y1   x2   y2  confidence  class_id class
        0  0.0  0.0  9.0  9.0         0.5         2   car
        """
        import pandas

        return pandas.DataFrame(self._columns())

    def to_arrow(self) -> "pyarrow.Table":
        """The same as a table of Arrow's. Needs pyarrow.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.5], [2], ["car"]).to_arrow().to_pylist()
        [{'x1': 0.0, 'y1': 0.0, 'x2': 9.0, 'y2': 9.0, 'confidence': 0.5, 'class_id': 2, 'class': 'car'}]
        """
        import pyarrow

        # An empty array of NumPy's texts does not say that it holds texts.
        types = {"class": pyarrow.string()}
        return pyarrow.table({name: pyarrow.array(values, types.get(name)) for name, values in self._columns().items()})

    def to_supervision(self) -> Any:
        """supervision.Detections of the same arrays. Needs supervision."""
        import supervision

        return supervision.Detections(
            xyxy=self.xyxy, confidence=self.confidence, class_id=self.class_id, data=self.data
        )

    def _columns(self) -> dict[str, NDArray[Any]]:
        """The columns of tables."""
        x1, y1, x2, y2 = self.xyxy.T
        columns = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "confidence": self.confidence}
        return columns | {"class_id": self.class_id, "class": self.class_name}


def _shortest(number: np.float32) -> float:
    """The shortest number that reads back as the same 32-bit float."""
    return float(str(number))


def _numbers(name: str, values: ArrayLike | SupportsDLPack) -> NDArray[Any]:
    """A field that was given, as an array of numbers."""
    array = np.asarray(values) if isinstance(values, list | tuple) else as_array(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} holds {array.dtype}: give numbers")
    return array


def _floats(name: str, values: ArrayLike | SupportsDLPack) -> NDArray[np.float32]:
    array = _numbers(name, values)
    with np.errstate(over="ignore"):  # what becomes infinite is told next
        floats = array.astype(np.float32, copy=False)
    finite = np.isfinite(floats)
    if not finite.all():
        where = np.argwhere(~finite)[0].tolist()
        raise ValueError(f"{name}{where} is {array[tuple(where)]}: give finite 32-bit numbers")
    return floats


def _class_numbers(values: ArrayLike | SupportsDLPack) -> NDArray[np.int64]:
    array = _numbers("class_id", values)
    # Models give class numbers as floats, and so do many who pass them on. NaN is no whole number either.
    wrong = ~((array >= 0) & (array <= _LARGEST_CLASS) & (np.floor(array) == array))
    if wrong.any():
        where = np.argwhere(wrong)[0].tolist()
        raise ValueError(f"class_id{where} is {array[tuple(where)]}: give whole numbers from 0 to {_LARGEST_CLASS}")
    return array.astype(np.int64, copy=False)


def _column(name: str, array: NDArray[_Scalar], count: int) -> NDArray[_Scalar]:
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {list(array.shape)}: xyxy holds {count} boxes, so it is [{count}]")
    return array
