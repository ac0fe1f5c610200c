"""Every output format read by the programs that will read it, the annotated video, ledger, manifest and determinism."""

import csv
import hashlib
import json

import make_models
import pandas
import pyarrow.parquet
import pytest
import support
from pycocotools.coco import COCO


@pytest.fixture
def written(detect, clips, models):
    """written(name, options...) is a run over one short clip whose results go to the file `name`."""
    return lambda name, *options: detect(clips / "vfr.mp4", models / "yolov8.onnx", *options, out=name)


def flat(records):
    """Rows of (frame, box, confidence, class) of all records."""
    return [
        (r["frame"], *d["xyxy"], d["confidence"], d["class_id"], d["class"]) for r in records for d in r["detections"]
    ]


def assert_same_rows(ours, theirs):
    """Equal but for the last digit of 32-bit floats, which may be written in more than one way."""
    for one, other in zip(ours, theirs, strict=True):
        assert one[0] == other[0] and one[6:] == other[6:]
        assert one[1:6] == pytest.approx(other[1:6], rel=1e-7)


def test_jsonl_is_the_contract(written, clips):
    run = written("out.jsonl")
    assert len(run.records) == 24
    for record in run.records:
        assert set(record) == {"source", "frame", "pts", "time", "status", "detections"}
        assert record["source"] == str(clips / "vfr.mp4")
        assert record["status"] == "ok"
        confidences = [d["confidence"] for d in record["detections"]]
        assert confidences == sorted(confidences, reverse=True)
        for found in record["detections"]:
            assert set(found) == {"xyxy", "confidence", "class_id", "class"}
            x1, y1, x2, y2 = found["xyxy"]
            assert 0 <= x1 < x2 <= 320 and 0 <= y1 < y2 <= 136
            assert 0.25 <= found["confidence"] <= 1
            assert found["class"] == make_models.NAMES[found["class_id"]]
    assert len(flat(run.records)) > 100


def test_standard_output_holds_the_same_lines(vidmill, written, clips, models):
    run = written("out.jsonl")
    done = vidmill("run", clips / "vfr.mp4", "--model", models / "yolov8.onnx")
    assert done.code == 0
    assert done.out == run.path.read_text()


def test_csv_says_the_same(written):
    expected = flat(written("out.jsonl").records)
    run = written("out.csv")
    with open(run.path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class_id"]]
    ours = [
        (int(r["frame"]), *(float(r[k]) for k in ("x1", "y1", "x2", "y2", "confidence")), int(r["class_id"]), r["class"])
        for r in rows
    ]
    assert_same_rows(ours, expected)
    table = pandas.read_csv(run.path)
    assert sorted(table["frame"].unique()) == list(range(24))
    assert set(table["status"]) == {"ok"}


def test_parquet_says_the_same(written):
    reference = written("out.jsonl").records
    run = written("out.parquet")
    table = pyarrow.parquet.read_table(run.path)
    records = table.to_pylist()
    assert [r["frame"] for r in records] == [r["frame"] for r in reference]
    assert [r["pts"] for r in records] == [r["pts"] for r in reference]
    assert [r["time"] for r in records] == [r["time"] for r in reference]
    for record in records:
        for found in record["detections"]:
            found["xyxy"] = found.get("xyxy") or [found[key] for key in ("x1", "y1", "x2", "y2")]
    assert_same_rows(flat(records), flat(reference))
    frame = pandas.read_parquet(run.path)
    assert len(frame) == 24


def test_coco_results_are_read_by_pycocotools(written, tmp_path):
    """A model whose classes are not COCO's keeps their numbers, counted from 1 as COCO does, or from 0."""
    reference = flat(written("out.jsonl").records)
    run = written("out.json")
    results = json.loads(run.path.read_text())
    assert len(results) == len(reference)
    for result, (frame, x1, y1, x2, y2, confidence, _, _) in zip(results, reference):
        assert result["image_id"] == frame
        assert result["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
        assert result["score"] == pytest.approx(confidence, abs=1e-6)
    empty = tmp_path / "truth.json"
    categories = sorted({r["category_id"] for r in results})
    truth = {
        "images": [{"id": i, "width": 320, "height": 136} for i in range(24)],
        "annotations": [],
        "categories": [{"id": c, "name": str(c)} for c in categories],
        "info": {},
    }
    empty.write_text(json.dumps(truth))
    loaded = COCO(str(empty)).loadRes(str(run.path))
    assert len(loaded.getAnnIds()) == len(results)


def test_coco_uses_cocos_own_category_numbers_for_coco_classes(detect, bikes, centernet):
    """COCO's 80 classes are numbered 1 to 90 with gaps: a person is 1, a traffic light 10, a tv 72."""
    records = detect(bikes, centernet, "--every", 10, out="a.jsonl").records
    results = json.loads(detect(bikes, centernet, "--every", 10, out="b.json").path.read_text())
    official = {"person": 1, "bicycle": 2, "car": 3, "traffic light": 10, "fire hydrant": 11, "toilet": 70, "tv": 72}
    names = [d["class"] for r in records for d in r["detections"]]
    known = [(name, r["category_id"]) for name, r in zip(names, results, strict=True) if name in official]
    assert len(known) > 10
    assert all(category == official[name] for name, category in known)


def test_the_annotated_video_is_the_same_every_time(detect, bikes, models, tmp_path):
    """Whatever lies in memory that was freed before: MALLOC_PERTURB_ fills it."""
    narrow, videos = tmp_path / "narrow.mp4", set()
    support.tool("ffmpeg", "-v", "error", "-i", bikes, "-vf", "scale=160:68", "-an", "-frames:v", 60, narrow)
    for filling in (0, 85, 170):
        video = tmp_path / f"{filling}.mp4"
        detect(narrow, models / "yolov8.onnx", "--annotate", video, env={"MALLOC_PERTURB_": str(filling)})
        videos.add(video.read_bytes())
    assert len(videos) == 1


@pytest.mark.parametrize("name", ["vfr.mp4", "h264.mp4", "rotate90.mp4", "stream.ts", "h264_10bit.mp4", "h264_odd.mp4"])
@pytest.mark.parametrize("options", [(), ("--every", 3)], ids=["all", "every third"])
def test_the_annotated_video_has_the_sampled_frames_at_their_times(detect, clips, models, tmp_path, name, options):
    video = tmp_path / "boxes.mp4"
    run = detect(clips / name, models / "yolov8.onnx", "--annotate", video, *options)
    frames = support.ffprobe_frames(video)
    tick = support.seconds_per_tick(video)
    times = [frame["pts"] * tick for frame in frames]
    expected = [record["time"] for record in run.records]
    assert len(frames) == len(expected)
    # Distances between frames are kept to the microsecond or the container's tick, whichever is coarser.
    ours, theirs = ([t - series[0] for t in series] for series in (times, expected))
    assert ours == pytest.approx(theirs, abs=max(tick, 1e-6))
    probed = run.manifest["sources"][0]["probe"]
    stream = support.ffprobe_stream(video)
    even = [side + side % 2 for side in (probed["displayed_width"], probed["displayed_height"])]
    assert stream["codec_name"] == "h264"
    assert abs(stream["width"] - even[0]) <= 2 and abs(stream["height"] - even[1]) <= 2


def test_boxes_are_drawn_where_the_records_say(detect, bikes, centernet, tmp_path):
    video = tmp_path / "boxes.mp4"
    run = detect(bikes, centernet, "--every", 25, "--conf", 0.3, "--annotate", video)
    drawn = support.rgb_frames(video).astype(int)
    plain = support.rgb_frames(bikes, "select=not(mod(n\\,25))").astype(int)
    checked = 0
    for record, with_boxes, without in zip(run.records, drawn, plain, strict=True):
        changed = abs(with_boxes - without).max(2) > 40
        for found in record["detections"]:
            x1, y1, x2, y2 = (round(v) for v in found["xyxy"])
            if x1 < 4 or x2 > 636 or y2 - y1 < 24 or x2 - x1 < 24:
                continue
            middle = slice((3 * y1 + y2) // 4, (y1 + 3 * y2) // 4)
            assert changed[middle, x1 - 3 : x1 + 4].any(1).mean() > 0.8
            assert changed[middle, x2 - 3 : x2 + 4].any(1).mean() > 0.8
            checked += 1
    assert checked >= 3


def test_the_manifest_tells_what_ran(written, models, vidmill):
    run = written("out.jsonl")
    manifest = run.manifest
    assert manifest["versions"]["vidmill"] == vidmill("--version").out.split()[-1]
    assert manifest["model"]["sha256"] == hashlib.sha256((models / "yolov8.onnx").read_bytes()).hexdigest()
    assert manifest["runtime"]["provider"] == "CPUExecutionProvider"
    assert manifest["runtime"]["version"] == "1.32.0"
    assert manifest["runtime"]["precision"] == "f32"
    assert manifest["complete"] is True and manifest["interrupted"] is False
    assert manifest["wall_seconds"] > 0 and manifest["cpu_seconds"] > 0
    assert manifest["peak_memory_bytes"] > 1_000_000
    assert run.ledger == {"decoded": 24, "skipped": 0, "sampled": 24, "ok": 24, "failed": 0, "dropped": 0}


def test_with_json_progress_the_manifest_ends_standard_error(vidmill, clips, models):
    done = vidmill("run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--progress", "json")
    assert done.code == 0
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert lines[-1].get("manifest", lines[-1])["ledger"]["ok"] == 24


def test_frames_that_fail_are_records_with_their_cause(detect, clips, models, tmp_path):
    """The model gives NaN for dark pictures: those frames fail, the others do not."""
    dark = tmp_path / "dark.mp4"
    support.tool(
        *("ffmpeg", "-v", "error", "-i", clips / "h264.mp4", "-vf", "eq=brightness='-0.9*between(n,8,11)':eval=frame"),
        *("-c:v", "libx264", dark),
    )
    run = detect(dark, models / "yolov8_nan.onnx", code=3)
    failed = [r["frame"] for r in run.records if r["status"] == "failed"]
    assert failed == [8, 9, 10, 11]
    for record in run.records:
        if record["status"] == "failed":
            assert record["error"] and record["attempts"] >= 1
            assert "detections" not in record
    assert run.frames == list(range(24))
    assert run.ledger["failed"] == 4 and run.ledger["ok"] == 20
    support.assert_balanced(run.ledger)
    for name in ("out.csv", "out.parquet"):
        other = detect(dark, models / "yolov8_nan.onnx", out=name, code=3)
        table = pandas.read_csv(other.path) if name.endswith("csv") else pandas.read_parquet(other.path)
        assert sorted(set(table["frame"][table["status"] == "failed"])) == failed


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet", "out.json"])
def test_the_same_input_gives_the_same_bytes(detect, clips, models, name):
    def digest(*options):
        run = detect(clips / "bframes.mp4", models / "yolov8_dynamic_batch.onnx", *options, out=name)
        return hashlib.sha256(run.path.read_bytes()).hexdigest()

    digests = {digest("--workers", workers, "--batch", batch) for workers in (1, 2, 3) for batch in (1, 4)}
    assert len(digests) == 1


def test_the_real_detector_is_deterministic(detect, bikes, centernet):
    runs = [detect(bikes, centernet, "--every", 10, "--workers", n, out=f"{n}.jsonl").path.read_bytes() for n in (1, 2, 3)]
    assert runs[0] == runs[1] == runs[2]


def test_several_sources_into_a_folder(vidmill, clips, models, tmp_path):
    folder = tmp_path / "results"
    sources = [clips / "h264.mp4", clips / "hevc.mp4", clips / "vp9.webm"]
    done = vidmill("run", *sources, "--model", models / "yolov8.onnx", "--out", f"{folder}/", "--format", "csv")
    assert done.code == 0, done.err
    files = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".manifest.json"))
    assert len(files) == 3
    for path in folder.glob("*.csv"):
        table = pandas.read_csv(path)
        assert len(set(table["source"])) == 1
        assert sorted(table["frame"].unique()) == list(range(24))


def test_classes_and_limits_choose_among_the_same_boxes(detect, clips, models):
    everything = detect(clips / "h264.mp4", models / "yolov8.onnx", out="all.jsonl").records
    chosen = detect(clips / "h264.mp4", models / "yolov8.onnx", "--classes", "car,1", out="some.jsonl").records
    for one, other in zip(everything, chosen, strict=True):
        assert other["detections"] == [d for d in one["detections"] if d["class"] in ("car", "bicycle")]
    few = detect(clips / "h264.mp4", models / "yolov8.onnx", "--max-det", 3, out="few.jsonl").records
    for one, other in zip(everything, few, strict=True):
        assert other["detections"] == one["detections"][:3]
    sure = detect(clips / "h264.mp4", models / "yolov8.onnx", "--conf", 0.5, out="sure.jsonl").records
    assert flat(sure) == [row for row in flat(everything) if row[5] > 0.5]
