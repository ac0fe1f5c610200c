"""All that a model may find: masks, keypoints, corners, classes, text, embeddings, and what is found within a detection."""

import copy
import csv
import dataclasses
import json
import pickle
import sys
import types

import numpy as np
import predictors
import pyarrow.parquet as parquet
import pytest
import support
import vidmill
from onnx_graph import Graph
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


@pytest.fixture(autouse=True)
def _python(monkeypatch):
    monkeypatch.setenv("VIDMILL_PYTHON", sys.executable)


FULL = predictors.Everything.detections()


def blobs(count, height=48, width=64, seed=3):
    """Masks of several parts, with holes, at the edges, empty and full."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), bool)
    for mask in masks[:-2]:
        for _ in range(random.integers(1, 5)):
            y, x = random.integers(0, height), random.integers(0, width)
            rows, columns = np.ogrid[:height, :width]
            radius = random.integers(2, 14)
            mask ^= (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    masks[-1] = True
    return masks


def test_masks_are_those_of_pycocotools():
    pixels = blobs(20)
    masks = vidmill.Masks(pixels)
    theirs = coco_mask.encode(np.asfortranarray(pixels.transpose(1, 2, 0).astype(np.uint8)))
    assert [mask["counts"].encode() for mask in masks.rle] == [mask["counts"] for mask in theirs]
    assert masks == vidmill.Masks(theirs) == vidmill.Masks(masks) == vidmill.Masks(pixels.astype(np.int16) * 7)
    assert np.array_equal(coco_mask.decode(masks.rle).transpose(2, 0, 1), pixels)
    assert np.array_equal(np.asarray(masks), pixels) and np.asarray(masks).dtype == np.bool_
    assert np.array_equal(np.asarray(masks, np.uint8), pixels)
    assert masks.area.tolist() == coco_mask.area(theirs).tolist()
    assert masks.shape == pixels.shape and len(masks) == 20
    for which in (slice(3, 9), [5, 2, 2], pixels[:, 0, 0], np.array([1, 4]), slice(None, None, -1), [], slice(0, 0)):
        assert isinstance(masks[which], vidmill.Masks)
        expected = pixels[which]
        assert np.array_equal(np.asarray(masks[which]), expected if len(expected) else np.zeros((0, 0, 0), bool))
    assert all(np.array_equal(one, other) for one, other in zip(masks, pixels, strict=True))
    assert np.array_equal(masks[-1], pixels[-1]) and np.array_equal(masks[np.int64(2)], pixels[2])
    assert copy.deepcopy(masks) == pickle.loads(pickle.dumps(masks)) == masks != masks[:3]
    with pytest.raises(IndexError):
        masks[20]


def test_masks_that_are_not_there_are_clear():
    masks = vidmill.Masks([None, vidmill.Masks(np.ones((1, 3, 5), bool)).rle[0]])
    assert masks.shape == (2, 3, 5) and masks.area.tolist() == [0, 15] and not masks[0].any()
    assert vidmill.Masks([None]).shape == (1, 0, 0) and vidmill.Masks([]).shape == (0, 0, 0)
    assert np.asarray(vidmill.Masks([])).shape == (0, 0, 0)


def test_many_large_masks_stay_small():
    """300 of full HD are 622 MB of pixels: they are never there at once."""
    import tracemalloc

    one = np.zeros((1, 1080, 1920), bool)
    one[0, 100:900, 300:1700] = True
    rle = vidmill.Masks(one).rle[0]
    tracemalloc.start()
    found = vidmill.Detections(
        np.tile([[0, 0, 9, 9]], (300, 1)), np.full(300, 0.5), np.zeros(300, int), masks=[rle] * 300
    )
    assert found[::2].masks.area.sum() == 150 * 800 * 1400
    assert sum(int(mask[500, 500]) for mask in found.masks) == 300
    found.to_dicts()
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        (np.ones((2, 3)), TypeError, "booleans"),
        (np.ones((2, 3), bool), ValueError, r"\[n, height, width\]"),
        ([{"size": [2, 3]}], ValueError, "mask 0 is no run-length"),
        ([{"size": [2, 3], "counts": [6]}], TypeError, "compress"),
        ([{"size": [2, 3], "counts": "07"}], ValueError, "mask 0: .* 6"),
        ([{"size": [2, 3], "counts": "6"}, {"size": [3, 2], "counts": "6"}], ValueError, "of one size"),
        ([{"size": [-2, 3], "counts": "6"}], ValueError, "mask 0"),
        ("abc", TypeError, "array"),
        (7, TypeError, "array"),
    ],
    ids=str,
)
def test_what_is_no_mask_is_told(masks, error, message):
    with pytest.raises(error, match=message):
        vidmill.Masks(masks)


def test_all_columns_stay_in_step():
    for which in ([1], [1, 0], slice(1, 2), FULL.confidence > 0.6, np.array([0]), slice(None, None, -1), slice(0, 0)):
        part = FULL[which]
        expected = [FULL.to_dicts()[row] for row in np.arange(2)[which]]
        assert part.to_dicts() == expected and len(part) == len(expected)
    assert FULL[[0, 1]] == FULL != FULL[[1, 0]]
    for name in [field.name for field in dataclasses.fields(FULL)][4:]:
        column = getattr(FULL, name)
        if column is not None:
            assert len(column) == 2
            assert dataclasses.replace(FULL, **{name: None}) != FULL, name
            assert dataclasses.replace(FULL, **{name: column}) == FULL, name
    assert copy.copy(FULL) == copy.deepcopy(FULL) == pickle.loads(pickle.dumps(FULL)) == FULL
    assert "masks=<vidmill.Masks of 2, 320x320>" in repr(FULL) and "track_id" not in repr(FULL)
    rows = FULL.to_dicts()
    assert list(rows[0]) == [
        "xyxy", "confidence", "class_id", "class", "corners", "keypoints", "mask", "classes", "embedding", "detections", "outputs",
    ]  # fmt: skip
    assert rows[1]["embedding"] == [1.0, 2.0] and rows[1]["text"] == "7" and rows[0]["embedding"] == [0.5, -0.1, 3.0]
    assert json.loads(vidmill.Found(detections=FULL[1:]).to_json())["detections"][0]["masks"][0]["class_id"] == 1


BOX = [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("track_id", [1, 2], ValueError, r"track_id has shape \[2\]"),
        ("track_id", [1.5], ValueError, "not whole"),
        ("corners", [[[0, 0], [1, 0], [1, 1]]], ValueError, r"corners has shape \[1, 3, 2\].*\[1, 4, 2\]"),
        ("keypoints", [[[0, 0, 0, 0]]], ValueError, r"\[1, k, 2\] or \[1, k, 3\]"),
        ("keypoints", [[[0, np.inf]]], ValueError, r"keypoints\[0, 0, 1\] is inf"),
        ("keypoints", [[[np.nan, np.nan], [1, 1]]], ValueError, "NaN before numbers"),
        ("keypoints", [[[1, np.nan]]], ValueError, "a part is NaN"),
        ("corners", [[[0, 0], [1, 0], [1, 1], [np.nan, np.nan]]], ValueError, "a part is NaN"),
        ("masks", np.ones((2, 4, 4), bool), ValueError, "masks are 2"),
        ("masks", [{"size": [1, 1]}], ValueError, "mask 0"),
        ("text", "a", ValueError, "one text"),
        ("text", [7], TypeError, r"text\[0\] is of type int: give str"),
        ("text_confidence", [1.5], ValueError, r"text_confidence\[0\] is 1.5"),
        ("embedding", [1, 2], ValueError, r"\[1, d\]"),
        ("embedding", [[np.nan, 1]], ValueError, "NaN before numbers"),
        ("classes", [[0.5]], TypeError, "give Classes"),
        ("detections", [None, None], ValueError, "2 of them"),
        ("regions", [vidmill.Classes([0.5], [1])], TypeError, "give Regions"),
    ],
    ids=str,
)
def test_columns_that_do_not_serve_are_told(field, value, error, message):
    with pytest.raises(error, match=message):
        vidmill.Detections(BOX, [0.5], [1], **{field: value})


def test_classes_and_regions():
    classes = vidmill.Classes([0.75, 0.1], [4, 9])
    assert classes.class_name.tolist() == ["4", "9"] and len(classes) == 2 and classes[:1] != classes == copy.copy(classes)
    assert vidmill.Classes([], []).to_dicts() == []
    with pytest.raises(ValueError, match=r"confidence has shape \[1\]: class_id holds 2 classes"):
        vidmill.Classes([0.5], [1, 2])
    pixels = blobs(5)[:2]
    pixels[1] &= ~pixels[0]
    regions = vidmill.Regions([7, 3], pixels, ["sky", "road"])
    expected = np.select([pixels[0], pixels[1]], [7, 3], -1)
    assert np.array_equal(regions.class_map(), expected) and regions.class_map(255).max() == 255
    assert regions[regions.class_id == 3].class_name.tolist() == ["road"] and regions == pickle.loads(pickle.dumps(regions))
    for arguments, message in [(([1], pixels), "2 masks for 1"), (([1], [None]), "leave it out")]:
        with pytest.raises(ValueError, match=message):
            vidmill.Regions(*arguments)


def test_results_are_compared_by_their_numbers():
    one = vidmill.Found(embedding=np.arange(3, dtype=np.float32), detections=FULL)
    assert one == copy.deepcopy(one) != dataclasses.replace(one, embedding=np.zeros(3, np.float32))
    result = vidmill.Result("a.mp4", 1, None, None, "ok", embedding=np.arange(3, dtype=np.float32))
    assert result == copy.deepcopy(result) != dataclasses.replace(result, text="a")


@pytest.fixture(scope="module")
def everything(bikes, tmp_path_factory):
    """One run with all that a record may hold, and its records by format."""
    folder = tmp_path_factory.mktemp("everything")
    formats = ("jsonl", "csv", "parquet", "json")
    results = []
    for ending in formats:
        with vidmill.run(bikes, predictors.Everything, every=100, end=6, out=folder / f"out.{ending}") as run:
            results.append(list(run))
    assert results[0] == results[1] == results[2] == results[3] and len(results[0]) >= 2
    return types.SimpleNamespace(results=results[0], lines=support.read_jsonl(folder / "out.jsonl"), folder=folder)


def test_a_predictors_results_are_put_in_pixels_of_the_frame(everything):
    result = everything.results[0]
    found = result.detections
    assert found.confidence.tolist() == [0.75, 0.5] and found.class_name.tolist() == ["cat", "cow"]
    assert found.xyxy.tolist() == [[200, 116, 260, 196], [0, 0, 320, 136]]
    assert found.corners[0].tolist() == [[200, 116], [260, 120], [260, 196], [196, 192]]
    assert found.keypoints.tolist() == [[[220, 136, 1], [240, 156, 0.25]], [[10, 6, 0.5], [600, 0, np.float32(0.1)]]]
    pixels = np.zeros((2, 272, 640), bool)
    pixels[0, 116:196, 200:260] = np.tri(40, 30, dtype=bool).repeat(2, 0).repeat(2, 1)
    pixels[1, :20, :40] = True
    assert np.array_equal(np.asarray(found.masks), pixels)
    assert np.array_equal(np.asarray(found.regions[0].masks), pixels[:1]) and found.regions[1] is None
    assert found.regions[0].class_name.tolist() == ["dog"]
    assert found.classes[1].class_name.tolist() == ["dog", "red"] and found.classes[0] is None
    assert found.text.tolist() == ["7", None] and np.array_equal(found.text_confidence, [0.5, np.nan], equal_nan=True)
    assert np.array_equal(found.embedding, np.float32([[1, 2, np.nan], [0.5, -0.1, 3]]), equal_nan=True)
    assert found.outputs.tolist() == [None, {"a": 0.1}]
    inner = found.detections[1]
    assert inner.xyxy.tolist() == [[40, 16, 60, 36]] and inner.text.tolist() == ["AB 12"]
    assert inner.class_name.tolist() == ["dog"] and found.detections[0] is None
    assert result.classes.class_name.tolist() == ["dog", "cat"] and result.text == "STOP" and result.text_confidence == 0.3
    assert result.embedding.dtype == np.float32 and result.outputs == [1, None]
    labels = result.masks.class_map()
    assert labels.shape == (272, 640) and (labels[:136] == 0).all() and (labels[136:] == 9).all()
    assert result.masks.class_name.tolist() == ["sky", "road"]


def test_results_are_the_records(everything):
    assert [result.to_dict() for result in everything.results] == everything.lines
    assert list(everything.results[0].to_dict()) == list(everything.lines[0])
    assert [json.loads(result.to_json()) for result in everything.results] == everything.lines


def test_parquet_has_all_of_them(everything):
    table = parquet.read_table(everything.folder / "out.parquet")
    for line, row in zip(everything.lines, table.to_pylist(), strict=True):
        row["outputs"] = json.loads(row["outputs"])
        for found in row["detections"]:
            found["xyxy"] = [found.pop(side) for side in ("x1", "y1", "x2", "y2")]
            for key in ("detections", "outputs"):
                found[key] = None if found[key] is None else json.loads(found[key])
        assert without_nothing(row) == as_single(line)


def without_nothing(value):
    """A row of Parquet's without nulls."""
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def as_single(value, key=""):
    """A record with numbers as Parquet's 32-bit floats give them; what is JSON in both stays."""
    if isinstance(value, dict):
        return {key: item if key in ("time", "outputs") else as_single(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [item if key == "detections" and "text" in item and "embedding" not in item else as_single(item, key) for item in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def test_csv_has_all_of_them(everything):
    with open(everything.folder / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for line in everything.lines:
        own, *boxes = [row for row in rows if int(row["frame"]) == line["frame"]]
        assert not own["x1"] and cells(own) == {key: line[key] for key in KEYS if key in line and key != "detections"}
        assert len(boxes) == len(line["detections"])
        for row, found in zip(boxes, line["detections"], strict=True):
            assert [float(row[side]) for side in ("x1", "y1", "x2", "y2")] == found["xyxy"] and row["class"] == found["class"]
            assert cells(row) == {key: found[key] for key in KEYS if key in found}


KEYS = ("outputs", "track_id", "corners", "keypoints", "mask", "classes", "text", "text_confidence", "embedding", "detections", "masks")


def cells(row):
    return {key: row[key] if key == "text" else json.loads(row[key]) for key in KEYS if row[key]}


def test_pycocotools_reads_and_rates_them(everything, tmp_path):
    """Against a truth made of the very same: everything is found."""
    annotations = [
        {
            "id": number + 1, "image_id": line["frame"], "category_id": found["class_id"], "iscrowd": 0,
            "bbox": [*found["xyxy"][:2], found["xyxy"][2] - found["xyxy"][0], found["xyxy"][3] - found["xyxy"][1]],
            "area": int(coco_mask.area(found["mask"])), "segmentation": found["mask"],
            "keypoints": [n for x, y, _ in found["keypoints"] for n in (x, y, 2)], "num_keypoints": 2,
        }
        for number, (line, found) in enumerate((line, found) for line in everything.lines for found in line["detections"])
    ]  # fmt: skip
    truth = {
        "info": {},
        "images": [{"id": line["frame"], "width": 640, "height": 272} for line in everything.lines],
        "annotations": annotations,
        "categories": [{"id": n, "name": str(n)} for n in (0, 2)],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    coco = COCO(str(tmp_path / "truth.json"))
    loaded = coco.loadRes(str(everything.folder / "out.json"))
    assert len(loaded.anns) == len(annotations)
    for found, expected in zip(loaded.anns.values(), annotations, strict=True):
        assert np.array_equal(loaded.annToMask(found), coco.annToMask(expected)) and coco.annToMask(expected).any()
    for kind in ("bbox", "segm", "keypoints"):
        rating = COCOeval(coco, loaded, kind)
        rating.params.kpt_oks_sigmas = np.array([0.05, 0.05])
        rating.params.areaRng, rating.params.areaRngLbl = [[0, 1e10]], ["all"]
        rating.evaluate()
        rating.accumulate()
        precision = rating.eval["precision"]
        assert (precision[precision >= 0] == 1).all() and (precision >= 0).any(), kind


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("classes", "classes", [{"class_id": 3, "class": "car", "confidence": 0.75}, {"class_id": 1, "class": "dog", "confidence": 0.2}]),
        ("masks", "masks", None),
        ("text", "text", "STOP"),
        ("embedding", "embedding", [0.0, 1.0, 2.0]),
    ],
)
def test_frames_without_detections_have_their_results(clips, detect, monkeypatch, tmp_path, kind, key, value):
    monkeypatch.setenv("TEST_RESULT", kind)
    model = f"{predictors.__file__}:Kinds"
    records = detect(clips / "h264.mp4", model, "--every", 8, out="o.jsonl").records
    assert len(records) == 3
    for record in records:
        assert set(record) - {"source", "frame", "pts", "time", "status", "text_confidence"} == {key}
        assert value is None or record[key] == value
    rows = list(csv.DictReader(detect(clips / "h264.mp4", model, "--every", 8, out="o.csv").path.open()))
    assert [cells(row)[key] for row in rows] == [record[key] for record in records]
    refused = detect(clips / "h264.mp4", model, "--every", 8, out="o.json", code=1)
    assert f"COCO results hold detections, and frame 0 of" in refused.done.err and key in refused.done.err


@pytest.mark.parametrize("kind", ["mask", "keypoints", "supervision"])
def test_other_ways_to_say_it(clips, monkeypatch, kind):
    monkeypatch.setenv("TEST_RESULT", kind)
    with vidmill.run(clips / "h264.mp4", predictors.Kinds, every=20) as run:
        found = next(run).detections
    # 320 x 136 in 160 x 160: half the size, 46 rows above.
    if kind == "keypoints":
        assert found.keypoints.tolist() == [[[2, -88], [160, 68]]]
        return
    assert np.asarray(found.masks).all() and found.masks.shape == (1, 136, 320)
    if kind == "supervision":
        assert found.corners.tolist() == [[[0, -92], [320, -92], [320, 228], [0, 228]]]
        assert found.class_name.tolist() == ["car"] and found.confidence.tolist() == [1]


def test_tables_have_what_is_there(everything):
    single = as_single(everything.lines)
    expected = [
        {key: line[key] for key in ("source", "frame", "pts", "time")}
        | dict(zip(("x1", "y1", "x2", "y2"), found["xyxy"], strict=True))
        | {key: value for key, value in found.items() if key != "xyxy"}
        for line in single
        for found in line["detections"]
    ]
    table = vidmill.to_arrow(everything.results)
    rows = table.to_pylist()
    for row in rows:
        row |= {key: None if row[key] is None else json.loads(row[key]) for key in ("detections", "outputs")}
    assert [without_nothing(row) for row in rows] == expected
    in_file = parquet.read_schema(everything.folder / "out.parquet").field("detections").type.value_type
    for field in table.schema:
        if field.name not in ("source", "frame", "pts", "time", "class_id"):
            in_parquet = str(in_file.field(field.name).type).replace(" not null", "").replace("extension<arrow.json>", "string")
            assert str(field.type).replace("item:", "element:") == in_parquet, field.name
    frame = vidmill.to_pandas(everything.results)
    assert list(frame.columns) == table.column_names and frame["mask"][0] == expected[0]["mask"]
    plain = vidmill.Result("b.mp4", 0, None, None, "ok", vidmill.Detections(BOX, [0.5], [1]))
    tracked = vidmill.Result("b.mp4", 1, None, None, "ok", vidmill.Detections(BOX * 2, [0.5] * 2, [1] * 2, track_id=[4, -1]))
    for mixed in ([plain, tracked], [tracked, plain]):
        ids = {"track_id": [row["track_id"] for row in vidmill.to_arrow(mixed).to_pylist()]}
        assert sorted(map(str, ids["track_id"])) == ["4", "None", "None"]
        frame = vidmill.to_pandas(mixed)
        assert str(frame["track_id"].dtype) == "Int64" and frame["track_id"].isna().sum() == 2
    assert FULL.to_arrow().num_rows == len(FULL.to_pandas()) == 2


def test_ultralytics_makes_the_same_of_the_same(ultralytics):
    masks = blobs(40)
    count, random = len(masks), np.random.default_rng(4)
    names = ["person", "car"]
    xyxy = np.sort(random.random((count, 2, 2)) * 40, axis=1).reshape(count, 4).astype(np.float32)
    scores, ids = np.linspace(0.9, 0.3, count, dtype=np.float32), np.arange(count) % 2
    made = vidmill.Detections(xyxy, scores, ids, [names[n] for n in ids])
    for width in (2, 3):
        points = random.random((count, 5, width)).astype(np.float32) * (40, 40, 1)[:width]
        found = dataclasses.replace(made, masks=masks, keypoints=points, track_id=np.arange(count) + 1)
        rows = np.column_stack([xyxy, np.arange(count) + 1, scores, ids])
        expected = ultralytics.ask(
            rows, do="summary", names=names, frame=masks.shape[1:], masks=masks.astype(int).tolist(), keypoints=found.keypoints.tolist()
        )
        # OpenCV's versions begin a contour at different points.
        assert without_segments(found.to_ultralytics()) == without_segments(expected)
        for one, other, mask in zip(found.to_ultralytics(), expected, masks, strict=True):
            assert list(one) == list(other)
            assert set(points_of(one)) == set(points_of(other)) and len(points_of(one)) == len(points_of(other))
            assert bool(points_of(one)) == mask.any()


def without_segments(entries):
    return [{key: value for key, value in entry.items() if key != "segments"} for entry in entries]


def points_of(entry):
    return list(zip(entry["segments"]["x"], entry["segments"]["y"], strict=True))


def test_ultralytics_makes_the_same_of_oriented_boxes_classes_and_regions(ultralytics):
    turned = np.array([[30, 20, 24, 10, 0.4, 0.9, 1], [12, 25, 8, 16, 1.2, 0.5, 0]], np.float32)
    expected = ultralytics.ask(turned, do="summary", names=["a", "b"], frame=[48, 64], obb=True)
    corners = [[[entry["box"][f"{axis}{n}"] for axis in "xy"] for n in (1, 2, 3, 4)] for entry in expected]
    found = vidmill.Detections(np.zeros((2, 4)), turned[:, 5], turned[:, 6], ["b", "a"], corners=corners)
    assert found.to_ultralytics() == expected
    scores = np.array([0.02, 0.5, 0.08, 0.2, 0.05, 0.15], np.float32)
    expected = ultralytics.ask(scores, do="summary", names=list("abcdef"), probs=True)
    order = np.argsort(-scores)
    assert vidmill.Classes(scores[order], order, [*np.array(list("abcdef"))[order]]).to_ultralytics() == expected
    pixels = np.array([[0, 0, 2], [2, 2, 2]], np.uint8)
    expected = ultralytics.ask(pixels, do="summary", names=list("abc"), semantic=True)
    assert vidmill.Regions([0, 2], np.stack([pixels == 0, pixels == 2]), ["a", "c"]).to_ultralytics() == expected


def test_supervision_gets_all_that_it_has_a_field_for(monkeypatch):
    module = types.SimpleNamespace(**{
        name: lambda **given: types.SimpleNamespace(**given) for name in ("Detections", "KeyPoints", "Classifications")
    })  # fmt: skip
    monkeypatch.setitem(sys.modules, "supervision", module)
    found = dataclasses.replace(FULL, track_id=[3, -1])
    theirs = found.to_supervision()
    assert np.array_equal(theirs.mask, np.asarray(found.masks)) and theirs.tracker_id is found.track_id
    assert list(theirs.data) == ["class_name", "xyxyxyxy", "text", "text_confidence", "embedding"]
    assert all(len(column) == 2 for column in theirs.data.values())
    points = found.to_supervision_keypoints()
    assert points.xy.shape == (2, 2, 2) and points.confidence.tolist() == found.keypoints[:, :, 2].tolist()
    assert vidmill.Classes([0.5], [3]).to_supervision().class_id.tolist() == [3]
    with pytest.raises(ValueError, match="no keypoints"):
        vidmill.Detections(BOX, [0.5], [1]).to_supervision_keypoints()


def constants(path, outputs, **about):
    """A model of 160 x 160 that gives the same for all pictures."""
    graph = Graph()
    images = graph.input("images", [1, 3, 160, 160])
    nothing = graph.emit("Mul", [graph.emit("ReduceMean", [images], keepdims=0), graph.float(0)])
    for name, values in outputs.items():
        graph.output(name, graph.emit("Add", [nothing, graph.constant(values.astype(np.float32))]), list(values.shape))
    path.write_bytes(graph.model("constant", "test_found", {key: str(value) for key, value in about.items()}).SerializeToString())
    return path


NAMES = {0: "person", 1: "car"}


def rows(*further):
    """Of 525 places of YOLOv8's table two that count, in pixels of the input, with what follows the classes."""
    table = np.zeros((1, 6 + len(further), 525), np.float32)
    table[0, :6, 7] = 80, 80, 40, 20, 0.75, 0
    table[0, :6, 300] = 30, 60, 20, 20, 0, 0.5
    for row, numbers in enumerate(further):
        table[0, 6 + row, [7, 300]] = numbers
    return table


def make(kind, folder):
    path = folder / f"{kind}.onnx"
    match kind:
        case "pose":
            points = ([70, 25], [75, 55], [0.9, 0.1], [90, 35], [85, 65], [0.8, 0.7])
            return constants(path, {"output0": rows(*points)}, task="pose", stride=32, names=NAMES, kpt_shape=[2, 3])
        case "obb":
            return constants(path, {"output0": rows([0.3, 0.0])}, task="obb", stride=32, names=NAMES)
        case "segment":
            prototypes = np.full((1, 2, 40, 40), -5, np.float32)
            prototypes[0, 0, :20], prototypes[0, 1, 10:] = 5, 5
            return constants(path, {"output0": rows([1, 0], [0, 1]), "output1": prototypes}, task="segment", stride=32, names=NAMES)
        case "classify":
            return constants(path, {"output0": np.array([[0.25, 0.75]])}, task="classify", names=NAMES)
        case "semantic":
            maps = np.zeros((1, 2, 20, 20), np.float32)
            maps[0, 0, :10], maps[0, 1, 10:] = 5, 5
            return constants(path, {"output0": maps}, names=NAMES, **{"vidmill.task": "semantic"})
        case "embed":
            return constants(path, {"output0": np.array([[0.25, -0.5, 1.0]])}, **{"vidmill.task": "embed"})
    raise AssertionError(kind)


KEY = {"pose": "keypoints", "obb": "corners", "segment": "mask", "classify": "classes", "semantic": "masks", "embed": "embedding"}


@pytest.mark.parametrize("kind", KEY)
def test_every_kind_of_model_says_the_same_everywhere(clips, detect, tmp_path, kind):
    """Records of the command, results of a run, and what `find` gives of the same pictures."""
    path, source = make(kind, tmp_path), clips / "images_png"
    records = detect(source, path, "--device", "cpu").records
    key = KEY[kind]
    assert all((record["detections"][0] if "detections" in record else record)[key] for record in records) and len(records) == 3
    with vidmill.run(source, path, device="cpu", out=tmp_path / "o.parquet") as run:
        results = list(run)
    assert [result.to_dict() for result in results] == records
    model = vidmill.load(path, device="cpu")
    found = model.find([next(iter(vidmill.frames(picture))) for picture in sorted(source.iterdir())])
    assert [one.to_dict() for one in found] == [
        {name: value for name, value in record.items() if name not in ("source", "frame", "pts", "time", "status")} for record in records
    ]
    for row, record in zip(parquet.read_table(tmp_path / "o.parquet").to_pylist(), records, strict=True):
        for one in row["detections"] or []:
            one["xyxy"] = [one.pop(side) for side in ("x1", "y1", "x2", "y2")]
        assert without_nothing(row) == without_nothing(as_single(record))
    picture = [next(iter(vidmill.frames(sorted(source.iterdir())[0])))]
    if key in ("keypoints", "corners", "mask"):
        assert model.detect(picture) == [found[0].detections]
        assert model.keypoint_names == (["0", "1"] if kind == "pose" else [])
    else:
        with pytest.raises(vidmill.ModelError, match="call find"):
            model.detect(picture)
