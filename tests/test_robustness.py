"""What the real world does to a run: blocked input, busy outputs, links, streams that end nowhere."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from support import read_jsonl


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def test_frames_that_wait_for_their_batch_never_block_the_rest(vidmill, clips, models, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    ffmpeg("-i", clips / "h264.mp4", "-frames:v", "1", folder / "a.png")
    for number in range(60):
        (folder / f"b{number:02}.png").write_bytes(b"no picture")
    out = tmp_path / "out.jsonl"
    done = vidmill("run", folder, "-m", models / "yolov8_dynamic_batch.onnx", "--batch", "4", "-o", out, timeout=60)
    assert done.code == 3, done.err
    records = read_jsonl(out)
    assert [record["frame"] for record in records] == list(range(61))
    assert [record["status"] for record in records] == ["ok"] + ["failed"] * 60


def test_standard_input_is_a_source(vidmill, clips, models, tmp_path):
    stream, out = tmp_path / "clip.ts", tmp_path / "out.jsonl"
    ffmpeg("-i", clips / "h264.mp4", "-c", "copy", stream)
    with stream.open("rb") as stdin:
        done = vidmill("run", "-", "-m", models / "yolov8.onnx", "-o", out, stdin=stdin)
    assert done.code == 0, done.err
    assert len(read_jsonl(out)) == 24


def test_a_source_that_stalls_can_be_interrupted(vidmill, clips, models, tmp_path):
    stream, pipe, out = tmp_path / "clip.ts", tmp_path / "pipe", tmp_path / "out.jsonl"
    ffmpeg("-i", clips / "h264.mp4", "-c", "copy", stream)
    os.mkfifo(pipe)
    process = vidmill.start("run", pipe, "-m", models / "yolov8.onnx", "-o", out)
    with pipe.open("wb", buffering=0) as writer:
        writer.write(stream.read_bytes())
        deadline = time.monotonic() + 30
        while not (out.exists() and out.read_bytes().count(b"\n") > 3) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    process.communicate()
    assert len(read_jsonl(out)) > 3


@pytest.mark.parametrize("link", ["same", "hard", "soft"])
def test_no_output_falls_on_a_source(vidmill, clips, models, tmp_path, link):
    source = tmp_path / "clip.mp4"
    shutil.copy(clips / "h264.mp4", source)
    before = source.read_bytes()
    output = {"same": source, "hard": tmp_path / "hard.mp4", "soft": tmp_path / "soft.mp4"}[link]
    if link == "hard":
        os.link(source, output)
    elif link == "soft":
        output.symlink_to(source)
    arguments = ["run", source, "-m", models / "yolov8.onnx", "-o", tmp_path / "out.jsonl", "--annotate", output]
    done = vidmill(*arguments)
    assert done.code == 2 and "overwrite" in done.err
    assert source.read_bytes() == before


def test_an_output_that_another_run_writes_is_left_alone(vidmill, bikes, models, tmp_path):
    out = tmp_path / "out.jsonl"
    arguments = ["run", bikes, "-m", models / "yolov8.onnx", "-o", out]
    first = vidmill.start(*arguments)
    deadline = time.monotonic() + 30
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    second = vidmill(*arguments)
    first.communicate(timeout=120)
    assert first.returncode == 0
    if "another run" not in second.err:
        pytest.fail(f"the second run was let in: {second.code} {second.err}")
    assert [record["frame"] for record in read_jsonl(out)] == list(range(250))


def test_motion_jpeg_gives_every_frame(detect, clips, models, tmp_path):
    clip = tmp_path / "clip.mjpeg"
    ffmpeg("-i", clips / "h264.mp4", "-frames:v", "5", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-f", "mjpeg", clip)
    assert len(detect(clip, models / "yolov8.onnx").records) == 5


def test_a_change_of_size_ends_the_annotation_and_not_the_records(vidmill, clips, models, tmp_path):
    small, large, both = tmp_path / "small.h264", tmp_path / "large.h264", tmp_path / "both.h264"
    for path, size in [(small, "160x120"), (large, "320x240")]:
        ffmpeg("-i", clips / "h264.mp4", "-frames:v", "6", "-vf", f"scale={size.replace('x', ':')}", "-bf", "0", path)
    both.write_bytes(small.read_bytes() + large.read_bytes())
    out = tmp_path / "out.jsonl"
    arguments = ["run", both, "-m", models / "yolov8.onnx", "-o", out, "--annotate", tmp_path / "out.mp4"]
    done = vidmill(*arguments)
    assert done.code == 1 and "annotated" in done.err
    assert [record["status"] for record in read_jsonl(out)] == ["ok"] * 12


def test_results_do_not_hang_on_who_listens(vidmill, clips, models, tmp_path):
    out = tmp_path / "out.jsonl"
    with open("/dev/full", "w") as full:
        arguments = [vidmill.path, "run", clips / "h264.mp4", "-m", models / "yolov8.onnx", "-o", out]
        assert subprocess.run(arguments, stderr=full, check=False).returncode == 0
    assert len(read_jsonl(out)) == 24
