"""Helpers of the tests: running commands, reading what they wrote, and decoding with other people's libraries."""

import functools
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Done:
    """A command that has ended. `code` is negative where a signal ended it."""

    code: int
    out: str
    err: str
    seconds: float


class Command:
    """The vidmill binary."""

    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments, timeout=120, env=None, cwd=None, stdin=None):
        """Runs to the end. A command that takes longer than `timeout` seconds is killed, and the test fails."""
        started = time.monotonic()
        done = subprocess.run(
            [str(self.path), *map(str, arguments)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def start(self, *arguments, **options):
        """Starts, and returns the process."""
        return subprocess.Popen(
            [str(self.path), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            **options,
        )


class Run:
    """What one run left behind."""

    def __init__(self, path, done):
        self.path, self.done = path, done

    @functools.cached_property
    def records(self):
        return read_jsonl(self.path)

    @functools.cached_property
    def manifest(self):
        return json.loads(Path(f"{self.path}.manifest.json").read_text())

    @property
    def ledger(self):
        (source,) = self.manifest["sources"]
        return source["ledger"]

    @property
    def frames(self):
        return [record["frame"] for record in self.records]


def shared_memory():
    """The names of what lies in shared memory, but for what other programs' Python has there."""
    foreign = ("sem.", "joblib", "torch_", "psm_")
    return {name for name in os.listdir("/dev/shm") if not name.startswith(foreign)}


def open_files():
    """What this process's descriptors are open on."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # that of the listing itself
            pass
    return found


def read_jsonl(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def assert_balanced(ledger):
    """decoded = sampled + skipped, and sampled = ok + failed + dropped."""
    assert ledger["decoded"] == ledger["sampled"] + ledger["skipped"], ledger
    assert ledger["sampled"] == ledger["ok"] + ledger["failed"] + ledger["dropped"], ledger


@functools.cache
def example(crate, name):
    """The path of a crate's example, built in the development profile."""
    build = ["cargo", "build", "-q", "--locked", "-p", crate, "--example", name]
    subprocess.run(build, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "debug" / "examples" / name


def tool(*command, stdin=None):
    """Runs another program to its successful end and returns its standard output as bytes."""
    done = subprocess.run(list(map(str, command)), input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, f"{command[0]} failed: {done.stderr.decode(errors='replace')[-1000:]}"
    return done.stdout


@functools.cache
def ffprobe_frames(path):
    """ffprobe's view of every decodable frame of the first video stream, in output order."""
    entries = "frame=pts,best_effort_timestamp,pict_type,key_frame,width,height,pix_fmt"
    out = tool("ffprobe", "-v", "quiet", "-select_streams", "v:0", "-show_frames", "-show_entries", entries, "-of", "json", path)
    return json.loads(out)["frames"]


@functools.cache
def ffprobe_stream(path):
    """ffprobe's view of the first video stream."""
    out = tool("ffprobe", "-v", "quiet", "-select_streams", "v:0", "-show_streams", "-of", "json", path)
    return json.loads(out)["streams"][0]


def seconds_per_tick(path):
    numerator, denominator = map(int, ffprobe_stream(path)["time_base"].split("/"))
    return numerator / denominator


MATRICES = {"bt709": "bt709", "bt470bg": "bt601", "smpte170m": "bt601", "bt2020nc": "bt2020"}
# swscale's best: chroma interpolated at full resolution, no shortcuts in rounding.
ACCURATE = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


class Colors:
    """What a stream's samples mean: its tags, and for what they leave open what vidmill promises to assume."""

    def __init__(self, path):
        stream = ffprobe_stream(path)
        self.pixels = stream["pix_fmt"]
        untagged = "bt709" if stream["height"] >= 720 else "bt601"
        self.matrix = MATRICES.get(stream.get("color_space"), untagged)
        full = stream.get("color_range") == "pc" or self.pixels.startswith(("gray", "yuvj"))
        self.range = "full" if full else "limited"
        location = stream.get("chroma_location", "unspecified")
        self.siting = "center" if location == "unspecified" else location  # as swscale takes it

    def scale_options(self):
        """The same, told to swscale. Left to itself, it takes chroma to be centred always, and matrices to be BT.601."""
        limits = "pc" if self.range == "full" else "tv"
        options = f"in_color_matrix={self.matrix}:in_range={limits}:{ACCURATE}"
        halved = any(part in self.pixels for part in ("420", "nv12", "nv21"))
        across, down = {"left": (0, 128), "center": (128, 128), "topleft": (0, 0)}[self.siting]
        if halved or any(part in self.pixels for part in ("422", "411")):
            options += f":in_h_chr_pos={across}"
        return options + (f":in_v_chr_pos={down}" if halved else "")


def decoding(path, filters, pixels):
    """The ffmpeg command that writes the stored frames, filtered, as raw `pixels`."""
    return (
        *("ffmpeg", "-v", "error", "-noautorotate", "-i", path, "-map", "0:v:0", "-vf", filters),
        *("-vsync", "passthrough", "-pix_fmt", pixels, "-f", "rawvideo", "-"),
    )


def rgb_frames(path, select="null"):
    """The stored frames that the filter `select` passes, as one array `[n, height, width, 3]`."""
    stream = ffprobe_stream(path)
    raw = tool(*decoding(path, f"{select},scale={Colors(path).scale_options()},format=rgb24", "rgb24"))
    return np.frombuffer(raw, np.uint8).reshape(-1, stream["height"], stream["width"], 3)


def upright(picture, degrees_clockwise):
    """A picture turned clockwise."""
    return np.rot90(picture, -degrees_clockwise // 90)
