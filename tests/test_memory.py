"""Memory does not grow with the length of the video."""

import os
import subprocess

import pytest
import support

ALLOWED = 1.05


@pytest.fixture(scope="module")
def lengths(clips, tmp_path_factory):
    """One clip of 120 and one of 1200 frames."""
    folder = tmp_path_factory.mktemp("lengths")
    paths = []
    for times in (5, 50):
        path = folder / f"{times}.mp4"
        loop = ("ffmpeg", "-v", "error", "-stream_loop", times - 1, "-i", clips / "h264.mp4", "-c", "copy", path)
        support.tool(*loop)
        paths.append(path)
    return paths


def peak(binary, *arguments):
    """The largest resident set of one run, in KB."""
    process = subprocess.Popen([binary, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.json", "out.parquet"])
def test_ten_times_the_frames_take_no_more_memory(binary, lengths, models, tmp_path, name):
    run = ("--model", models / "yolov8.onnx", "--progress", "off", "--out", tmp_path / name)
    short, long = (min(peak(binary, "run", clip, *run) for _ in range(2)) for clip in lengths)
    assert long <= short * ALLOWED, f"{short} KB for one length, {long} KB for ten"


def test_annotating_takes_no_more_memory_either(binary, lengths, models, tmp_path):
    run = ("--model", models / "yolov8.onnx", "--progress", "off", "--out", tmp_path / "out.jsonl")
    annotate = ("--annotate", tmp_path / "boxes.mp4")
    short, long = (min(peak(binary, "run", clip, *run, *annotate) for _ in range(2)) for clip in lengths)
    assert long <= short * ALLOWED, f"{short} KB for one length, {long} KB for ten"
