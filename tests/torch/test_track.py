"""Tracking, frame by frame against the authors' own: ByteTrack against Ultralytics', SORT against Bewley's (PyPI has it as
sort-tracker-py). Both assign with `lap`, by whose choices among equals new ids come in one order or another."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

# Neither does it install packages, nor ask the network for anything.
os.environ.update(YOLO_OFFLINE="true", YOLO_VERBOSE="false", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=sys.prefix)

lap = pytest.importorskip("lap", reason="lap: the references of the trackers need it (requirements/oracle.txt)")

ROOT = Path(__file__).resolve().parent.parent.parent
NEXT = np.uint32(2**32 - 1).tobytes()
WIDTH, HEIGHT = 1280, 720
BYTETRACK = {
    "track_high_thresh": 0.25, "track_low_thresh": 0.1, "new_track_thresh": 0.25, "track_buffer": 30, "match_thresh": 0.8,
    "fuse_score": True,
}
SORT = {"max_age": 1, "min_hits": 3, "iou_threshold": 0.3}


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    """track(settings, scenes) is what vidmill tells of each frame of each scene: detections' places, ids, boxes."""
    build = ["cargo", "build", "-q", "--locked", "-p", "vidmill", "--example", "track_raw"]
    subprocess.run(build, cwd=ROOT, check=True)
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "examples" / "track_raw"
    file = tmp_path_factory.mktemp("settings") / "own.toml"

    def run(settings, scenes):
        kind = "bytetrack" if "track_buffer" in settings else "sort"
        lines = [f'tracker_type = "{kind}"', *(f"{key} = {str(value).lower()}" for key, value in settings.items())]
        file.write_text("\n".join(lines))
        frames = [part for scene in scenes for part in (None, *scene)]
        parts = [NEXT if frame is None else np.uint32(len(frame)).tobytes() + frame.tobytes() for frame in frames]
        told = subprocess.run([program, file], input=b"".join(parts), capture_output=True, check=True).stdout
        row, at, told_of = np.dtype([("detection", "<u4"), ("id", "<u4"), ("xyxy", "<f4", 4)]), 0, []
        for scene in scenes:
            told_of.append([])
            for _ in scene:
                count = int(np.frombuffer(told, "<u4", 1, at)[0])
                told_of[-1].append(np.frombuffer(told, row, count, at + 4))
                at += 4 + count * row.itemsize
        assert at == len(told)
        return told_of

    return run


class World:
    """Objects that move, cross, hide each other, come and go, and a detector that sees them more or less."""

    def __init__(self, seed, count, frames, *, noise=1.5, misses=0.03, strays=0.02, coarse=False, still=0.0, doubles=0.0):
        random = np.random.default_rng(seed)
        self.scene = [self.detections(n, random, coarse) for n in self.walk(random, count, frames, noise, misses, strays, still, doubles)]

    def walk(self, random, count, frames, noise, misses, strays, still, doubles):
        """For each frame, rows of x, y, width, height and confidence."""
        def new():
            size = random.uniform(15, 70)
            side = random.choice(["in", "left", "right"])
            x = {"in": random.uniform(0, WIDTH), "left": -30.0, "right": WIDTH + 30.0}[side]
            speed = random.normal(0, 6) if side == "in" else random.uniform(2, 10) * (1 if side == "left" else -1)
            moves = random.random() >= still
            return {
                "at": np.array([x, random.uniform(50, HEIGHT - 50)]), "v": moves * np.array([speed, random.normal(0, 1.5)]),
                "size": np.array([size, size * random.uniform(0.8, 2.8)]), "moves": moves,
            }

        objects = [new() for _ in range(count)]
        blind = set()
        for start in random.integers(10, frames, 3):  # all is missed for a while: for a moment, or longer than any buffer
            blind |= set(range(start, start + int(random.choice([1, 3, 12, 40]))))
        for frame in range(frames):
            for place, thing in enumerate(objects):
                thing["at"] = thing["at"] + thing["v"]
                thing["v"] = thing["v"] + thing["moves"] * random.normal(0, 0.25, 2)
                x, y = thing["at"]
                if not (-80 < x < WIDTH + 80 and -80 < y < HEIGHT + 80) or random.random() < 0.002:
                    objects[place] = new()
            rows = []
            for place, thing in enumerate(objects):
                near = [  # those before it hide it
                    max(0.0, 1 - np.abs(other["at"] - thing["at"]).max() / thing["size"].max()) for other in objects[:place]
                ]
                clear = 1 - max(near, default=0.0)
                confidence = np.clip(clear * random.uniform(0.45, 1.0) + random.normal(0, 0.05), 0.01, 0.99)
                if confidence < 0.05 or random.random() < misses:
                    continue
                own = thing["moves"] * random.normal(0, noise, 4)
                rows.append([*(thing["at"] + own[:2]), *np.maximum(thing["size"] + own[2:], 1), confidence])
                if random.random() < doubles:
                    rows.append([*rows[-1][:4], confidence * random.uniform(0.3, 1)])
            for _ in range(random.poisson(strays * count)):
                rows.append([*random.uniform(0, [WIDTH, HEIGHT]), *random.uniform(5, 90, 2), random.uniform(0.05, 0.7)])
            yield [] if frame in blind else rows

    @staticmethod
    def detections(rows, random, coarse):
        """Corners and confidence, best first, clipped to the picture: some have no area then."""
        rows = np.array(rows, np.float64).reshape(-1, 5)
        if coarse:
            rows[:, :4] = np.round(rows[:, :4] / 8) * 8
            rows[:, 4] = np.maximum(np.round(rows[:, 4] * 20) / 20, 0.05)
        corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], 1)
        corners = np.clip(corners, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
        out = np.concatenate([corners, rows[:, 4:]], 1).astype("<f4")
        return out[np.argsort(-out[:, 4], kind="stable")]


def has_area(frame):
    return (frame[:, 2] - frame[:, 0] > 0) & (frame[:, 3] - frame[:, 1] > 0)


def ultralytics(settings, scene):
    """For each frame: detections' places, ids, boxes."""
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.byte_tracker import BYTETracker

    tracker = BYTETracker(SimpleNamespace(**settings))
    for frame in scene:
        boxes = Boxes(np.concatenate([frame, np.zeros((len(frame), 1), "f4")], 1), (HEIGHT, WIDTH))
        told = tracker.update(boxes).reshape(-1, 8)
        yield told[:, 7].astype(int), told[:, 4].astype(int), told[:, :4]


def bewleys(settings, scene):
    """The same. It tells no places, but confidences, for which it is given places; and it is given no boxes without an area, which it
    would turn into tracks of no place and no size."""
    sort = pytest.importorskip("sort_tracker.sort", reason="sort-tracker-py: the reference of SORT (requirements/oracle.txt)")
    sort.KalmanBoxTracker.count = 0
    tracker = sort.Sort(**settings)
    for frame in scene:
        rows = np.concatenate([frame[:, :4].astype(np.float64), np.arange(len(frame))[:, None]], 1)
        told = tracker.update(rows[has_area(frame)])
        yield told[:, 4].astype(int), told[:, 5].astype(int), told[:, :4]


@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
def test_a_run_over_a_real_clip(command, tmp_path, tracker):
    """The whole way: the references are given what a run without a tracker finds, down to the least that each takes."""
    clip, model = ROOT / ".assets" / "bikes.mp4", ROOT / ".assets" / "centernet.onnx"
    if not model.exists():
        pytest.skip("no .assets/centernet.onnx: run .venv/bin/python tools/assets.py --test")
    least = 0.1 if tracker == "bytetrack" else 0.25
    records = {}
    for name, options in (("plain", ("--conf", least)), ("tracked", ("--track", tracker))):
        path = tmp_path / f"{name}.jsonl"
        done = command("run", clip, "--model", model, "--out", path, "--end", 4, *options)
        assert done.returncode == 0, done.stderr
        records[name] = [json.loads(line)["detections"] for line in path.read_text().splitlines()]
    row = lambda d: (*d["xyxy"], d["confidence"])
    scene = [np.array([row(d) for d in frame], "<f4").reshape(-1, 5) for frame in records["plain"]]
    reference = ultralytics(BYTETRACK, scene) if tracker == "bytetrack" else bewleys(SORT, scene)
    count = 0
    for frame, own, (places, ids, _) in zip(scene, records["tracked"], reference, strict=True):
        expected = {(*frame[place].tolist(),): int(id) for place, id in zip(places, ids, strict=True)}
        assert {(*np.array(row(d), "<f4").tolist(),): d["track_id"] for d in own if "track_id" in d} == expected
        count += len(expected)
    assert count > 50, count


def compare(told, reference, most):
    """All ids in their order, and the detections that they belong to; boxes within `most` pixels. Returns how many, and how near."""
    count, apart = 0, 0.0
    for number, (own, (places, ids, boxes)) in enumerate(zip(told, reference, strict=True)):
        assert own["id"].tolist() == list(ids), f"frame {number}"
        assert own["detection"].tolist() == list(places), f"frame {number}"
        if len(own):
            apart = max(apart, float(np.abs(own["xyxy"] - boxes).max()))
        count += len(own)
    assert apart <= most, apart
    return count, apart


SCENES = {
    "a few": dict(count=6, frames=300),
    "a crowd": dict(count=60, frames=200),
    "noise": dict(count=15, frames=200, noise=5.0, misses=0.25, strays=0.3),
    "doubles": dict(count=12, frames=300, doubles=0.2, misses=0.1),
    "some stand still": dict(count=20, frames=200, still=0.7, misses=0.15),
    "ties": dict(count=25, frames=200, coarse=True, still=0.3, doubles=0.1, misses=0.1),
}
BYTE_VARIANTS = [
    {},
    {"fuse_score": False},
    {"track_high_thresh": 0.6, "new_track_thresh": 0.7, "track_buffer": 5},
    {"match_thresh": 0.95, "track_buffer": 3, "track_low_thresh": 0.0},
    {"match_thresh": 0.4, "new_track_thresh": 0.5, "track_buffer": 0},
]
SORT_VARIANTS = [{}, {"max_age": 10, "min_hits": 1, "iou_threshold": 0.1}, {"max_age": 30, "min_hits": 0}, {"max_age": 0, "iou_threshold": 0.6}]


@functools.cache
def scene(name, seed):
    return World(seed, **SCENES[name]).scene


def scenes(variant):
    """Two seeds of each for the defaults, one for others."""
    return {f"{name}, {seed}": scene(name, seed) for name in SCENES for seed in ([3] if variant else [1, 2])}


def check(track, reference, settings, variant):
    """The ids and boxes are the reference's, in all scenes."""
    named = scenes(variant)
    total = 0
    for (name, scene), told in zip(named.items(), track(settings, named.values()), strict=True):
        count, apart = compare(told, reference(settings, scene), most=1e-4)
        print(f"{name}: {count} boxes, {max(o['id'].max(initial=0) for o in told)} ids, at most {apart:.2g} pixels apart")
        total += count
    assert total > 5000, total


@pytest.mark.parametrize("variant", BYTE_VARIANTS, ids=str)
def test_bytetrack_as_ultralytics(track, variant):
    check(track, ultralytics, {**BYTETRACK, **variant}, variant)


@pytest.mark.parametrize("variant", SORT_VARIANTS, ids=str)
def test_sort_as_bewleys(track, variant):
    check(track, bewleys, {**SORT, **variant}, variant)
