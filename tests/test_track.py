"""Tracking in a run: ids in all outputs, whatever runs the model. That they are the right ones is in tests/torch/test_track.py."""

import json

import pandas
import pyarrow.parquet
import pytest
import support


@pytest.fixture
def film(clips):
    return clips / "vfr.mp4"


def ids(records):
    return [[d.get("track_id") for d in r["detections"]] for r in records]


def without_ids(detection):
    return {key: value for key, value in detection.items() if key != "track_id"}


@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
def test_records_are_those_of_a_run_without_and_ids(detect, film, models, tracker):
    """Detections that pass --conf are all there; of weaker ones, those that a track took in."""
    plain = detect(film, models / "yolov8.onnx", "--conf", 0.5, out="plain.jsonl").records
    weak = detect(film, models / "yolov8.onnx", "--conf", 0.1, out="weak.jsonl").records
    run = detect(film, models / "yolov8.onnx", "--conf", 0.5, "--track", tracker)
    added = 0
    for ours, theirs, all_of_it in zip(run.records, plain, weak, strict=True):
        sure = [without_ids(d) for d in ours["detections"] if d["confidence"] > 0.5]
        assert sure == theirs["detections"]
        for detection in ours["detections"]:
            if detection["confidence"] <= 0.5:
                assert detection["track_id"] >= 1 and without_ids(detection) in all_of_it["detections"]
                added += 1
        given = [d["track_id"] for d in ours["detections"] if "track_id" in d]
        assert len(given) == len(set(given))
        confidences = [d["confidence"] for d in ours["detections"]]
        assert confidences == sorted(confidences, reverse=True)
        assert list(ours["detections"][0])[:5] == ["xyxy", "confidence", "class_id", "class", "track_id"]
    assert (added > 0) == (tracker == "bytetrack")
    assert run.manifest["track"]["tracker_type"] == tracker
    assert run.manifest["stage_seconds"]["track"] > 0


def test_most_detections_holds(detect, film, models):
    run = detect(film, models / "yolov8.onnx", "--max-det", 3, "--track", "bytetrack")
    assert max(len(r["detections"]) for r in run.records) == 3


def test_ids_last(detect, bikes, centernet):
    """In a real street scene, the surest objects keep theirs."""
    run = detect(bikes, centernet, "--track", "bytetrack", "--end", 3)
    lives = {}
    for record in run.records:
        for detection in record["detections"]:
            if "track_id" in detection:
                lives.setdefault(detection["track_id"], []).append(record["frame"])
    longest = sorted(map(len, lives.values()))[-3:]
    assert longest[0] >= 15, longest
    assert sum(map(len, lives.values())) / len(lives) > 5


def test_who_runs_the_model_makes_no_difference(detect, film, models):
    def output(*options):
        return detect(film, models / "yolov8_dynamic_batch.onnx", "--track", "bytetrack", *options).path.read_bytes()

    whole = output()
    assert b'"track_id":2' in whole
    for options in (("--workers", 3, "--batch", 1), ("--workers", 2, "--batch", 4), ("--isolate", "--workers", 2, "--batch", 3)):
        assert output(*options) == whole, options


def test_each_source_has_its_own_ids(detect, vidmill, film, clips, models, tmp_path):
    """Counted from 1."""
    alone = [detect(clip, models / "yolov8.onnx", "--track", "sort", out=f"{clip.stem}.jsonl") for clip in (film, clips / "h264.mp4")]
    both = tmp_path / "both.jsonl"
    done = vidmill("run", film, clips / "h264.mp4", "--model", models / "yolov8.onnx", "--track", "sort", "--out", both)
    assert done.code == 0
    assert ids(support.read_jsonl(both)) == ids(alone[0].records) + ids(alone[1].records)
    assert min(i for frame in ids(alone[1].records) for i in frame if i) == 1


def test_mot_results_hold_what_is_tracked(detect, film, models):
    records = detect(film, models / "yolov8.onnx", "--track", "bytetrack").records
    lines = detect(film, models / "yolov8.onnx", "--track", "bytetrack", out="out.txt").path.read_text().splitlines()
    rows = [[float(field) for field in line.split(",")] for line in lines]
    tracked = [(r["frame"], d) for r in records for d in r["detections"] if "track_id" in d]
    assert len(rows) == len(tracked) > 50
    for row, (frame, detection) in zip(rows, tracked):
        x1, y1, x2, y2 = detection["xyxy"]
        assert row[:2] == [frame + 1, detection["track_id"]] and row[7:] == [-1, -1, -1]
        assert row[2:7] == pytest.approx([x1, y1, x2 - x1, y2 - y1, detection["confidence"]], rel=1e-5)


def test_tables_hold_ids(detect, film, models):
    expected = [i for frame in ids(detect(film, models / "yolov8.onnx", "--track", "bytetrack").records) for i in frame]
    assert None in expected and 1 in expected
    table = pandas.read_csv(detect(film, models / "yolov8.onnx", "--track", "bytetrack", out="out.csv").path)
    told = table[table["class_id"].notna()]["track_id"]
    assert [None if pandas.isna(i) else int(i) for i in told] == expected
    rows = pyarrow.parquet.read_table(detect(film, models / "yolov8.onnx", "--track", "bytetrack", out="out.parquet").path).to_pylist()
    assert [d["track_id"] for row in rows for d in row["detections"]] == expected


def test_a_folder_of_mot_results(vidmill, film, clips, models, tmp_path):
    done = vidmill("run", film, clips / "h264.mp4", "--model", models / "yolov8.onnx", "--track", "sort", "--format", "mot", "--out", f"{tmp_path}/")
    assert done.code == 0, done.err
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["h264.txt", "vfr.txt"]


def test_settings_are_heeded(detect, film, models, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('tracker_type = "bytetrack"\ntrack_high_thresh = 0.6\nnew_track_thresh = 0.8\n')
    run = detect(film, models / "yolov8.onnx", "--track", file)
    assert run.manifest["track"] == {
        "tracker_type": "bytetrack", "track_high_thresh": 0.6, "track_low_thresh": 0.1, "new_track_thresh": 0.8,
        "track_buffer": 30, "match_thresh": 0.8, "fuse_score": True,
    }
    first = run.records[0]["detections"]
    assert all(("track_id" in d) == (d["confidence"] >= 0.8) for d in first) and len({"track_id" in d for d in first}) == 2


def test_drawing_shows_ids(detect, film, models, tmp_path):
    videos = [tmp_path / "plain.mp4", tmp_path / "tracked.mp4"]
    detect(film, models / "yolov8.onnx", "--annotate", videos[0])
    detect(film, models / "yolov8.onnx", "--annotate", videos[1], "--track", "sort")
    plain, tracked = map(support.rgb_frames, videos)
    assert plain.shape == tracked.shape and (plain != tracked).any(axis=(1, 2, 3)).all()


REFUSED = {
    "no such tracker": (["--track", "deepsort"], ["deepsort", "bytetrack", "sort", ".toml"]),
    "no such file": (["--track", "none.toml"], ["none.toml", "cannot read"]),
    "unknown key": (["--track", "bad.toml"], ["bad.toml", "`buffer` is no key of bytetrack", "track_buffer"]),
    "impossible value": (["--track", "worse.toml"], ["worse.toml", "`iou_threshold` is 3.5", "a number from 0 to 1"]),
    "mot without a tracker": (["--out", "out.txt"], ["out.txt", "--track"]),
    "a folder of mot without a tracker": (["--format", "mot"], ["--format mot", "--track"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(vidmill, film, models, tmp_path, case):
    (tmp_path / "bad.toml").write_text('tracker_type = "bytetrack"\nbuffer = 3\n')
    (tmp_path / "worse.toml").write_text('tracker_type = "sort"\niou_threshold = 3.5\n')
    before = sorted(tmp_path.iterdir())
    options, named = REFUSED[case]
    done = vidmill("run", film, "--model", models / "yolov8.onnx", *options, cwd=tmp_path)
    assert done.code == 2 and not done.out
    for word in named:
        assert word in done.err, done.err
    assert sorted(tmp_path.iterdir()) == before


def test_several_sources_need_a_folder_of_mot_results(vidmill, film, clips, models, tmp_path):
    done = vidmill("run", film, clips / "h264.mp4", "--model", models / "yolov8.onnx", "--track", "sort", "--out", tmp_path / "out.txt")
    assert done.code == 2 and "--format mot" in done.err
    assert not list(tmp_path.iterdir())


def test_a_list_of_sources_is_not_overwritten(vidmill, film, models, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{film}\n")
    done = vidmill("run", listed, "--model", models / "yolov8.onnx", "--track", "sort", "--out", listed)
    assert done.code == 2 and "overwrite" in done.err
    assert listed.read_text() == f"{film}\n"


def test_a_broken_state_is_told(vidmill, film, models, tmp_path):
    """As where a manifest was edited: nothing is touched."""
    path = tmp_path / "out.jsonl"
    command = ("run", film, "--model", models / "yolov8.onnx", "--track", "sort", "--out", path)
    assert vidmill(*command).code == 0
    beside = tmp_path / "out.jsonl.manifest.json"
    manifest = json.loads(beside.read_text())
    last = {"frame": 3, "pts": None, "first_pts": None}
    begun = {"source": 0, "begin": 0, "bytes": 100, "ok": 4, "failed": 0, "dropped": 0, "last": last, "time_base": None, "sound": True}
    whole = path.read_bytes()
    for tracker in (None, "", "beef", "no state"):
        beside.write_text(json.dumps(manifest | {"checkpoint": begun | {"tracker": tracker}}))
        done = vidmill(*command, "--resume")
        assert done.code == 2 and "tracker" in done.err and path.read_bytes() == whole
