"""vidmill beside other ways to run a model over a video, on the same clip and models, in one run.

    .venv/bin/python bench/run.py [--quick] [--repeats N] [--frames N] [--only SCENARIO]... [--contender NAME]... [--against PATH]

The contenders alternate, so that a slow minute of the machine hits all of them. Times are whole processes, from start to
exit. Prints tables, and writes bench/results/latest.json. bench/README.md says what is measured and how.
"""

import argparse
import json
import platform
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import meter
from meter import CORES, RESULTS, ROOT

sys.path.insert(0, str(ROOT / "tools"))

import boxes
import contenders
import cv2
import goals
import material
import onnxruntime
import stages

RUNS = RESULTS / "runs"
# Boxes of two contenders are the same if they overlap by so much and are as sure, of the same class.
SAME = {"least_iou": 0.9, "confidence": 0.05}


@dataclass(frozen=True)
class Scenario:
    """A model, every how many frames it runs, and what is aimed at: the ratio to the better hand-written form, the share of the limit."""

    model: str
    every: int
    speed: float
    limit_share: float | None = None

    @property
    def name(self):
        return self.model if self.every == 1 else f"{self.model} --every {self.every}"


SCENARIOS = [
    Scenario("heavy", 1, 1.2, 0.97),
    Scenario("light", 1, 1.8, 0.92),
    Scenario("heavy", 5, 2.2),
    Scenario("heavy", 30, 3.0),
]


def compare(scenario, case, field, repeats, frames):
    """Runs the contenders in turn; medians per contender. One that fails takes no further turn."""
    costs, failed, peaks = {name: [] for name in field}, {}, {}
    for turn in range(repeats + 1):
        # Memory is looked at in a turn of its own, since that slows what is looked at; the first, which warms up files as well.
        for_memory = turn == 0
        for name in rotated(list(field), turn):
            if name in failed:
                continue
            try:
                command = field[name].command(case, out_of(name))
                cost = meter.run(command, for_memory, field[name].environment)
            except meter.BenchmarkError as error:
                if name == "vidmill":
                    raise
                print(error, file=sys.stderr)
                failed[name] = str(error).strip().splitlines()[-1]
                continue
            if for_memory:
                peaks[name] = cost.peak_bytes
            else:
                costs[name].append(cost)
                print(f"{scenario.name}: {name} {turn}/{repeats}: {cost.wall:.2f} s", file=sys.stderr)
    sampled = -(-frames // scenario.every)
    rows = {name: summary(costs[name], peaks[name], frames, sampled) for name in field if name not in failed}
    for name, row in rows.items():
        row["speed"] = rows["vidmill"]["wall_seconds"] / row["wall_seconds"]
        row |= agreement(out_of("vidmill"), out_of(name))
    return {"scenario": scenario.name, "contenders": rows, "failed": failed, "runtime": manifest("vidmill")["runtime"]}


def rotated(names, turn):
    """Who begins takes turns, too."""
    start = turn % len(names)
    return names[start:] + names[:start]


def prepare(field, models, clip):
    """What some do once for each model before they take part; why those that fail at it do."""
    failed = {}
    for name, contender in field.items():
        for model in models if contender.prepare else []:
            print(f"{name}: preparing for {model.name}", file=sys.stderr)
            try:
                meter.run(contender.prepare(contenders.Case(clip, model, 1)), environment=contender.environment)
            except meter.BenchmarkError as error:
                print(error, file=sys.stderr)
                failed[name] = f"failed: {str(error).strip().splitlines()[-1]}"
    return failed


def out_of(name):
    return RUNS / f"{name.replace(' ', '_')}.jsonl"


def manifest(name):
    return json.loads(Path(f"{out_of(name)}.manifest.json").read_text())


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
    """Seconds in the loop, without imports and model loading; vidmill does not say."""
    lines = stderr.strip().splitlines()
    try:
        return json.loads(lines[-1])["loop_seconds"]
    except (IndexError, ValueError, KeyError):
        return None


def agreement(reference, other):
    """On the frames that both have looked at: the share of boxes that both have. None where there are no such frames."""
    ours, theirs = ({r["frame"]: r["detections"] for r in boxes.read_jsonl(path)} for path in (reference, other))
    pairs = [(ours[frame], theirs[frame]) for frame in ours if frame in theirs]
    return {
        "records": len(theirs),
        "common_records": len(pairs),
        "boxes_matched": boxes.share(pairs, **SAME)[0] if pairs else None,
        "same_bytes": reference.read_bytes() == other.read_bytes(),
    }


def limit(scenario, parts):
    """Frames per second if the stages, each measured alone, filled all cores and nothing else took time."""
    told = manifest("vidmill")
    task = told["stage_seconds"]["task"] * 1000 / told["ledger"]["sampled"]
    inference = parts[f"inference, {scenario.model}"]["Python's onnxruntime"]
    per_sampled = parts["preprocess"]["vidmill"] + inference + task
    decode = parts["decode, 1 thread"]["FFmpeg"]
    return {"task_ms": task, "limit_fps": CORES * 1000 / (decode + per_sampled / scenario.every)}


def alone(clip, frames, models, repeats):
    """Each stage by itself, in turns: median milliseconds for a frame, by part and by program."""
    parts = {
        "decode, 1 thread": {
            "vidmill": lambda: stages.decode_by_vidmill(clip, frames, 1),
            "FFmpeg": lambda: stages.decode_by_ffmpeg(clip, frames, 1),
        },
        "decode, default threads": {
            "vidmill": lambda: stages.decode_by_vidmill(clip, frames, 0),
            "FFmpeg": lambda: stages.decode_by_ffmpeg(clip, frames, 0),
        },
        "preprocess": {
            "vidmill": lambda: stages.preprocess_by_vidmill(clip),
            "cv2": lambda: stages.preprocess_by_cv2(clip),
        },
    }
    for model in models:
        parts[f"inference, {model.stem}"] = {
            "vidmill": lambda model=model: stages.inference_by_vidmill(model, clip),
            "Python's onnxruntime": lambda model=model: stages.inference_by_python(model, clip),
        }
    times = {part: {program: [] for program in programs} for part, programs in parts.items()}
    for turn in range(repeats):
        for part, programs in parts.items():
            for program, measure in programs.items():
                times[part][program].append(measure())
        print(f"stages alone: turn {turn + 1} of {repeats} done", file=sys.stderr)
    return {part: {name: statistics.median(all_ms) for name, all_ms in rows.items()} for part, rows in times.items()}


def print_alone(parts):
    print(f"{'alone':<24} {'by':<22} {'ms/frame':>9} {'vidmill is':>11}")
    for part, programs in parts.items():
        for program, ms in programs.items():
            print(f"{part:<24} {program:<22} {ms:>9.3f} {ms / programs['vidmill']:>10.2f}x")
    print()


def print_table(results, left_out):
    columns = f"{'frames/s':>9} {'in its loop':>11} {'of vidmill':>10} {'CPU ms/frame':>13} {'peak MB':>8} {'same boxes':>11} {'frames':>7}"
    print(f"{'scenario':<16} {'contender':<22} {columns}")
    for result in results:
        for name, row in result["contenders"].items():
            loop = "-" if row["loop_seconds"] is None else f"{row['frames_per_second'] * row['wall_seconds'] / row['loop_seconds']:.1f}"
            same = "-" if row["boxes_matched"] is None else f"{row['boxes_matched'] * 100:.2f} %"
            print(
                f"{result['scenario']:<16} {name:<22} {row['frames_per_second']:>9.1f} {loop:>11} {row['speed']:>10.2f} "
                f"{row['cpu_ms_per_sampled_frame']:>13.2f} {row['peak_bytes'] / 1e6:>8.0f} {same:>11} {row['records']:>7}"
            )
        for name, reason in result["failed"].items():
            print(f"{result['scenario']:<16} {name:<22} failed: {reason}")
    for name, reason in left_out.items():
        print(f"{name}: not run: {reason}")
    runtime = results[0]["runtime"]
    print(f"vidmill ran on {runtime['name']} {runtime['version']}, {runtime['provider']}, {runtime['precision']}")
    print()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one turn of half the frames: for a look, not for figures")
    parser.add_argument("--frames", type=int, default=material.FRAMES)
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="by name, as the table shows it")
    parser.add_argument("--contender", action="append", metavar="NAME", help="these beside vidmill; by name, as the table shows it")
    parser.add_argument("--against", metavar="PATH", help="another vidmill, for example the release before")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.frames = 1, material.FRAMES // 2
    return args


def choose(known, wanted, kind):
    """Those asked for; all if none is."""
    if unknown := set(wanted or []) - set(known):
        raise meter.BenchmarkError(f"no {kind} {', '.join(sorted(unknown))}: choose from {'; '.join(known)}")
    return {name: one for name, one in known.items() if not wanted or name in wanted}


def enter(args, clip, models):
    """The contenders that take part, and why others do not, by name."""
    trial = contenders.Case(material.make_clip(3), models[0], 1)
    everyone = contenders.contenders(trial, args.against)
    always = ["vidmill", "against"] if args.against else ["vidmill"]
    chosen = choose(everyone, args.contender and [*always, *args.contender], "contender")
    asked = {name: make() for name, make in chosen.items()}
    left_out = {name: one.missing for name, one in asked.items() if one.missing}
    left_out |= prepare({name: one for name, one in asked.items() if name not in left_out}, models, clip)
    return {name: one for name, one in asked.items() if name not in left_out}, left_out


def main():
    args = parse()
    chosen = choose({scenario.name: scenario for scenario in SCENARIOS}, args.only, "scenario").values()
    clip, folder = material.make_clip(args.frames), material.make_models()
    models = list(dict.fromkeys(folder / f"{scenario.model}.onnx" for scenario in chosen))
    RUNS.mkdir(parents=True, exist_ok=True)
    field, left_out = enter(args, clip, models)
    parts = alone(clip, args.frames, models, args.repeats)
    results = []
    for scenario in chosen:
        case = contenders.Case(clip, folder / f"{scenario.model}.onnx", scenario.every)
        result = compare(scenario, case, field, args.repeats, args.frames) | limit(scenario, parts)
        results.append(result | {"goals": goals.reached(scenario, result)})
    print_alone(parts)
    print_table(results, left_out)
    goals.show(results, parts)
    versions = {"cv2": cv2.__version__, "onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    report = {"versions": versions, "left_out": left_out, "alone": parts, "results": results}
    meter.write_report("latest.json", report)
    return any(result["failed"] for result in results) or any(reason.startswith("failed") for reason in left_out.values())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except meter.BenchmarkError as error:
        raise SystemExit(f"bench: {error}") from None
