"""Runs from Python: vidmill.run with a native model and with a predictor in Python, beside the command and the hand-written
pipeline, on the same clip and model, in turns.

    make python && make release && .venv/bin/python bench/python_runs.py [--repeats N] [--frames N]

Times are whole processes, from start to exit, medians. *in the loop* leaves out start and model loading (of the pipeline), or the
import of vidmill (of vidmill.run).
"""

import argparse
import os
import statistics
import subprocess
import sys

import material
import meter
import run
from meter import ROOT

HERE = ROOT / "bench"
CALL = """
import sys, time, vidmill
clip, model, out = sys.argv[1:]
begun = time.perf_counter()
with vidmill.run(clip, model, out=out) as going:
    count = sum(1 for _ in going)
import json
print(json.dumps({"frames": count, "loop_seconds": time.perf_counter() - begun}), file=sys.stderr)
"""


def contenders(clip, model, out):
    python = [sys.executable, "-c", CALL, clip]
    pipeline = [sys.executable, HERE / "pipeline.py", clip, model]
    return {
        "vidmill run": [meter.TARGET / "vidmill", "run", clip, "--model", model, "--progress", "off", "--out", out / "command.jsonl"],
        "vidmill.run, native": [*python, model, out / "native.jsonl"],
        "vidmill.run, Python": [*python, f"{HERE / 'python_predictor.py'}:Detector", out / "python.jsonl"],
        "hand-written, workers": [*pipeline, out / "workers.jsonl", "--form", "workers"],
        "hand-written, single": [*pipeline, out / "single.jsonl", "--form", "single"],
    }


def compare(name, clip, folder, repeats):
    out = meter.RESULTS / "runs"
    out.mkdir(parents=True, exist_ok=True)
    os.environ["BENCH_MODEL"] = str(folder / f"{name}.onnx")
    commands = contenders(clip, folder / f"{name}.onnx", out)
    costs = {contender: [] for contender in commands}
    for repeat in range(repeats):
        for contender, command in commands.items():
            costs[contender].append(meter.run(command))
            print(f"{name}: {contender} {repeat + 1}/{repeats}: {costs[contender][-1].wall:.2f} s", file=sys.stderr)
    same = (out / "command.jsonl").read_bytes()
    if any((out / other).read_bytes() != same for other in ("native.jsonl", "python.jsonl")):
        raise meter.BenchmarkError("the three vidmill runs differ in their records")
    result = {
        contender: {
            "wall_seconds": statistics.median(cost.wall for cost in all_costs),
            "cpu_seconds": statistics.median(cost.cpu for cost in all_costs),
            "loop_seconds": loop([run.loop_seconds(cost.stderr) for cost in all_costs]),
        }
        for contender, all_costs in costs.items()
    }
    return {"model": name, "contenders": result, "ratios": ratios(result)}


def loop(seconds):
    known = [value for value in seconds if value is not None]
    return statistics.median(known) if known else None


def ratios(result):
    theirs = [result["hand-written, workers"], result["hand-written, single"]]
    own, native = result["vidmill.run, Python"], result["vidmill.run, native"]
    return {
        "native to command": native["wall_seconds"] / result["vidmill run"]["wall_seconds"],
        "native to command, in the loop": native["loop_seconds"] / result["vidmill run"]["wall_seconds"],
        "Python predictor's speed": min(t["wall_seconds"] for t in theirs) / own["wall_seconds"],
        "Python predictor's speed, in the loop": min(t["loop_seconds"] for t in theirs) / own["loop_seconds"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=600)
    args = parser.parse_args()
    check = [sys.executable, "-c", "import vidmill"]
    if subprocess.run(check, check=False).returncode != 0:
        raise meter.BenchmarkError("the Python package is not installed: make python")
    clip = material.make_clip(args.frames)
    folder = material.make_models()
    results = [compare(name, clip, folder, args.repeats) for name in ("heavy", "light")]
    for result in results:
        for contender, row in result["contenders"].items():
            print(f"{result['model']:<8} {contender:<24} {row['wall_seconds']:7.2f} s  CPU {row['cpu_seconds']:7.2f} s")
        for name, ratio in result["ratios"].items():
            print(f"{'':<8} {name}: {ratio:.3f}x")
    meter.write_report("python_runs.json", {"results": results})


if __name__ == "__main__":
    try:
        main()
    except meter.BenchmarkError as error:
        raise SystemExit(f"bench: {error}") from None
