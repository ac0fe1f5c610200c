"""What a worker process of `vidmill.Pool` runs."""

import pickle
import traceback
from collections.abc import Callable
from multiprocessing import process, spawn
from typing import Any

from vidmill._pickling import Packed, pack
from vidmill._vidmill import ViewKept, WorkerError, serve_pool

DONE, RAISED = 0, 1
"""What an answer's pickle is: the result, or an exception and its traceback as text."""

_Answer = tuple[int, bytes, list[memoryview]]


def serve() -> int:
    """Serves until the pool lets this process go; returns its exit code."""
    return serve_pool(_build, _refuse)


def _build(start: bytes) -> Callable[[Any, list[Any]], _Answer]:
    """Makes what is called for each item of what the pool was started with. Raises RuntimeError with all there is to be told."""
    try:
        told = pickle.loads(start)
        _prepare(told["main"])
        function = pickle.loads(told["function"])
        if isinstance(function, type):
            args, kwargs = pickle.loads(told["arguments"])
            function = _callable(function(*args, **kwargs))
    except BaseException as error:
        raise RuntimeError(_words(error)) from None
    return _Calls(function, told["by_value"])


def _prepare(main: dict[str, Any]) -> None:
    """Makes this process like the pool's, as multiprocessing does for processes that it spawns."""
    current: Any = process.current_process()
    current._inheriting = True
    try:
        spawn.prepare(main)
    finally:
        del current._inheriting


def _callable(instance: Any) -> Callable[..., Any]:
    predict = getattr(instance, "predict", None)
    if callable(predict):
        return predict  # type: ignore[no-any-return]
    if callable(instance):
        return instance  # type: ignore[no-any-return]
    raise TypeError(f"{type(instance).__qualname__} has neither predict nor __call__, one of which is called for each item")


class _Calls:
    """Calls the function. Whatever it raises is an answer."""

    def __init__(self, function: Callable[..., Any], by_value: bool) -> None:
        self.function, self.by_value = function, by_value

    def __call__(self, pickled: Any, buffers: list[Any]) -> _Answer:
        try:
            args, kwargs = pickle.loads(pickled, buffers=buffers)
            result = self.function(*args, **kwargs)
        except BaseException as error:
            return RAISED, *_exception(error, self.by_value)
        try:
            return DONE, *pack(result, by_value=self.by_value)
        except BaseException as error:
            BaseException.add_note(error, f"in a worker of vidmill.Pool, whose result ({type(result).__qualname__}) is to be sent back")
            return RAISED, *_exception(error, self.by_value)


def _refuse(reason: str, error: BaseException | None) -> _Answer:
    """The answer for an item whose own is not to be given."""
    refusal: Exception
    if reason == "kept":
        refusal = ViewKept(
            "the function keeps an array of its arguments, or a part of one, beyond the call; its memory is used again for "
            "other items: keep a copy, array.copy()"
        )
    else:
        refusal = WorkerError(f"the worker could not handle the item: {error}")
    return RAISED, *pack((refusal, None))


def _exception(error: BaseException, by_value: bool) -> Packed:
    """An exception and its traceback; lets go of all that its frames hold."""
    # What was called, without what calls it here.
    text = "".join(traceback.format_exception(_without_this(error)))
    # What would end the caller's program, or its iteration, is told instead.
    told: BaseException = error
    if not isinstance(error, Exception) or isinstance(error, StopIteration | StopAsyncIteration):
        told = WorkerError(f"the function raised {traceback.format_exception_only(error)[-1].strip()}")
    traceback.clear_frames(error.__traceback__)
    BaseException.with_traceback(error, None)
    try:
        packed = pack((told, text), by_value=by_value)
        if not isinstance(pickle.loads(packed[0], buffers=packed[1])[0], Exception):
            raise TypeError("its pickle is no exception")
    except BaseException:  # what is sent must be sure to arrive
        described = traceback.format_exception_only(error)[-1].strip()
        packed = pack((WorkerError(f"{described} (the exception itself cannot be sent)"), text))
    return packed


def _without_this(error: BaseException) -> BaseException:
    trace = error.__traceback__
    return error.with_traceback(trace.tb_next) if trace and trace.tb_next else error


def _words(error: BaseException) -> str:
    """First what is wrong, then, after an empty line, where. `_pool.py` takes it apart."""
    only = "".join(traceback.format_exception_only(error)).strip()
    return f"{only}\n\n{''.join(traceback.format_exception(_without_this(error)))}"
