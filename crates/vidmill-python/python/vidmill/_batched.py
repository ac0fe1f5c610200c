"""Batches: many items through a predictor that takes several at once."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from vidmill._arrays import as_array
from vidmill._predictor import Predictor

R = TypeVar("R")
K = TypeVar("K")

@overload
def batched(
    items: Iterable[Any], predictor: Predictor[list[R]] | Callable[[NDArray[Any]], list[R]], batch_size: int
) -> Iterator[R]: ...
@overload
def batched(
    items: Iterable[Any],
    predictor: Predictor[Mapping[K, Any]] | Callable[[NDArray[Any]], Mapping[K, Any]],
    batch_size: int,
) -> Iterator[dict[K, Any]]: ...
@overload
def batched(
    items: Iterable[Any], predictor: Predictor[Any] | Callable[[NDArray[Any]], Any], batch_size: int
) -> Iterator[Any]: ...
def batched(
    items: Iterable[Any], predictor: Predictor[Any] | Callable[[NDArray[Any]], Any], batch_size: int
) -> Iterator[Any]:
    """Runs a predictor on items in batches; yields one result for each item, in order.

    >>> frames = (np.full((2, 2), n) for n in range(5))
    >>> [int(mean) for mean in vidmill.batched(frames, lambda batch: batch.mean(axis=(1, 2)), 2)]
    [0, 1, 2, 3, 4]

    Items are taken only as they are needed, `batch_size` at a time, so they may be endless. Arrays of one shape and type are stacked
    in one buffer, [n, ...], which is used again for the next batch: a predictor that keeps its batch must copy it. Where shape or type
    changes, a batch ends early; so does the last one. An item's array is whatever NumPy makes of it (frames, tensors in the
    CPU's memory, buffers).

    What the predictor returns for n items is taken apart: an array [n, ...] or a list by its first dimension; of a mapping or a tuple
    (several outputs), each value is, and each item gets a mapping or a tuple of its own. Arrays are views of the predictor's output.

    Args:
        items: Arrays.
        predictor: Something with `predict`, or else a callable.
        batch_size: Most items of a batch, at least 1.

    Raises:
        ValueError: The predictor returned results for more or fewer items than it got.
        TypeError: What it returned cannot be taken apart.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"batch_size={batch_size!r}: an integer is needed")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: at least 1 is needed")
    return _batched(iter(items), _function(predictor), int(batch_size))


def _batched(items: Iterator[Any], predict: Callable[[NDArray[Any]], Any], size: int) -> Iterator[Any]:
    buffer, filled = np.empty((0,)), 0
    for item in items:
        array = as_array(item)
        if array.shape != buffer.shape[1:] or array.dtype != buffer.dtype or not len(buffer):
            if filled:
                yield from _taken_apart(predict(buffer[:filled]), filled)
            buffer, filled = np.empty((size, *array.shape), array.dtype), 0
        elif filled == 0 and sys.getrefcount(buffer) > _UNSHARED:
            # A result that was given out, of whatever kind, is a view of it.
            buffer = np.empty_like(buffer)
        buffer[filled] = array
        filled += 1
        # Neither an item nor its results are held while the next is waited for.
        del item, array
        if filled == size:
            yield from _taken_apart(predict(buffer[:filled]), filled)
            filled = 0
    if filled:
        yield from _taken_apart(predict(buffer[:filled]), filled)


_UNSHARED = 2
"""References to what nobody else holds, as sys.getrefcount counts: the variable, and its own argument."""


def _taken_apart(output: Any, count: int) -> list[Any]:
    """One result for each item."""
    if isinstance(output, Mapping):
        parts = {name: _rows(value, count, f" in its output {name!r}") for name, value in output.items()}
        return [{name: rows[number] for name, rows in parts.items()} for number in range(count)]
    if isinstance(output, tuple):
        columns = [_rows(value, count, f" in its output {number}") for number, value in enumerate(output)]
        return [_tuple(type(output), [rows[number] for rows in columns]) for number in range(count)]
    return _rows(output, count, "")


def _rows(output: Any, count: int, where: str) -> list[Any]:
    try:
        if isinstance(output, str | bytes):
            raise TypeError
        length = len(output)
        rows = list(output) if isinstance(output, Sequence) else [output[number] for number in range(min(length, count))]
    except (TypeError, KeyError, IndexError):
        raise TypeError(
            f"the predictor returned {_kind(output)}{where}, which is no array or list with one result for each item"
        ) from None
    if length != count:
        raise ValueError(f"the predictor returned {length} results{where} for a batch of {count} items")
    return rows


def _tuple(kind: type[Any], values: list[Any]) -> Any:
    return kind(*values) if hasattr(kind, "_fields") else tuple(values)


@overload
def run_inference(predictor: Predictor[R], batch: Any) -> R: ...
@overload
def run_inference(predictor: Callable[[NDArray[Any]], R], batch: Any) -> R: ...
def run_inference(predictor: Any, batch: Any) -> Any:
    """Runs a predictor on one batch; returns what it returns.

    >>> vidmill.run_inference(lambda batch: batch.sum(axis=1), np.ones((2, 3))).tolist()
    [3.0, 3.0]

    Args:
        predictor: Something with `predict`, or else a callable.
        batch: An array [n, ...], or anything that lends its memory as one: tensors of any framework in the CPU's memory (DLPack), buffers
            (memoryview, array.array), whatever has `__array__`. The predictor gets a C-contiguous array: the same memory, unless it
            has gaps or another order.

    Raises:
        TypeError: It is no array of numbers.
        ValueError: It has no first dimension, or lies in a device's memory.
    """
    array = as_array(batch)
    if array.dtype.hasobject:
        raise TypeError(f"a batch is an array of numbers, not of {array.dtype}")
    if array.ndim == 0:
        raise ValueError("a batch has a first dimension that counts its items; this is a single number")
    return _function(predictor)(np.ascontiguousarray(array))


def _function(predictor: Any) -> Callable[[NDArray[Any]], Any]:
    predict = getattr(predictor, "predict", None)
    function = predict if callable(predict) else predictor
    if not callable(function):
        raise TypeError(f"a predictor has a method predict or can be called; {_kind(predictor)} has and can neither")
    return function  # type: ignore[no-any-return]


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
