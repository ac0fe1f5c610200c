"""vidmill beside two hand-written Python pipelines, on the same clip and models, in one run.

    .venv/bin/python bench/run.py [--repeats N] [--frames N] [--only SCENARIO]...

The contenders alternate, so that a slow minute of the machine hits all of them. Times are whole processes, from start to
exit. Prints a table, and writes bench/results/latest.json. bench/README.md says what is measured and how.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass

import meter
from meter import CORES, RESULTS, ROOT, TARGET

sys.path.insert(0, str(ROOT / "tools"))

import boxes
import cv2
import models
import onnxruntime
import pipeline
import stages

ASSETS = ROOT / ".assets"
VIDMILL = TARGET / "vidmill"
CONF, IOU = 0.25, 0.7


@dataclass(frozen=True)
class Scenario:
    """A model, every how many frames it runs, and the ratio to the better Python form that is aimed at."""

    model: str
    every: int
    goal: float

    @property
    def name(self):
        return self.model if self.every == 1 else f"{self.model} --every {self.every}"


SCENARIOS = [Scenario("heavy", 1, 1.2), Scenario("light", 1, 1.8), Scenario("heavy", 5, 2.2), Scenario("heavy", 30, 2.5)]


def make_clip(frames):
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


def make_models(clip):
    folder = ASSETS / "bench"
    pictures = [picture for _, _, picture in pipeline.read_frames(str(clip), 60)]
    models.write_models(folder, [pipeline.tensor(pipeline.letterbox(picture)[0]) for picture in pictures])
    return folder


def commands(scenario, clip, folder, out):
    """What each contender is called with."""
    model = folder / f"{scenario.model}.onnx"
    python = [sys.executable, ROOT / "bench" / "pipeline.py", clip, model]
    options = ["--every", scenario.every, "--conf", CONF, "--iou", IOU]
    vidmill = [VIDMILL, "run", clip, "--model", model, "--progress", "off", *options]
    return {
        "vidmill": [*vidmill, "--out", out / "vidmill.jsonl"],
        "vidmill --isolate": [*vidmill, "--out", out / "isolated.jsonl", "--isolate"],
        "python workers": [*python, out / "workers.jsonl", "--form", "workers", *options],
        "python single": [*python, out / "single.jsonl", "--form", "single", *options],
    }


def compare(scenario, clip, folder, repeats, frames):
    """Runs the contenders in turn; medians per contender."""
    out = RESULTS / "runs"
    out.mkdir(parents=True, exist_ok=True)
    contenders = commands(scenario, clip, folder, out)
    costs = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name, command in contenders.items():
            costs[name].append(meter.run(command))
            print(f"{scenario.name}: {name} {repeat + 1}/{repeats}: {costs[name][-1].wall:.2f} s", file=sys.stderr)
    peaks = {name: meter.run(command, sample_memory=True).peak_bytes for name, command in contenders.items()}
    sampled = -(-frames // scenario.every)
    return {
        "scenario": scenario.name,
        "goal": scenario.goal,
        "agreement": boxes.files_share(out / "vidmill.jsonl", out / "workers.jsonl", least_iou=0.8, confidence=0.05)[0],
        "contenders": {name: summary(costs[name], peaks[name], frames, sampled) for name in contenders},
    }


def summary(costs, peak, frames, sampled):
    wall = statistics.median(cost.wall for cost in costs)
    cpu = statistics.median(cost.cpu for cost in costs)
    loops = [loop for cost in costs if (loop := loop_seconds(cost.stderr)) is not None]
    return {
        "wall_seconds": wall,
        "wall_seconds_all": [cost.wall for cost in costs],
        "loop_seconds": statistics.median(loops) if loops else None,
        "frames_per_second": frames / wall,
        "cpu_ms_per_sampled_frame": cpu * 1000 / sampled,
        "peak_bytes": peak,
    }


def loop_seconds(stderr):
    """Seconds in the Python loop, without imports and model loading; vidmill does not say."""
    lines = stderr.strip().splitlines()
    try:
        return json.loads(lines[-1])["loop_seconds"]
    except (IndexError, ValueError, KeyError):
        return None


def ratios(result):
    """vidmill against the faster Python form; the strict ratio leaves out the Python forms' start."""
    contenders = result["contenders"]
    ours = contenders["vidmill"]
    theirs = [contenders["python workers"], contenders["python single"]]
    better = min(theirs, key=lambda other: other["wall_seconds"])
    return {
        "speed": better["wall_seconds"] / ours["wall_seconds"],
        "speed_strict": min(other["loop_seconds"] for other in theirs) / ours["wall_seconds"],
        "memory": ours["peak_bytes"] / better["peak_bytes"],
        "isolate": contenders["vidmill --isolate"]["wall_seconds"] / ours["wall_seconds"],
    }


def alone(clip, frames):
    """The stages that no scenario changes, each measured by itself: CPU milliseconds for a frame."""
    return {
        "decode_ms": stages.decode_alone(clip, frames),
        "preprocess_ms": stages.vidmill_preprocess_alone(TARGET / "examples" / "preprocess_raw", clip),
        "cv2_preprocess_ms": stages.cv2_preprocess_alone(clip),
    }


def limit(scenario, folder, clip, own, cores):
    """Frames per second if the stages, each measured alone, filled all cores and nothing else took time."""
    inference = stages.inference_alone(folder / f"{scenario.model}.onnx", clip)
    manifest = json.loads((RESULTS / "runs" / "vidmill.jsonl.manifest.json").read_text())
    task = manifest["stage_seconds"]["task"] * 1000 / manifest["ledger"]["sampled"]
    per_sampled = own["preprocess_ms"] + inference + task
    return {
        "inference_ms": inference,
        "task_ms": task,
        "limit_fps": cores * 1000 / (own["decode_ms"] + per_sampled / scenario.every),
    }


def print_table(results, own):
    print(f"{'scenario':<18} {'contender':<18} {'frames/s':>9} {'CPU ms/frame':>13} {'peak MB':>8}")
    for result in results:
        for name, row in result["contenders"].items():
            print(
                f"{result['scenario']:<18} {name:<18} {row['frames_per_second']:>9.1f} "
                f"{row['cpu_ms_per_sampled_frame']:>13.2f} {row['peak_bytes'] / 1e6:>8.0f}"
            )
        r = result["ratios"]
        print(
            f"{'':<18} speed {r['speed']:.2f}x (goal {result['goal']}x; {r['speed_strict']:.2f}x without Python's start), "
            f"memory {r['memory']:.2f}x (goal 0.5x), {result['limit_share']:.2f} of the limit of {result['limit_fps']:.1f} frames/s, "
            f"boxes agree {result['agreement'] * 100:.1f} %, --isolate takes {r['isolate']:.3f}x the time (goal 1.03x)"
        )
    print(
        f"alone, CPU ms a frame: decode {own['decode_ms']:.2f}; preprocess {own['preprocess_ms']:.2f}, "
        f"by cv2 {own['cv2_preprocess_ms']:.2f}: {own['cv2_preprocess_ms'] / own['preprocess_ms']:.1f}x (goal 2x)"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="by name, as the table shows it")
    args = parser.parse_args()
    clip = make_clip(args.frames)
    folder = make_models(clip)
    own = alone(clip, args.frames)
    results = []
    for scenario in SCENARIOS:
        if args.only and scenario.name not in args.only:
            continue
        result = compare(scenario, clip, folder, args.repeats, args.frames)
        result["ratios"] = ratios(result)
        result |= limit(scenario, folder, clip, own, CORES)
        ours = result["contenders"]["vidmill"]
        result["limit_share"] = ours["frames_per_second"] / result["limit_fps"]
        results.append(result)
    print_table(results, own)
    versions = {"cv2": cv2.__version__, "onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    meter.write_report("latest.json", {"versions": versions, "alone": own, "results": results})


if __name__ == "__main__":
    try:
        main()
    except meter.BenchmarkError as error:
        raise SystemExit(f"bench: {error}") from None
