"""What was found in one image."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vidmill import _table, _ultralytics
from vidmill._classes import Classes, Regions
from vidmill._columns import as_json, class_names, class_numbers, confidences, floats, numbers, objects, same, shortest
from vidmill._masks import RLE, Masks
from vidmill._types import SupportsDLPack

if TYPE_CHECKING:
    import pandas
    import pyarrow

FURTHER = (
    "track_id", "corners", "keypoints", "masks", "classes", "text", "text_confidence", "embedding", "detections", "regions", "outputs",
)  # fmt: skip
"""Fields that not all detections have."""
_ALL = ("xyxy", "confidence", "class_id", "class_name", *FURTHER)


@dataclass(frozen=True, slots=True, eq=False, init=False, repr=False)
class Detections:
    """What was found in one image, by falling confidence: arrays of the same length n.

        >>> found = vidmill.Detections(xyxy=[[10, 20, 50, 80]], confidence=[0.9], class_id=[2], class_name=["car"])
        >>> len(found), found.xyxy.shape, found.xyxy.dtype
        (1, (1, 4), dtype('float32'))
        >>> found.to_json()
        '[{"xyxy":[10.0,20.0,50.0,80.0],"confidence":0.9,"class_id":2,"class":"car"}]'

    What a model does not give is None. Where some detections have it and others not, it is NaN (numbers), None (objects), or -1
    (`track_id`) for those that have not.

        >>> posed = vidmill.Detections([[0, 0, 9, 9]], [0.9], [0], keypoints=[[[3, 4, 0.5], [6, 4, 0.25]]], track_id=[7])
        >>> posed.keypoints.shape, posed.track_id.tolist(), posed.masks
        ((1, 2, 3), [7], None)

    The fields are those of supervision's Detections; `data["class_name"]` is there, too.

    Args:
        xyxy: Left, top, right, bottom in pixels: [n, 4].
        confidence: 0 to 1: [n].
        class_id: Whole numbers from 0 on: [n].
        class_name: [n]; by default the numbers as text.
        track_id: Whole numbers: [n].
        corners: x, y in pixels: [n, 4, 2].
        keypoints: x, y and perhaps the confidence: [n, k, 2] or [n, k, 3].
        masks: What `vidmill.Masks` takes: n of them.
        classes: n of `vidmill.Classes`.
        text: n texts.
        text_confidence: 0 to 1: [n].
        embedding: [n, d].
        detections: n of `vidmill.Detections`.
        regions: n of `vidmill.Regions`.
        outputs: n values of any kind.

    Lists and whatever `Model.detect` takes for an image will do. An array of the right type is not copied. Nothing is sorted.

    Raises:
        TypeError: They are no numbers, or objects of another kind.
        ValueError: Shapes do not fit together, or a number is out of range.
    """

    xyxy: NDArray[np.float32]
    """Left, top, right, bottom in pixels of the image, clipped to it: [n, 4]; of an oriented box the upright box around it."""
    confidence: NDArray[np.float32]
    """0 to 1: [n]."""
    class_id: NDArray[np.int64]
    """The model's own class numbers: [n]."""
    class_name: NDArray[np.str_]
    """The classes' names, or their numbers where the model has no names: [n]."""
    track_id: NDArray[np.int64] | None
    """The same for the same object in other frames, from 1; -1 for those without: [n]."""
    corners: NDArray[np.float32] | None
    """Of oriented boxes the corners, clockwise: x, y in pixels, not clipped: [n, 4, 2]."""
    keypoints: NDArray[np.float32] | None
    """In the model's order: x, y in pixels, not clipped, and the confidence where the model gives it: [n, k, 2] or [n, k, 3]."""
    masks: Masks | None
    """Each one's pixels, as run lengths until they are looked at: n masks of the image's size."""
    classes: NDArray[np.object_] | None
    """Of a cascade's next model: what each is, as `vidmill.Classes`: [n]."""
    text: NDArray[np.object_] | None
    """What each reads, as str: [n]."""
    text_confidence: NDArray[np.float32] | None
    """How sure the text is, 0 to 1: [n]."""
    embedding: NDArray[np.float32] | None
    """Each as a vector: [n, d]."""
    detections: NDArray[np.object_] | None
    """What was found in each, as `vidmill.Detections` in pixels of the same image: [n]."""
    regions: NDArray[np.object_] | None
    """Which of its pixels belong to which class, as `vidmill.Regions`: [n]."""
    outputs: NDArray[np.object_] | None
    """What the next model gives that vidmill does not decode: [n]."""

    def __init__(
        self,
        xyxy: ArrayLike | SupportsDLPack,
        confidence: ArrayLike | SupportsDLPack,
        class_id: ArrayLike | SupportsDLPack,
        class_name: Sequence[str] | NDArray[np.str_] | None = None,
        *,
        track_id: ArrayLike | SupportsDLPack | None = None,
        corners: ArrayLike | SupportsDLPack | None = None,
        keypoints: ArrayLike | SupportsDLPack | None = None,
        masks: Masks | Sequence[RLE | Mapping[str, Any] | None] | NDArray[Any] | SupportsDLPack | None = None,
        classes: Sequence[Classes | None] | NDArray[np.object_] | None = None,
        text: Sequence[str | None] | NDArray[Any] | None = None,
        text_confidence: ArrayLike | SupportsDLPack | None = None,
        embedding: ArrayLike | SupportsDLPack | None = None,
        detections: "Sequence[Detections | None] | NDArray[np.object_] | None" = None,
        regions: Sequence[Regions | None] | NDArray[np.object_] | None = None,
        outputs: Sequence[Any] | NDArray[np.object_] | None = None,
    ) -> None:
        boxes = floats("xyxy", xyxy)
        if boxes.shape == (0,):  # no boxes, as a list
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"xyxy has shape {list(boxes.shape)}: it is [n, 4], a row of left, top, right, bottom for each box")
        count = len(boxes)
        scores = confidences("confidence", confidence, count)
        ids = class_numbers(class_id, count)
        sure = text_confidence
        self._fill(
            boxes,
            scores,
            ids,
            class_names(class_name, ids),
            track_id=None if track_id is None else _track_numbers(track_id, count),
            corners=None if corners is None else _points("corners", corners, count, [4], [2]),
            keypoints=None if keypoints is None else _points("keypoints", keypoints, count, None, [2, 3]),
            masks=None if masks is None else _masks(masks, count),
            classes=None if classes is None else objects("classes", classes, Classes, count),
            text=None if text is None else objects("text", text, str, count),
            text_confidence=None if sure is None else confidences("text_confidence", sure, count, some=True),
            embedding=None if embedding is None else _vectors(embedding, count),
            detections=None if detections is None else objects("detections", detections, Detections, count),
            regions=None if regions is None else objects("regions", regions, Regions, count),
            outputs=None if outputs is None else objects("outputs", outputs, object, count),
        )

    @classmethod
    def _of(
        cls,
        xyxy: NDArray[np.float32],
        confidence: NDArray[np.float32],
        class_id: NDArray[np.int64],
        class_name: NDArray[np.str_],
        **further: Any,
    ) -> Self:
        """Of columns that are known to be right: what the engine and parts of other detections are made with."""
        self = cls.__new__(cls)
        self._fill(xyxy, confidence, class_id, class_name, **further)
        return self

    def _fill(
        self,
        xyxy: NDArray[np.float32],
        confidence: NDArray[np.float32],
        class_id: NDArray[np.int64],
        class_name: NDArray[np.str_],
        **further: Any,
    ) -> None:
        # The way into a frozen class.
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "class_id", class_id)
        object.__setattr__(self, "class_name", class_name)
        for name in FURTHER:
            object.__setattr__(self, name, further.get(name))

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """Further columns, as supervision keeps them: `class_name`; `xyxyxyxy` (the corners), `text`, `text_confidence`, `embedding`
        where they are there."""
        further = {
            "class_name": self.class_name,
            "xyxyxyxy": self.corners,
            "text": self.text,
            "text_confidence": self.text_confidence,
            "embedding": self.embedding,
        }
        return {name: values for name, values in further.items() if values is not None}

    def __repr__(self) -> str:
        there = (f"{name}={column!r}" for name in _ALL if (column := getattr(self, name)) is not None)
        return f"Detections({', '.join(there)})"

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
        return self._of(**{name: column[which] for name in _ALL if (column := getattr(self, name)) is not None})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        return all(same(getattr(self, name), getattr(other, name)) for name in _ALL)

    __hash__: ClassVar[None]  # type: ignore[assignment]  # as always where equality is by value

    def to_dicts(self) -> list[dict[str, Any]]:
        """The `detections` of a record (docs/RECORD.md): a list of xyxy, confidence, class_id, class, and what else is there.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.9], [2]).to_dicts()
        [{'xyxy': [0.0, 0.0, 9.0, 9.0], 'confidence': 0.9, 'class_id': 2, 'class': '2'}]
        """
        rows = zip(
            shortest(self.xyxy), shortest(self.confidence), self.class_id.tolist(), self.class_name.tolist(), strict=True
        )
        found: list[dict[str, Any]] = [
            {"xyxy": xyxy, "confidence": confidence, "class_id": class_id, "class": name}
            for xyxy, confidence, class_id, name in rows
        ]
        for key, values in self._further().items():
            for keys, value in zip(found, values, strict=True):
                if value is not None:
                    keys[key] = value
        return found

    def to_json(self) -> str:
        """The same as JSON text.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.9], [2]).to_json()
        '[{"xyxy":[0.0,0.0,9.0,9.0],"confidence":0.9,"class_id":2,"class":"2"}]'
        """
        return as_json(self.to_dicts())

    def to_ultralytics(self, decimals: int = 5) -> list[dict[str, Any]]:
        """What `Results.summary()` of ultralytics gives, whose JSON is that of its `to_json()`: pixels, rounded. Masks become
        outlines (`segments`), for which it needs cv2.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.123456], [2], ["car"]).to_ultralytics()
        [{'name': 'car', 'class': 2, 'confidence': 0.12346, 'box': {'x1': 0.0, 'y1': 0.0, 'x2': 9.0, 'y2': 9.0}}]
        """
        return _ultralytics.summary(self, decimals)

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with one row a detection: x1, y1, x2, y2, confidence, class_id, class, and what else is there, under the names
        and in the order of the Parquet file (docs/RECORD.md). Needs pandas.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.5], [2], ["car"]).to_pandas()
            x1   y1   x2   y2  confidence  class_id class
        0  0.0  0.0  9.0  9.0         0.5         2   car
        """
        return _table.pandas_table(self._columns(), self._further())

    def to_arrow(self) -> "pyarrow.Table":
        """The same as a table of Arrow's. Needs pyarrow.

        >>> vidmill.Detections([[0, 0, 9, 9]], [0.5], [2], ["car"]).to_arrow().to_pylist()
        [{'x1': 0.0, 'y1': 0.0, 'x2': 9.0, 'y2': 9.0, 'confidence': 0.5, 'class_id': 2, 'class': 'car'}]
        """
        return _table.arrow_table(self._columns(), self._further())

    def to_supervision(self) -> Any:
        """supervision.Detections of the same arrays, with all masks' pixels, and `data` as here. Needs supervision."""
        import supervision

        return supervision.Detections(
            xyxy=self.xyxy,
            mask=None if self.masks is None else np.asarray(self.masks),
            confidence=self.confidence,
            class_id=self.class_id,
            tracker_id=self.track_id,
            data=self.data,
        )

    def to_supervision_keypoints(self) -> Any:
        """supervision.KeyPoints of the same arrays. Needs supervision.

        Raises:
            ValueError: There are no keypoints.
        """
        import supervision

        if self.keypoints is None:
            raise ValueError("these detections have no keypoints")
        points, sure = self.keypoints[:, :, :2], self.keypoints[:, :, 2:]
        # Its older versions call it so.
        is_new = "keypoint_confidence" in inspect.signature(supervision.KeyPoints).parameters
        name = "keypoint_confidence" if is_new else "confidence"
        given = {name: sure[:, :, 0]} if sure.size else {}
        return supervision.KeyPoints(xy=points, class_id=self.class_id, data={"class_name": self.class_name}, **given)

    def _columns(self) -> dict[str, NDArray[Any]]:
        """The columns of tables that are always there."""
        x1, y1, x2, y2 = self.xyxy.T
        columns = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "confidence": self.confidence}
        return columns | {"class_id": self.class_id, "class": self.class_name}

    def _further(self) -> dict[str, list[Any]]:
        """The other keys of a record, in its order, with a value for each detection; None where there is none."""
        keys: dict[str, list[Any]] = {}
        if self.track_id is not None:
            keys["track_id"] = [number if number >= 0 else None for number in self.track_id.tolist()]
        if self.corners is not None:
            keys["corners"] = [_there(row) for row in shortest(self.corners)]
        if self.keypoints is not None:
            keys["keypoints"] = [_there(row) for row in shortest(self.keypoints)]
        if self.masks is not None:
            keys["mask"] = list(self.masks.rle)
        if self.classes is not None:
            keys["classes"] = [None if classes is None else classes.to_dicts() for classes in self.classes]
        if self.text is not None:
            keys["text"] = self.text.tolist()
        if self.text_confidence is not None:
            keys["text_confidence"] = [None if sure != sure else sure for sure in shortest(self.text_confidence)]
        if self.embedding is not None:
            rows = ([number for number in row if number == number] for row in shortest(self.embedding))
            keys["embedding"] = [row or None for row in rows]
        if self.detections is not None:
            keys["detections"] = [None if found is None else found.to_dicts() for found in self.detections]
        if self.regions is not None:
            keys["masks"] = [None if regions is None else regions.to_dicts() for regions in self.regions]
        if self.outputs is not None:
            keys["outputs"] = self.outputs.tolist()
        return keys


def _there(points: list[list[float]]) -> list[list[float]] | None:
    """Points without what is not there: NaN."""
    there = [[number for number in point if number == number] for point in points]
    return [point for point in there if point] or None


def _track_numbers(values: ArrayLike | SupportsDLPack, count: int) -> NDArray[np.int64]:
    array = numbers("track_id", values)
    if array.shape != (count,):
        raise ValueError(f"track_id has shape {list(array.shape)}: xyxy holds {count} boxes, so it is [{count}]")
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        raise ValueError("track_id holds numbers that are not whole")
    return array.astype(np.int64, copy=False)


def _points(
    name: str, values: ArrayLike | SupportsDLPack, count: int, most: list[int] | None, widths: list[int]
) -> NDArray[np.float32]:
    array = floats(name, values, some=True)
    fits = array.ndim == 3 and array.shape[2] in widths and (most is None or array.shape[1] in most)
    if array.size == 0 and count == 0 and not fits:  # none, as a list
        return np.zeros((0, most[0] if most else 0, widths[-1]), np.float32)
    if not fits or len(array) != count:
        middle = "k" if most is None else str(most[0])
        shape = " or ".join(f"[{count}, {middle}, {width}]" for width in widths)
        raise ValueError(f"{name} has shape {list(array.shape)}: xyxy holds {count} boxes, so it is {shape}")
    missing = np.isnan(array[:, :, :2])
    _check_ends(name, np.asarray(missing.any(2)))
    if (missing.any(2) != missing.all(2)).any() or (most is not None and (missing.any(1) != missing.all(1)).any()):
        raise ValueError(f"{name} has a point of which a part is NaN: NaN is for what is not there as a whole")
    return array


def _check_ends(name: str, missing: NDArray[np.bool_]) -> None:
    """Refuses gaps: what is not there comes after all that is."""
    if (missing[:, :-1] & ~missing[:, 1:]).any():
        row = int((missing[:, :-1] & ~missing[:, 1:]).any(1).argmax())
        raise ValueError(f"{name}[{row}] has NaN before numbers: give a point that is not seen a confidence of 0")


def _vectors(values: ArrayLike | SupportsDLPack, count: int) -> NDArray[np.float32]:
    array = floats("embedding", values, some=True)
    if array.shape == (0,) and count == 0:
        return array.reshape(0, 0)
    if array.ndim != 2 or len(array) != count:
        raise ValueError(f"embedding has shape {list(array.shape)}: xyxy holds {count} boxes, so it is [{count}, d]")
    _check_ends("embedding", np.isnan(array))
    return array


def _masks(masks: Any, count: int) -> Masks:
    made = masks if isinstance(masks, Masks) else Masks(masks)
    if len(made) != count:
        raise ValueError(f"masks are {len(made)}: xyxy holds {count} boxes, so they are {count}")
    return made
