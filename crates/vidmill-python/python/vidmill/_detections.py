"""What was found in one image."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one image, by falling confidence: four arrays of the same length n.

    The fields are those of supervision's Detections; `data["class_name"]` is there, too.
    """

    xyxy: NDArray[np.float32]
    """Left, top, right, bottom in pixels of the image, clipped to it: [n, 4]."""
    confidence: NDArray[np.float32]
    """0 to 1: [n]."""
    class_id: NDArray[np.int64]
    """The model's own class numbers: [n]."""
    class_name: NDArray[np.str_]
    """The classes' names, or their numbers where the model has no names: [n]."""

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """Further columns, as supervision keeps them."""
        return {"class_name": self.class_name}

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, which: slice | NDArray[Any] | list[int]) -> Self:
        """The detections that a slice, a mask of booleans or a list of positions picks."""
        if isinstance(which, int | np.integer):
            raise TypeError("a part of detections is picked by a slice, a mask or a list: write [[i]] for the i-th alone")
        return type(self)(
            self.xyxy[which], self.confidence[which], self.class_id[which], self.class_name[which]
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        return (
            np.array_equal(self.xyxy, other.xyxy)
            and np.array_equal(self.confidence, other.confidence)
            and np.array_equal(self.class_id, other.class_id)
            and np.array_equal(self.class_name, other.class_name)
        )

    __hash__ = None  # type: ignore[assignment]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The `detections` of a record (docs/RECORD.md): a list of xyxy, confidence, class_id, class."""
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
        """The same as JSON text."""
        return json.dumps(self.to_dicts(), ensure_ascii=False, separators=(",", ":"))

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with one row a detection: x1, y1, x2, y2, confidence, class_id, class. Needs pandas."""
        import pandas

        x1, y1, x2, y2 = self.xyxy.T
        columns = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "confidence": self.confidence}
        return pandas.DataFrame(columns | {"class_id": self.class_id, "class": self.class_name})

    def to_supervision(self) -> Any:
        """supervision.Detections of the same arrays. Needs supervision."""
        import supervision

        return supervision.Detections(
            xyxy=self.xyxy, confidence=self.confidence, class_id=self.class_id, data=self.data
        )


def _shortest(number: np.float32) -> float:
    """The shortest number that reads back as the same 32-bit float."""
    return float(str(number))
