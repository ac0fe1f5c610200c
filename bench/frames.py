"""Frames as arrays: vidmill.frames beside cv2.VideoCapture, on the same clip, in turns.

    make python && .venv/bin/python bench/frames.py [CLIP]

Without a clip, 300 frames of a film at 1920x1080 are encoded first. Of three rounds the best counts. CPU is that of all threads.
"""

import subprocess
import sys
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
    capture, index = cv2.VideoCapture(str(clip)), 0
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
    "BGR, every 30th": (lambda clip: by_cv2(clip, 30), {"format": "bgr", "every": 30}),
}


def main():
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else make_clip()
    count = by_cv2(clip)
    best = {}
    for _ in range(3):
        for case, (cv, options) in CASES.items():
            for name, work in (("cv2", cv), ("vidmill", lambda clip, options=options: by_vidmill(clip, **options))):
                wall, cpu = time.perf_counter(), time.process_time()
                work(clip)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                best[case, name] = min(best.get((case, name), (wall, cpu)), (wall, cpu))
    print(f"{clip.name}, {count} frames, cv2 {cv2.__version__}, vidmill {vidmill.__version__}")
    print(f"{'':16}{'cv2':>20}{'vidmill':>22}{'ratio':>8}")
    for case in CASES:
        (cv_wall, cv_cpu), (wall, cpu) = best[case, "cv2"], best[case, "vidmill"]
        columns = [f"{count / w:.0f}/s, {1000 * c / count:.1f} ms CPU" for w, c in ((cv_wall, cv_cpu), (wall, cpu))]
        print(f"{case:16}{columns[0]:>20}{columns[1]:>22}{cv_wall / wall:8.2f}")


if __name__ == "__main__":
    main()
