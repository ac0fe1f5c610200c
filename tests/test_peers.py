"""What `make bench` makes of its contenders, with small programs in their places."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "bench"))

import contenders
import goals
import meter
import run

BOX = {"xyxy": [0.0, 0.0, 100.0, 100.0], "confidence": 0.9, "class_id": 1}
MOVED = {**BOX, "xyxy": [0.0, 20.0, 100.0, 120.0]}
WRITES = """
import json, sys, time
frames, out, runs = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
open(runs, "a").write("x")
time.sleep(0.05)  # long enough to be looked at
with open(out, "w") as file:
    for frame, boxes in frames:
        print(json.dumps({"frame": frame, "detections": boxes}), file=file)
json.dump({"runtime": {"precision": "f32"}}, open(out + ".manifest.json", "w"))
"""
SCENARIO = run.Scenario("heavy", 1, 1.2, 0.97)


@pytest.fixture(autouse=True)
def results_here(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RUNS", tmp_path)


def writer(frames, runs):
    return contenders.Contender(lambda case, out: [sys.executable, "-c", WRITES, json.dumps(frames), out, runs])


def failing(text):
    return contenders.Contender(lambda case, out: [sys.executable, "-c", f"raise SystemExit({text!r})"])


def case():
    return contenders.Case(Path("clip.mp4"), Path("heavy.onnx"), 1)


def test_every_contender_takes_its_turns_and_is_compared_with_vidmill(tmp_path):
    two = [(0, [BOX]), (1, [BOX])]
    field = {
        "vidmill": writer(two, tmp_path / "a"),
        "same": writer(two, tmp_path / "b"),
        "half": writer([(0, [BOX]), (1, [MOVED])], tmp_path / "c"),
        "others": writer([(7, [BOX])], tmp_path / "d"),
    }
    result = run.compare(SCENARIO, case(), field, 2, 2)
    rows = result["contenders"]
    assert [(tmp_path / name).read_text() for name in "abcd"] == ["xxx"] * 4, "two turns for time, one for memory"
    assert rows["same"]["same_bytes"] and rows["same"]["boxes_matched"] == 1
    assert not rows["half"]["same_bytes"] and rows["half"]["boxes_matched"] == 0.5
    assert rows["others"]["boxes_matched"] is None and rows["others"]["records"] == 1
    assert all(row["peak_bytes"] > 1e6 and row["cpu_ms_per_sampled_frame"] > 0 for row in rows.values())
    assert not result["failed"]


def test_a_contender_that_fails_is_named_and_vidmill_must_not(tmp_path):
    field = {"vidmill": writer([(0, [BOX])], tmp_path / "a"), "broken": failing("no such thing")}
    result = run.compare(SCENARIO, case(), field, 2, 1)
    assert result["failed"] == {"broken": "no such thing"}
    assert list(result["contenders"]) == ["vidmill"]
    with pytest.raises(meter.BenchmarkError, match="no such thing"):
        run.compare(SCENARIO, case(), {"vidmill": failing("no such thing")}, 2, 1)


def test_what_cannot_run_here_says_why():
    assert contenders.complaint([sys.executable, "-c", ""]) is None
    assert contenders.complaint([sys.executable, "-c", "raise SystemExit('error: no bf16')"]) == "error: no bf16"
    assert contenders.complaint([sys.executable, "-c", "raise SystemExit(3)"]) == "ended with 3"


def test_goals_are_told_as_reached_or_missed():
    ours = {"wall_seconds": 2.0, "frames_per_second": 96.0, "peak_bytes": 100, "speed": 1.0, "boxes_matched": 1.0, "same_bytes": True}
    slower = {**ours, "wall_seconds": 3.0, "loop_seconds": 2.5, "peak_bytes": 150}
    ran = {"vidmill": ours, "python single": slower, "against": {**ours, "speed": 1.1, "same_bytes": False}}
    rows = goals.reached(SCENARIO, {"contenders": ran, "limit_fps": 100.0})
    told = {what.strip(): (value, met) for what, value, _, met in rows}
    assert told["speed, of the better hand-written form"] == (1.5, True)
    assert told["without Python's start"] == (1.25, None)
    assert told["memory, of the better hand-written form"] == (100 / 150, False)
    assert told["share of the limit, 100.0 frames/s"] == (0.96, False)
    assert told["speed, of the vidmill compared with"] == (1 / 1.1, False)
    assert told["its records"] == ("other bytes", None)
