"""What a model finds in an image, whatever it is for."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidmill._classes import Classes, Regions
from vidmill._columns import as_json, same, shortest
from vidmill._detections import Detections


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found in one image: what the model gives is there, all else is None.

        >>> image = np.zeros((272, 640, 3), np.uint8)
        >>> [found] = vidmill.load("yolov8n.onnx").find([image])
        >>> found.detections.class_name.tolist(), found.classes
        (['person', 'car'], None)
        >>> vidmill.Found(text="STOP", text_confidence=0.75).to_json()
        '{"text":"STOP","text_confidence":0.75}'

    A predictor of your own may return it, too (docs/PYTHON.md).
    """

    detections: Detections | None = None
    """Objects, by falling confidence; None where the model is no detector."""
    classes: Classes | None = None
    """What it is as a whole."""
    masks: Regions | None = None
    """Which pixels belong to which class."""
    text: str | None = None
    """What it reads."""
    text_confidence: float | None = None
    """How sure the text is, 0 to 1."""
    embedding: NDArray[np.float32] | None = None
    """It as a vector: [d]."""
    outputs: Any = None
    """What the model gives that vidmill does not decode."""

    def __eq__(self, other: object) -> bool:
        return all_same(self, other) if isinstance(other, Found) else NotImplemented

    def to_dict(self) -> dict[str, Any]:
        """The record's keys of it (docs/RECORD.md).

        >>> vidmill.Found(embedding=np.array([0.5, 0.1], np.float32)).to_dict()
        {'embedding': [0.5, 0.1]}
        """
        return keys_of(self)

    def to_json(self) -> str:
        """The same as JSON text.

        >>> vidmill.Found(classes=vidmill.Classes([0.5], [3])).to_json()
        '{"classes":[{"class_id":3,"class":"3","confidence":0.5}]}'
        """
        return as_json(self.to_dict())


def all_same(one: Any, other: Any) -> bool:
    """Whether two dataclasses of a kind are equal, arrays by their numbers."""
    return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))


def keys_of(found: Any) -> dict[str, Any]:
    """The keys that a record has of what has the fields of `Found`."""
    keys = {
        "detections": None if found.detections is None else found.detections.to_dicts(),
        "classes": None if found.classes is None else found.classes.to_dicts(),
        "masks": None if found.masks is None else found.masks.to_dicts(),
        "text": found.text,
        "text_confidence": found.text_confidence,
        "embedding": None if found.embedding is None else shortest(found.embedding),
        "outputs": found.outputs,
    }
    return {key: value for key, value in keys.items() if value is not None}
