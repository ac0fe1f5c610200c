"""Many results as one table."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidmill._detections import Detections
from vidmill._table import ORDER, arrow_columns, pandas_column

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from vidmill._run import Result

_CHUNK = 4096
"""So many results become columns at once; more need not be held."""


def to_arrow(results: "Iterable[Result]") -> "pyarrow.Table":
    """Results as one table of Arrow's, one row a detection: source, frame, pts, time, x1, y1, x2, y2, confidence, class_id, class, and
    what else they have (track_id, corners, keypoints, mask, ...; docs/RECORD.md tells the Parquet file's types, which these are).

        >>> with vidmill.run("street.mp4", "yolov8n.onnx", every=50) as run:
        ...     table = vidmill.to_arrow(run)
        >>> table.column_names[:5]
        ['source', 'frame', 'pts', 'time', 'x1']

    Results are taken as they come and not kept, so that a run can be given. Frames without detections, failed and dropped ones
    have no row. Needs pyarrow.
    """
    import pyarrow

    schema = pyarrow.schema(
        [
            pyarrow.field("source", pyarrow.string(), nullable=False),
            pyarrow.field("frame", pyarrow.int64(), nullable=False),
            ("pts", pyarrow.int64()),
            ("time", pyarrow.float64()),
            *((name, pyarrow.float32()) for name in ("x1", "y1", "x2", "y2", "confidence")),
            ("class_id", pyarrow.int64()),
            ("class", pyarrow.string()),
        ]
    )

    def table(columns: dict[str, Any], further: dict[str, list[Any]]) -> "pyarrow.Table":
        missing = {name: columns.pop(f"no {name}") for name in ("pts", "time")}
        arrays = [
            pyarrow.array(columns[field.name], field.type, mask=missing.get(field.name)) for field in schema
        ]
        made = pyarrow.table(arrays, schema=schema)
        for name, column in arrow_columns(further).items():
            made = made.append_column(name, column)
        return made

    # Not all results have the same.
    tables = [table(*chunk) for chunk in _chunks(results)]
    joined = pyarrow.concat_tables(tables, promote_options="default")
    return joined.select([*schema.names, *(name for name in ORDER if name in joined.column_names)])


def to_pandas(results: "Iterable[Result]") -> "pandas.DataFrame":
    """The same as a pandas table; where there is no `pts` it is NA, where there is no `time` NaN. Needs pandas.

    >>> with vidmill.run("street.mp4", "yolov8n.onnx", every=50) as run:
    ...     table = vidmill.to_pandas(run)
    >>> table.groupby("class")["confidence"].max().dtype
    dtype('float32')
    """
    import pandas

    def frame(columns: dict[str, Any]) -> "pandas.DataFrame":
        del columns["no time"]
        columns["pts"] = pandas.arrays.IntegerArray(columns["pts"], columns.pop("no pts"))
        return pandas.DataFrame(columns)

    chunks = [(frame(columns), further) for columns, further in _chunks(results)]
    for name in ORDER:
        if any(name in further for _, further in chunks):
            for table, further in chunks:
                table[name] = pandas_column(name, further.get(name) or [None] * len(table))
    return pandas.concat([table for table, _ in chunks], ignore_index=True)


_Chunk = tuple[dict[str, NDArray[Any]], dict[str, list[Any]]]


def _chunks(results: "Iterable[Result]") -> Iterator[_Chunk]:
    """The columns of so many results at a time, and masks of what is missing; then those that not all detections have. At least one
    chunk, so that types are known."""
    results = iter(results)
    chunk = list(islice(results, _CHUNK))
    yield _columns(chunk)
    while chunk := list(islice(results, _CHUNK)):
        yield _columns(chunk)


def _columns(results: "list[Result]") -> _Chunk:
    found = [(result, result.detections) for result in results if result.detections]
    counts = [len(detections) for _, detections in found]

    def of_frames(values: list[Any], dtype: Any) -> NDArray[Any]:
        return np.repeat(np.array(values, dtype), counts)

    frames = [result for result, _ in found]
    columns = {
        "source": of_frames([result.source for result in frames], object),
        "frame": of_frames([result.frame for result in frames], np.int64),
        "pts": of_frames([result.pts or 0 for result in frames], np.int64),
        "time": of_frames([np.nan if result.time is None else result.time for result in frames], np.float64),
        "no pts": of_frames([result.pts is None for result in frames], np.bool_),
        "no time": of_frames([result.time is None for result in frames], np.bool_),
    }
    parts = [detections for _, detections in found]
    return columns | _joined(parts)._columns(), _further(parts)


def _joined(parts: list[Detections]) -> Detections:
    """What all detections have, end to end."""
    if not parts:
        return Detections([], [], [])
    return Detections._of(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.class_id for part in parts]),
        np.concatenate([part.class_name for part in parts]),
    )


def _further(parts: list[Detections]) -> dict[str, list[Any]]:
    """The rest."""
    columns = [part._further() for part in parts]
    names = [name for name in ORDER if any(name in further for further in columns)]
    rows = list(zip(parts, columns, strict=True))
    return {name: [value for part, further in rows for value in further.get(name, [None] * len(part))] for name in names}
