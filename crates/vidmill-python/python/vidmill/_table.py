"""Detections as the columns of tables."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidmill._columns import as_json

if TYPE_CHECKING:
    import pandas
    import pyarrow

ORDER = (
    "track_id", "corners", "keypoints", "mask", "classes", "text", "text_confidence", "embedding", "detections", "masks", "outputs",
)  # fmt: skip
"""The columns that not all detections have, as the Parquet file has them in its struct."""


def arrow_table(columns: dict[str, NDArray[Any]], further: dict[str, list[Any]]) -> "pyarrow.Table":
    """A table of the columns that are always there and those that are there now."""
    import pyarrow

    # An empty array of NumPy's texts does not say that it holds texts.
    types = {"class": pyarrow.string()}
    arrays = {name: pyarrow.array(values, types.get(name)) for name, values in columns.items()}
    return pyarrow.table(arrays | arrow_columns(further))


def arrow_columns(further: dict[str, list[Any]]) -> "dict[str, pyarrow.Array]":
    """Columns that not all detections have, in the Parquet file's types."""
    import pyarrow as pa

    floats = pa.list_(pa.float32())
    mask = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    of_class = [("class_id", pa.int32()), ("class", pa.string())]
    types = {
        "track_id": pa.int64(),
        "corners": pa.list_(floats),
        "keypoints": pa.list_(floats),
        "mask": mask,
        "classes": pa.list_(pa.struct([*of_class, ("confidence", pa.float32())])),
        "text": pa.string(),
        "text_confidence": pa.float32(),
        "embedding": floats,
        "masks": pa.list_(pa.struct([*of_class, ("mask", mask)])),
    }
    return {name: pa.array(values if name in types else _texts(values), types.get(name, pa.string())) for name, values in further.items()}


def _texts(values: list[Any]) -> list[str | None]:
    """JSON, for what has no type of its own."""
    return [None if value is None else as_json(value) for value in values]


def pandas_table(columns: dict[str, Any], further: dict[str, list[Any]]) -> "pandas.DataFrame":
    """The same as a table of pandas', whose nested values are Python's own."""
    import pandas

    return pandas.DataFrame(columns | {name: pandas_column(name, values) for name, values in further.items()})


def pandas_column(name: str, values: list[Any]) -> Any:
    """One further column of it."""
    import pandas

    if name == "track_id":
        return pandas.array(values, dtype="Int64")
    if name == "text_confidence":
        return np.array([np.nan if value is None else value for value in values], np.float32)
    return pandas.Series(values, dtype=object)
