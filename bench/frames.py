"""Frames as arrays: vidmill.frames beside cv2.VideoCapture, on the same clip, in turns.

    make python && .venv/bin/python bench/frames.py [CLIP] [--rounds N] [--only CASE]

Without a clip, 300 frames of a film at 1920x1080 are encoded first. The two take turns, and who begins does, too. Rates and CPU times are
medians, CPU that of all threads; ratios are taken within a turn, where both had the same neighbours, and their median is told.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import cv2
import vidmill

ROOT = Path(__file__).resolve().parent.parent
SMALL = (640, 360)


def make_clip():
    """1080p H.264, 300 frames."""
    path = ROOT / ".assets" / "bench_1080p.mp4"
    if not path.exists():
        source = ("-stream_loop", "2", "-i", ROOT / ".assets" / "bigbuckbunny.mp4")
        encoder = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M", "-an")
        command = ["ffmpeg", "-v", "error", *source, "-vf", "scale=1920:1080", "-frames:v", "300", *encoder, path]
        subprocess.run(list(map(str, command)), check=True)
    return path


def by_cv2(clip, every=1, convert=lambda picture: picture):
    """Every frame by read(); of some frames, those between are grabbed, which decodes and does not convert them."""
    capture, index = cv2.VideoCapture(str(clip)), 0
    if every == 1:
        while (read := capture.read())[0]:
            convert(read[1])
            index += 1
        return index
    while capture.grab():
        if index % every == 0:
            convert(capture.retrieve()[1])
        index += 1
    return index


def by_vidmill(clip, **options):
    with vidmill.frames(clip, **options) as frames:
        for frame in frames:
            _ = frame.array


CASES = {
    "BGR": (lambda clip: by_cv2(clip), {"format": "bgr"}),
    "RGB": (lambda clip: by_cv2(clip, convert=lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2RGB)), {}),
    "grey": (lambda clip: by_cv2(clip, convert=lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)), {"format": "gray"}),
    "BGR, 640x360": (lambda clip: by_cv2(clip, convert=lambda p: cv2.resize(p, SMALL)), {"format": "bgr", "size": SMALL}),
    "BGR, every 5th": (lambda clip: by_cv2(clip, 5), {"format": "bgr", "every": 5}),
    "BGR, every 10th": (lambda clip: by_cv2(clip, 10), {"format": "bgr", "every": 10}),
    "BGR, every 30th": (lambda clip: by_cv2(clip, 30), {"format": "bgr", "every": 30}),
}


def measure(work, clip):
    """Seconds of time and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(clip)
    return time.perf_counter() - wall, time.process_time() - cpu


def take_turns(case, clip, rounds):
    """What each round took: ((wall, cpu) of cv2, (wall, cpu) of vidmill)."""
    by_other, options = CASES[case]
    workers = (by_other, lambda clip: by_vidmill(clip, **options))
    turns = []
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        took = {which: measure(workers[which], clip) for which in order}
        turns.append((took[0], took[1]))
    return turns


def main():
    parser = argparse.ArgumentParser(description="vidmill.frames beside cv2.VideoCapture")
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=CASES)
    arguments = parser.parse_args()
    clip = arguments.clip or make_clip()
    count = by_cv2(clip)
    print(f"{clip.name}, {count} frames, {arguments.rounds} rounds, cv2 {cv2.__version__}, vidmill {vidmill.__version__}")
    print(f"{'':16}{'cv2':>22}{'vidmill':>22}{'time':>8}{'CPU':>8}")
    for case in [arguments.only] if arguments.only else CASES:
        turns = take_turns(case, clip, arguments.rounds)
        columns = []
        for which in (0, 1):
            wall, cpu = (statistics.median(turn[which][what] for turn in turns) for what in (0, 1))
            columns.append(f"{count / wall:.0f}/s, {1000 * cpu / count:.1f} ms CPU")
        ratios = [statistics.median(theirs[what] / ours[what] for theirs, ours in turns) for what in (0, 1)]
        print(f"{case:16}{columns[0]:>22}{columns[1]:>22}{ratios[0]:8.2f}{ratios[1]:8.2f}", flush=True)


if __name__ == "__main__":
    main()
