"""vidmill.Detections as users make them, and the forms that they go out in."""

import copy
import dataclasses
import json
import pickle

import make_models
import numpy as np
import pyarrow
import pytest
import vidmill

NAMES = list(make_models.NAMES)


@pytest.fixture(scope="module")
def results(clips, models):
    with vidmill.run([clips / "h264.mp4", clips / "images_png"], models / "yolov8.onnx", every=2) as run:
        return list(run)


@pytest.fixture(scope="module")
def found(results):
    return max((result.detections for result in results), key=len)


def test_users_make_them_of_lists_and_arrays(found):
    made = vidmill.Detections(
        xyxy=found.xyxy.tolist(), confidence=found.confidence.tolist(), class_id=found.class_id.tolist(), class_name=found.class_name.tolist()
    )
    assert made == found
    assert [getattr(made, field.name).dtype for field in dataclasses.fields(made)[:3]] == [np.float32, np.float32, np.int64]
    as_floats = vidmill.Detections(found.xyxy.astype(float), found.confidence.astype(float), found.class_id.astype(float), found.class_name)
    assert as_floats == found
    same = vidmill.Detections(found.xyxy, found.confidence, found.class_id, found.class_name)
    assert all(getattr(same, name) is getattr(found, name) for name in ("xyxy", "confidence", "class_id", "class_name"))


def test_names_are_numbers_where_none_are_given():
    made = vidmill.Detections([[0, 0, 1, 1], [2, 2, 3, 3]], [0.9, 0.8], [7, 12])
    assert made.class_name.tolist() == ["7", "12"]
    for nothing in (vidmill.Detections([], [], []), vidmill.Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), [])):
        assert len(nothing) == 0 and nothing.xyxy.shape == (0, 4) and nothing.to_json() == "[]"
        assert nothing.to_arrow().schema.field("class").type == pyarrow.string()


def test_they_are_copied_pickled_and_replaced(found):
    assert copy.copy(found) == copy.deepcopy(found) == pickle.loads(pickle.dumps(found)) == found
    assert dataclasses.replace(found, class_name=["x"] * len(found)).class_name.tolist() == ["x"] * len(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.xyxy = None


BOX = [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([0, 0, 1, 1], [0.5], [1]), ValueError, r"xyxy has shape \[4\]: it is \[n, 4\]"),
        (([[0, 0, 1]], [0.5], [1]), ValueError, r"xyxy has shape \[1, 3\]"),
        ((BOX, [0.5, 0.6], [1]), ValueError, r"confidence has shape \[2\]: xyxy holds 1 boxes, so it is \[1\]"),
        ((BOX, 0.5, [1]), TypeError, "float"),
        ((BOX, [0.5], [1, 2]), ValueError, r"class_id has shape \[2\]"),
        ((BOX, [0.5], [1], ["a", "b"]), ValueError, r"class_name has shape \[2\]"),
        ((BOX, [0.5], [1], "car"), TypeError, "one text for all"),
        ((BOX, [50], [1]), ValueError, r"confidence\[0\] is 50.0: it is from 0 to 1"),
        ((BOX, [float("nan")], [1]), ValueError, r"confidence\[0\] is nan"),
        (([[0, 0, 1e39, 1]], [0.5], [1]), ValueError, r"xyxy\[0, 2\] is 1e\+39"),
        ((BOX, [0.5], [-1]), ValueError, r"class_id\[0\] is -1: give whole numbers"),
        ((BOX, [0.5], [1.5]), ValueError, r"class_id\[0\] is 1.5"),
        ((BOX, [0.5], [float("nan")]), ValueError, r"class_id\[0\] is nan"),
        ((BOX, [0.5], ["car"]), TypeError, "class_id holds <U3: give numbers"),
        (([["a", 0, 1, 1]], [0.5], [1]), TypeError, "xyxy holds"),
        ((BOX, [0.5], None), TypeError, "NoneType"),
    ],
    ids=str,
)
def test_what_does_not_serve_is_told(arguments, error, message):
    with pytest.raises(error, match=message):
        vidmill.Detections(*arguments)


def test_the_engines_own_way_stays_cheap(found):
    """Checks are for users: what the engine makes skips them."""
    odd = vidmill.Detections._of(found.xyxy, found.confidence - 2, found.class_id, found.class_name)
    assert odd[:1].confidence[0] < 0


def test_ultralytics_makes_the_same_of_the_same_boxes(found, ultralytics):
    rows = np.column_stack([found.xyxy, found.confidence, found.class_id])
    expected = ultralytics.ask(rows, do="summary", names=NAMES)
    assert len(expected) == len(found) > 3
    assert found.to_ultralytics() == expected
    assert [list(row) for row in found.to_ultralytics()] == [list(row) for row in expected]
    assert json.loads(json.dumps(found.to_ultralytics())) == expected
    assert found.to_ultralytics(decimals=1)[0]["confidence"] == round(float(found.confidence[0]), 1)
    assert found[:0].to_ultralytics() == []


def test_arrow_and_pandas_have_the_same_columns(found):
    table, frame = found.to_arrow(), found.to_pandas()
    assert table.column_names == list(frame.columns)
    assert table.to_pandas().equals(frame.astype({"class": table.to_pandas()["class"].dtype}))
    assert str(table.schema.field("x1").type) == "float" and str(table.schema.field("class_id").type) == "int64"


def rows_of(results):
    """One row a detection, from the records."""
    return [
        {key: record[key] for key in ("source", "frame", "pts", "time")}
        | dict(zip(("x1", "y1", "x2", "y2"), found["xyxy"], strict=True))
        | {key: found[key] for key in ("confidence", "class_id", "class")}
        for record in (result.to_dict() for result in results)
        for found in record.get("detections", ())
    ]


def as_float32(rows):
    numbers = ("x1", "y1", "x2", "y2", "confidence")
    return [row | {name: float(np.float32(row[name])) for name in numbers} for row in rows]


@pytest.mark.parametrize("chunk", [1, 3, 4096])
def test_results_become_one_table(results, chunk, monkeypatch):
    from vidmill import _tables

    monkeypatch.setattr(_tables, "_CHUNK", chunk)
    expected = as_float32(rows_of(results))
    assert {row["pts"] is None for row in expected} == {True, False}
    table = vidmill.to_arrow(results)
    assert table.to_pylist() == expected
    assert not table.schema.field("source").nullable
    frame = vidmill.to_pandas(iter(results))
    assert list(frame.columns) == table.column_names and str(frame["pts"].dtype) == "Int64"
    assert frame["pts"].isna().tolist() == [row["pts"] is None for row in expected]
    assert frame["x1"].tolist() == [row["x1"] for row in expected]
    assert frame["class"].tolist() == [row["class"] for row in expected]


def test_a_run_becomes_a_table_while_it_goes_on(clips, models):
    with vidmill.run(clips / "h264.mp4", models / "yolov8.onnx") as run:
        table = vidmill.to_arrow(run)
    assert run.manifest["complete"] and len(table) > 10


def test_no_results_are_a_table_of_the_same_columns(results):
    for none in ([], [vidmill.Result("a.mp4", 3, None, None, "failed", error="no memory", attempts=1)]):
        assert vidmill.to_arrow(none).schema == vidmill.to_arrow(results).schema and len(vidmill.to_arrow(none)) == 0
        nothing, some = vidmill.to_pandas(none), vidmill.to_pandas(results)
        assert len(nothing) == 0 and list(nothing.columns) == list(some.columns)
        assert nothing.dtypes.drop(["source", "class"]).equals(some.dtypes.drop(["source", "class"]))
