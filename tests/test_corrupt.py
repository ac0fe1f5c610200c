"""Three hundred damaged files: no crash, no hang, a clear error or an honest ledger."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import support

CLIPS = ["h264.mp4", "stream.ts", "hevc.mp4", "vp9.webm", "av1.mkv", "mpeg4.avi", "mjpeg.avi", "ffv1_bgr0.mkv"]
IMAGES = ["images_jpg/01.jpg", "images_png/01.png", "images_webp/01.webp"]
MODELS = ["yolov8.onnx", "ssd.onnx", "yolov8_end2end.onnx", "yolov8_u8_nhwc.onnx"]
MUTATIONS = 300
TIME_LIMIT = 60


def flip_bits(data, chance):
    for _ in range(chance.choice((1, 8, 64, 400))):
        at = chance.randrange(len(data))
        data[at] ^= 1 << chance.randrange(8)
    return data


def truncate(data, chance):
    return data[: chance.randrange(len(data))]


def swap_chunks(data, chance):
    size = chance.choice((16, 256, 2048))
    a, b = (chance.randrange(max(1, len(data) - size)) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def overwrite(data, chance):
    at = chance.randrange(len(data))
    size = min(chance.choice((4, 64, 1024)), len(data) - at)
    data[at : at + size] = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size)))
    return data


def damage_header(data, chance):
    """Bits where the structure is: the first two hundred bytes."""
    for _ in range(chance.choice((1, 4))):
        data[chance.randrange(min(200, len(data)))] ^= 1 << chance.randrange(8)
    return data


WAYS = [flip_bits, truncate, swap_chunks, overwrite, damage_header]


def mutation(number, clips, models, folder):
    """The damaged file `number`, always the same, and the command line to run on it."""
    chance = random.Random(number)
    kind = number % 4
    if kind == 3:
        original = models / chance.choice(MODELS)
    else:
        original = clips / chance.choice(IMAGES if number % 12 == 0 else CLIPS)
    way = WAYS[number // 4 % len(WAYS)]
    path = folder / f"{number}_{way.__name__}{original.suffix}"
    path.write_bytes(way(bytearray(original.read_bytes()), chance))
    if kind == 3:
        return [clips / "raw_nv12.nut", "--model", path]
    return [path, "--model", models / "yolov8.onnx"]


def complaint(number, vidmill, clips, models, folder):
    """What is wrong with the run on damaged file `number`, or None."""
    out = folder / f"{number}.jsonl"
    arguments = mutation(number, clips, models, folder)
    what = f"mutation {number} ({arguments[0]} with {arguments[2]})"
    try:
        done = vidmill("run", *arguments, "--out", out, timeout=TIME_LIMIT, env={"RUST_BACKTRACE": "0"})
    except support.subprocess.TimeoutExpired:
        return f"{what} hangs"
    if done.code not in (0, 1, 2, 3) or "panicked" in done.err:
        return f"{what} ended with {done.code}: {done.err[-500:]}"
    if done.code in (1, 2):
        return None if done.err.strip() else f"{what} ended with {done.code} and no message"
    return dishonesty(what, done, out)


def dishonesty(what, done, out):
    """Whether records, ledger and exit code of a finished run contradict each other."""
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    ledger = manifest["ledger"]
    records = support.read_jsonl(out)
    support.assert_balanced(ledger)
    if len(records) != ledger["sampled"]:
        return f"{what}: {len(records)} records, but {ledger['sampled']} sampled"
    if (done.code == 0) != (ledger["failed"] == 0 and all(s["error"] is None for s in manifest["sources"])):
        return f"{what}: exit code {done.code}, but the ledger says {ledger}"
    return None


def test_no_mutation_crashes_hangs_or_lies(vidmill, clips, models, tmp_path):
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = pool.map(lambda number: complaint(number, vidmill, clips, models, tmp_path), range(MUTATIONS))
    complaints = [text for text in found if text]
    assert not complaints, f"{len(complaints)} of {MUTATIONS}:\n" + "\n".join(complaints)


@pytest.mark.parametrize("content", [b"", b"\x00" * 4096, b"not a video\n" * 100], ids=["empty", "zeros", "text"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".jpg", ".onnx"])
def test_what_is_no_video_or_model_at_all_is_bad_input(vidmill, clips, models, tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    source, model = (clips / "h264.mp4", path) if suffix == ".onnx" else (path, models / "yolov8.onnx")
    done = vidmill("run", source, "--model", model)
    assert done.code in (2, 3), done.err
    assert path.name in done.err
