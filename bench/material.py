"""What all contenders of `make bench` are given: clips, models and frames, made once and kept in .assets."""

import functools
import subprocess
import sys
from pathlib import Path

from meter import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import models
import pipeline

ASSETS = ROOT / ".assets"
FRAMES = 600


def make_clip(frames=FRAMES):
    """A 1080p30 H.264 clip by x264's defaults, from a real film. It is BT.601 and says so: OpenCV before 5 knows no other matrix."""
    clip = ASSETS / f"bench_1080p_{frames}_bt601.mp4"
    if not clip.exists():
        print(f"making {clip.name} (once)", file=sys.stderr)
        part = clip.with_name("bench.part.mp4")
        encode = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-stream_loop", "-1"]
        encode += ["-i", ASSETS / "bigbuckbunny.mp4", "-an", "-vf", "scale=1920:1080:out_color_matrix=bt601,setpts=N/30/TB"]
        encode += ["-r", "30", "-colorspace", "smpte170m", "-color_range", "tv"]
        encode += ["-frames:v", frames, "-c:v", "libx264", "-pix_fmt", "yuv420p", part]
        subprocess.run(list(map(str, encode)), check=True)
        part.rename(clip)
    return clip


def make_models():
    """The folder with heavy.onnx and light.onnx, which are made again when the script that makes them is newer."""
    folder = ASSETS / "bench"
    newest = Path(models.__file__).stat().st_mtime
    files = [folder / f"{name}.onnx" for name in models.WIDTHS]
    if not all(file.exists() and file.stat().st_mtime >= newest for file in files):
        models.write_models(folder, tensors(make_clip()))
    return folder


@functools.cache
def tensors(clip):
    """The models' input from every 60th frame."""
    pictures = [picture for _, _, picture in pipeline.read_frames(str(clip), 60)]
    return [pipeline.tensor(pipeline.letterbox(picture)[0]) for picture in pictures]
