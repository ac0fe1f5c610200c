"""From a decoded picture to a model's tensor: vidmill's pass beside cv2 and fast_image_resize, on one thread, in one run.

    .venv/bin/python bench/preprocess.py [--turns N] [--repeats N]

Contenders take turns; medians are shown. Prints two tables, and writes bench/results/preprocess.json. bench/README.md says what each
contender does.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time

import cv2
import meter
import numpy as np
import pipeline

EXAMPLE = meter.TARGET / "examples" / "preprocess_raw"
PEER = meter.ROOT / "bench" / "peers" / "preprocess"
LEVELS = ["scalar", "avx2", "avx512", "neon"]
SIDES = [320, 640, 1280]
SIZES = [(1280, 720), (1920, 1080), (3840, 2160)]
FORMATS = ["yuv420p", "nv12", "yuv422p", "yuv420p10le", "p010le", "rgb24", "bgr24"]
# The element types are told apart at one size; the others differ as these do.
ELEMENTS = ["f32", "f16", "u8"]
REFERENCE = (1920, 1080)


def raw_frame(clip, size, pixel_format):
    """One frame of the clip, scaled and converted by FFmpeg."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", clip, "-frames:v", "1"]
    command += ["-vf", f"select=eq(n\\,100),scale={size[0]}:{size[1]}", "-pix_fmt", pixel_format, "-f", "rawvideo", "-"]
    return subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout


def vidmill(frame, size, pixel_format, side, repeats, level=None, element="f32"):
    """Milliseconds of a pass, and the level that it ran at."""
    command = [EXAMPLE, "--format", pixel_format, "--size", f"{size[0]}x{size[1]}", "--target", f"{side}x{side}"]
    command += ["--matrix", "bt601", "--dtype", element, "--repeat", repeats]
    environment = os.environ | ({"VIDMILL_SIMD": level} if level else {})
    done = subprocess.run(list(map(str, command)), input=frame, check=True, capture_output=True, env=environment)
    found = re.search(r"^(\w+): median ([0-9.]+) ms", done.stderr.decode(), re.MULTILINE)
    return found[1], float(found[2])


def levels(frame):
    """The levels that this machine has."""
    return [level for level in LEVELS if vidmill(frame, REFERENCE, "yuv420p", 320, 1, level)[0] == level]


def build_peer():
    """The program, or None and why, when it cannot be built."""
    command = ["cargo", "build", "--release", "--manifest-path", PEER / "Cargo.toml", "--target-dir", meter.TARGET.parent / "peers"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or ["cargo said nothing"])[-1]
    return meter.TARGET.parent / "peers" / "release" / "preprocess-peer", None


def peer(program, bgr, side, repeats):
    command = [program, "--size", f"{REFERENCE[0]}x{REFERENCE[1]}", "--target", f"{side}x{side}", "--repeat", repeats]
    done = subprocess.run(list(map(str, command)), input=bgr.tobytes(), check=True, capture_output=True)
    return json.loads(done.stdout)["tensor_ms"]


def timed(call, repeats):
    """The median of so many calls, in milliseconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def needed_bytes(size, side):
    """Bytes of the yuv420p rows that the visible lines lie on or between."""
    width, height = size
    fitted = round(height * min(side / width, side / height))
    luma = rows_between(((line + 0.5) * height / fitted - 0.5 for line in range(fitted)), height)
    chroma = rows_between(((row + 0.5) / 2 - 0.5 for row in luma), (height + 1) // 2)
    return len(luma) * width + 2 * len(chroma) * ((width + 1) // 2)


def rows_between(places, count):
    inside = [min(max(place, 0), count - 1) for place in places]
    return {row for place in inside for row in (math.floor(place), math.ceil(place))}


def contenders(bgr, yuv, frame, side, repeats, own_levels, program):
    """Each contender by name: a call that returns milliseconds."""

    def by_cv2():
        pipeline.SIDE = side
        return timed(lambda: pipeline.tensor(pipeline.letterbox(bgr)[0]), repeats)

    def blob():
        return timed(lambda: cv2.dnn.blobFromImage(bgr, 1 / 255, (side, side), swapRB=True), repeats)

    moved = needed_bytes(REFERENCE, side) + 3 * side * side * 4
    source, target = np.ones(moved // 2, np.uint8), np.zeros(moved // 2, np.uint8)
    calls = {f"vidmill {level}": lambda level=level: vidmill(frame, REFERENCE, "yuv420p", side, repeats, level)[1] for level in own_levels}
    calls["to BGR by cv2"] = lambda: timed(lambda: cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420), repeats)
    calls["letterbox by cv2, from BGR"] = by_cv2
    calls["blobFromImage, from BGR"] = blob
    if program:
        calls["fast_image_resize, from BGR"] = lambda: peer(program, bgr, side, repeats)
    calls["memcpy of the same bytes"] = lambda: timed(lambda: np.copyto(target, source), repeats)
    return calls, moved


def compare(clip, turns, repeats, program):
    """The contenders at every side, in turns."""
    frame = raw_frame(clip, REFERENCE, "yuv420p")
    yuv = np.frombuffer(frame, np.uint8).reshape(REFERENCE[1] * 3 // 2, REFERENCE[0])
    bgr = cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420)
    own_levels = levels(frame)
    rows = []
    for side in SIDES:
        calls, moved = contenders(bgr, yuv, frame, side, repeats, own_levels, program)
        taken = {name: [] for name in calls}
        for _ in range(turns):
            for name, call in calls.items():
                taken[name].append(call())
        medians = {name: statistics.median(times) for name, times in taken.items()}
        rows.append({"side": side, "bytes": moved, "ms": medians, "ratios": ratios(medians, own_levels[-1])})
    return own_levels, rows


def ratios(medians, level):
    """How many times as long the others take as vidmill at its best level."""
    own, convert = medians[f"vidmill {level}"], medians["to BGR by cv2"]
    found = {}
    for name in medians:
        if name.endswith(", from BGR"):
            found[name] = medians[name] / own
            found[name.replace("from BGR", "with the conversion")] = (medians[name] + convert) / own
    found["memcpy of the same bytes"] = medians["memcpy of the same bytes"] / own
    return found


def survey(clip, repeats):
    """Every format and size of picture and tensor, at the best level."""
    rows = []
    for size in SIZES:
        for pixel_format in FORMATS:
            frame = raw_frame(clip, size, pixel_format)
            elements = ELEMENTS if size == REFERENCE else ELEMENTS[:1]
            for element in elements:
                ms = {side: vidmill(frame, size, pixel_format, side, repeats, element=element)[1] for side in SIDES}
                rows.append({"size": size, "format": pixel_format, "element": element, "ms": ms})
    return rows


def print_tables(rows, all_formats):
    names = list(rows[0]["ms"])
    print("1920x1080 yuv420p, letterboxed to f32 NCHW, one thread: ms (GB/s of what must be read and written)")
    print(f"{'':<30}" + "".join(f"{row['side']:>8}x{row['side']:<12}" for row in rows))
    for name in names:
        cells = [f"{row['ms'][name]:>9.3f} ({row['bytes'] / row['ms'][name] / 1e6:>5.1f})    " for row in rows]
        has_rate = name.startswith(("vidmill", "memcpy"))
        print(f"{name:<30}" + "".join(cell if has_rate else f"{cell[:9]:<21}" for cell in cells))
    for name in rows[0]["ratios"]:
        cells = [f"{row['ratios'][name]:>8.2f}x{'':<12}" for row in rows]
        print(f"{name:<46}"[:46] + "".join(cells) + " of vidmill's time")
    print("\nvidmill's best level, ms")
    print(f"{'picture':<12}{'format':<14}{'tensor':<8}" + "".join(f"{side:>10}" for side in SIDES))
    for row in all_formats:
        cells = "".join(f"{row['ms'][side]:>10.3f}" for side in SIDES)
        print(f"{row['size'][0]}x{row['size'][1]:<8}{row['format']:<14}{row['element']:<8}{cells}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--clip", default=meter.ROOT / ".assets" / "bench_1080p_600_bt601.mp4", help="made by bench/run.py")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if not EXAMPLE.exists():
        raise meter.BenchmarkError(f"{EXAMPLE} is missing: cargo build --release -p vidmill-image --example preprocess_raw")
    program, why_not = build_peer()
    own_levels, rows = compare(args.clip, args.turns, args.repeats, program)
    all_formats = survey(args.clip, args.repeats)
    print_tables(rows, all_formats)
    if why_not:
        print(f"left out: fast_image_resize ({why_not})")
    missing = [level for level in LEVELS if level not in own_levels]
    print(f"levels that this machine lacks, not measured: {', '.join(missing) or 'none'}")
    report = {"cv2": cv2.__version__, "levels": own_levels, "left_out": why_not, "compared": rows, "formats": all_formats}
    meter.write_report("preprocess.json", report)


if __name__ == "__main__":
    try:
        main()
    except meter.BenchmarkError as error:
        sys.exit(f"bench: {error}")
