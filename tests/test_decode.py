"""Frames, timestamps and pixels, against ffprobe, ffmpeg, PyAV and cv2."""

import zlib
from fractions import Fraction

import av
import cv2
import make_clips
import pytest
import support

FORMATS = [clip.name for clip in make_clips.FORMATS]
COLORS = [clip.name for clip in make_clips.COLORS]
TIMES = [clip.name for clip in make_clips.TIMES]
ROTATED = list(make_clips.ROTATIONS)
SOUND = FORMATS + COLORS + TIMES + ROTATED
DAMAGED = [
    "truncated_faststart.mp4",
    "truncated_stream.ts",
    "truncated_vp9.webm",
    "corrupted_faststart.mp4",
    "corrupted_stream.ts",
]


def vidmill_frames(path, every=1):
    """(index, pts, CRC of the planes or None where skipped) of every frame, by the decoder's own example."""
    out = support.tool(support.example("vidmill-video", "frames"), path, every).decode()
    frames = []
    for line in out.splitlines()[:-1]:
        index, pts, *rest = line.split()
        pts = None if pts == "none" else int(pts)
        frames.append((int(index), pts, None if rest == ["skipped"] else rest[-1]))
    return frames


def ffmpeg_crcs(path):
    """The CRC-32 of each frame's planes as ffmpeg decodes them, in the order in which vidmill keeps planes."""
    stream = support.ffprobe_stream(path)
    pixels = support.ffprobe_frames(path)[0]["pix_fmt"]
    raw = support.tool(
        *("ffmpeg", "-v", "error", "-noautorotate", "-i", path, "-map", "0:v:0", "-vsync", "passthrough"),
        *("-pix_fmt", pixels, "-f", "rawvideo", "-"),
    )
    size = len(raw) // len(support.ffprobe_frames(path))
    crcs = []
    for at in range(0, len(raw), size):
        frame = raw[at : at + size]
        if pixels.startswith("gbrp"):  # FFmpeg's order is green, blue, red
            plane = size // 3
            assert plane % (stream["width"] * stream["height"]) == 0
            frame = frame[2 * plane :] + frame[: 2 * plane]
        crcs.append(f"{zlib.crc32(frame):08x}")
    return crcs


def probed_pts(path):
    return [frame.get("pts", frame.get("best_effort_timestamp")) for frame in support.ffprobe_frames(path)]


@pytest.mark.parametrize("name", SOUND)
def test_every_frame_has_ffprobes_timestamp_and_ffmpegs_pixels(clips, name):
    path = clips / name
    frames = vidmill_frames(path)
    assert [index for index, _, _ in frames] == list(range(len(frames)))
    assert [pts for _, pts, _ in frames] == probed_pts(path)
    assert [crc for _, _, crc in frames] == ffmpeg_crcs(path)


@pytest.mark.parametrize("name", SOUND)
def test_frames_and_timestamps_are_pyavs(clips, name):
    with av.open(str(clips / name)) as container:
        expected = [frame.pts for frame in container.decode(video=0)]
    ours = [pts for _, pts, _ in vidmill_frames(clips / name)]
    assert len(ours) == len(expected)
    # PyAV's newer FFmpeg guesses the time of AVI's last B-frame, Debian's leaves it unknown.
    guessed = ours.count(None)
    assert guessed == (1 if name == "mpeg4.avi" else 0)
    assert ours[: len(ours) - guessed] == expected[: len(ours) - guessed]


@pytest.mark.parametrize("name", ["h264.mp4", "bframes.mp4", "open_gop.mp4", "hevc.mp4", "vp9.webm", "mpeg4.avi"])
def test_frames_that_are_not_asked_for_change_nothing_for_the_others(clips, name):
    whole = vidmill_frames(clips / name)
    thinned = vidmill_frames(clips / name, every=5)
    assert [(index, pts) for index, pts, _ in thinned] == [(index, pts) for index, pts, _ in whole]
    assert thinned == [(i, pts, crc if i % 5 == 0 else None) for i, pts, crc in whole]


@pytest.mark.parametrize("name", ["h264.mp4", "vfr.mp4", "bframes.mp4", "hevc.mp4", "vp9.webm", "mjpeg.avi", "rotate90.mp4"])
def test_frame_numbers_and_times_are_those_of_cv2(clips, models, detect, name):
    run = detect(clips / name, models / "yolov8.onnx")
    capture = cv2.VideoCapture(str(clips / name))
    times = []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    assert run.frames == list(range(len(times)))
    first = run.records[0]["time"]
    assert [r["time"] - first for r in run.records] == pytest.approx([t - times[0] for t in times], abs=1.1e-3)


@pytest.mark.parametrize("name", TIMES)
def test_records_carry_the_containers_own_time(clips, models, detect, name):
    path = clips / name
    run = detect(path, models / "yolov8.onnx")
    tick = support.seconds_per_tick(path)
    assert [r["pts"] for r in run.records] == probed_pts(path)
    assert [r["time"] for r in run.records] == pytest.approx([pts * tick for pts in probed_pts(path)], abs=1e-9)


def exact_times(path):
    numerator, denominator = map(int, support.ffprobe_stream(path)["time_base"].split("/"))
    return [pts * Fraction(numerator, denominator) for pts in probed_pts(path)]


def chosen_by_rate(times, rate, start, end):
    """The first frame at or after each tick of 1/rate, counted from the first frame in the range."""
    inside = [(i, t) for i, t in enumerate(times) if t >= start and t < end]
    chosen, due = [], 0
    for i, t in inside:
        passed = (t - inside[0][1]) * rate
        if passed >= due:
            chosen.append(i)
            due = passed.__floor__() + 1
    return chosen


@pytest.mark.parametrize("name", ["h264.mp4", "vfr.mp4", "vfr.mkv", "bframes.mp4", "stream.ts", "late_start.mp4"])
@pytest.mark.parametrize("every", [2, 7, 24, 100])
def test_every(clips, models, detect, name, every):
    run = detect(clips / name, models / "yolov8.onnx", "--every", every)
    total = len(probed_pts(clips / name))
    assert run.frames == list(range(0, total, every))
    assert run.ledger["decoded"] == total
    assert run.ledger["skipped"] == total - len(run.frames)
    support.assert_balanced(run.ledger)


@pytest.mark.parametrize("name", ["h264.mp4", "ntsc.mp4", "vfr.mp4", "vfr.mkv", "stream.ts"])
@pytest.mark.parametrize("rate", ["3", "10", "12.5", "1000"])
def test_fps(clips, models, detect, name, rate):
    run = detect(clips / name, models / "yolov8.onnx", "--fps", rate)
    times = exact_times(clips / name)
    assert run.frames == chosen_by_rate(times, Fraction(rate), times[0], times[-1] + 1)
    support.assert_balanced(run.ledger)


@pytest.mark.parametrize("name", ["h264.mp4", "vfr.mp4", "bframes.mp4", "open_gop.mp4", "stream.ts", "late_start.mp4"])
@pytest.mark.parametrize("part", [(0.3, 0.7), (0.5, 2.0), (0.0, 0.31), (0.52, 0.53)])
def test_start_and_end_give_what_choosing_from_all_frames_gives(clips, models, detect, name, part):
    times = exact_times(clips / name)
    length = times[-1] - times[0]
    start, end = (f"{float(times[0] + Fraction(str(share)) * length):.6f}" for share in part)
    run = detect(clips / name, models / "yolov8.onnx", "--start", start, "--end", end)
    expected = [i for i, t in enumerate(times) if Fraction(start) <= t < Fraction(end)]
    assert run.frames == expected
    assert [r["pts"] for r in run.records] == [probed_pts(clips / name)[i] for i in expected]
    support.assert_balanced(run.ledger)
    assert run.manifest["complete"]


def test_start_and_pace_combine(clips, models, detect):
    times = exact_times(clips / "vfr.mp4")
    start = f"{float(times[6]):.6f}"
    run = detect(clips / "vfr.mp4", models / "yolov8.onnx", "--start", start, "--every", 4)
    assert run.frames == [i for i, t in enumerate(times) if t >= Fraction(start) and i % 4 == 0]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_gives_what_can_be_had_and_says_what_was_lost(clips, models, vidmill, tmp_path, name):
    path, out = clips / name, tmp_path / "out.jsonl"
    done = vidmill("run", path, "--model", models / "yolov8.onnx", "--out", out)
    assert done.code in (0, 3), done.err
    run = support.Run(out, done)
    support.assert_balanced(run.ledger)
    assert run.frames == list(range(len(run.frames)))
    assert len(run.frames) >= len(support.ffprobe_frames(path))
    damage = run.manifest["sources"][0]["damage"]
    assert any(damage.values()), "nothing is said about the damage"


@pytest.mark.parametrize("name", ["truncated_faststart.mp4", "truncated_stream.ts"])
def test_frames_before_the_cut_are_the_whole_files(clips, name):
    whole = vidmill_frames(clips / name.removeprefix("truncated_"))
    cut = vidmill_frames(clips / name)
    assert len(cut) >= 10
    assert cut[:8] == whole[:8]


def test_a_sound_file_reports_no_damage(clips, models, detect):
    for name in ("h264.mp4", "stream.ts", "vp9.webm", "mpeg4.avi"):
        damage = detect(clips / name, models / "yolov8.onnx").manifest["sources"][0]["damage"]
        assert not any(damage.values()), (name, damage)


def test_an_mp4_without_its_index_is_unusable(clips, models, vidmill, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((clips / "h264.mp4").read_bytes()[:9000])
    done = vidmill("run", cut, "--model", models / "yolov8.onnx")
    assert done.code == 2
    assert "cut.mp4" in done.err


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_a_folder_of_images_is_a_source(clips, models, detect, kind):
    run = detect(clips / f"images_{kind}", models / "yolov8.onnx")
    assert [r["source"].rsplit("/", 1)[-1] for r in run.records] == [f"{i:02}.{kind}" for i in (1, 2, 3)]
    assert all(r["pts"] is None and r["time"] is None and r["status"] == "ok" for r in run.records)


def test_globs_lists_and_several_sources_go_into_one_file(clips, models, detect, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{clips / 'h264.mp4'}\n{clips / 'images_png'}\n")
    run = detect(listed, models / "yolov8.onnx", clips / "raw_*2?.nut")
    by_source = {}
    for record in run.records:
        by_source.setdefault(record["source"], []).append(record["frame"])
    assert by_source[str(clips / "h264.mp4")] == list(range(24))
    assert {name for name in by_source if name.endswith(".nut")} == {
        str(path) for path in clips.glob("raw_*2?.nut")
    }
    support.assert_balanced(run.manifest["ledger"])
    assert run.manifest["ledger"]["ok"] == len(run.records)
