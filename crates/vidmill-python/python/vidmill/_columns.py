"""Columns that users give, as arrays that are checked; and what becomes of them."""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vidmill import _vidmill
from vidmill._arrays import as_array
from vidmill._types import SupportsDLPack

_Scalar = TypeVar("_Scalar", bound=np.generic)
_LARGEST_CLASS = 2**31 - 1  # Parquet's column holds no more
BOXES = "xyxy holds {} boxes"
CLASSES = "class_id holds {} classes"


def numbers(name: str, values: ArrayLike | SupportsDLPack) -> NDArray[Any]:
    """A field that was given, as an array of numbers."""
    array = np.asarray(values) if isinstance(values, list | tuple) else as_array(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} holds {array.dtype}: give numbers")
    return array


def floats(name: str, values: ArrayLike | SupportsDLPack, *, some: bool = False) -> NDArray[np.float32]:
    """The same as 32-bit floats; with `some`, NaN is what is not there."""
    array = numbers(name, values)
    with np.errstate(over="ignore"):  # what becomes infinite is told next
        single = array.astype(np.float32, copy=False)
    fine = np.isfinite(single) | np.isnan(array) if some else np.isfinite(single)
    if not fine.all():
        where = np.argwhere(~fine)[0].tolist()
        raise ValueError(f"{name}{where} is {array[tuple(where)]}: give finite 32-bit numbers")
    return single


def confidences(
    name: str, values: ArrayLike | SupportsDLPack, count: int, *, some: bool = False, of: str = BOXES
) -> NDArray[np.float32]:
    """So many numbers from 0 to 1."""
    scores = column(name, floats(name, values, some=some), count, of)
    out_of_range = (scores < 0) | (scores > 1)
    if out_of_range.any():
        row = int(out_of_range.argmax())
        raise ValueError(f"{name}[{row}] is {scores[row]}: it is from 0 to 1")
    return scores


def class_numbers(values: ArrayLike | SupportsDLPack, count: int, of: str = BOXES) -> NDArray[np.int64]:
    """So many class numbers."""
    array = numbers("class_id", values)
    # Models give class numbers as floats, and so do many who pass them on. NaN is no whole number either.
    wrong = ~((array >= 0) & (array <= _LARGEST_CLASS) & (np.floor(array) == array))
    if wrong.any():
        where = np.argwhere(wrong)[0].tolist()
        raise ValueError(f"class_id{where} is {array[tuple(where)]}: give whole numbers from 0 to {_LARGEST_CLASS}")
    return column("class_id", array.astype(np.int64, copy=False), count, of)


def class_names(
    given: Sequence[str] | NDArray[np.str_] | None, class_id: NDArray[np.int64], of: str = BOXES
) -> NDArray[np.str_]:
    """A name for each class number; the number itself where none are given."""
    if given is None:
        return class_id.astype(np.str_)
    if isinstance(given, str):
        raise TypeError("class_name is one text for all: give one for each")
    return column("class_name", np.asarray(given, np.str_), len(class_id), of)


def column(name: str, array: NDArray[_Scalar], count: int, of: str = BOXES) -> NDArray[_Scalar]:
    """An array of so many elements."""
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {list(array.shape)}: {of.format(count)}, so it is [{count}]")
    return array


def objects(name: str, values: Sequence[Any] | NDArray[Any], kind: type | tuple[type, ...], count: int) -> NDArray[np.object_]:
    """A column of objects of one kind; None is what is not there."""
    if isinstance(values, str) or len(values) != count:
        given = "one text" if isinstance(values, str) else f"{len(values)} of them"
        raise ValueError(f"{name} is {given}: give one for each of {count} boxes, None where there is none")
    made = np.empty(count, np.object_)
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, kind):
            wanted = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise TypeError(f"{name}[{row}] is of type {type(value).__name__}: give {wanted}, or None")
        # NumPy's own texts are not those of Python.
        made[row] = str(value) if isinstance(value, str) else value
    return made


def shortest(array: NDArray[np.float32]) -> Any:
    """Lists of the shortest numbers that read back as the same 32-bit floats."""
    flat = np.ascontiguousarray(array, np.float32).reshape(-1)
    return _vidmill.shortest(flat).reshape(array.shape).tolist()


def as_json(value: Any) -> str:
    """JSON text of what a record holds, and of NumPy's numbers and arrays among it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array: NDArray[Any] = np.asarray(value)
        return shortest(array) if array.dtype == np.float32 else array.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def same(one: Any, other: Any) -> bool:
    """Whether two columns are equal; what is not there is equal to itself."""
    if one is None or other is None or not isinstance(one, np.ndarray):
        return (one is None and other is None) or (one is not None and other is not None and bool(one == other))
    if one.shape != other.shape:
        return False
    if one.dtype.kind == "O":
        return all(a is b or _equal(a, b) for a, b in zip(one, other, strict=True))
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)
