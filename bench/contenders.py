"""Who takes part in `make bench`: what each is called with, and why some cannot run here.

A contender reads the clip, runs the model on every Nth frame, and writes a JSON line for each. A new one is one more line in
`contenders`; the rest (turns, medians, memory, boxes that agree) follows.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnxruntime
import outside
from meter import RESULTS, ROOT, TARGET, BenchmarkError

VIDMILL = TARGET / "vidmill"
ORACLE = ROOT / ".venv-oracle" / "bin" / "python"
CONF, IOU = 0.25, 0.7


@dataclass(frozen=True)
class Case:
    """What all are given."""

    clip: Path
    model: Path
    every: int

    @property
    def options(self):
        return ["--every", self.every, "--conf", CONF, "--iou", IOU]


@dataclass(frozen=True)
class Contender:
    """`command` makes the command line for a case and the file to write, `prepare` one that runs before the first turn with a
    model. `missing` says why it cannot run here."""

    command: Callable[[Case, Path], list]
    environment: dict = field(default_factory=dict)
    prepare: Callable[[Case], list] | None = None
    missing: str | None = None


def contenders(trial, against):
    """What makes each, by name. `trial` is a small case: what only some builds and machines can do is tried on it. `against` is
    another vidmill."""
    if not VIDMILL.exists():
        raise BenchmarkError(f"there is no {VIDMILL}; `make release` builds it")
    found = {
        "vidmill": vidmill,
        "vidmill --isolate": lambda: vidmill("--isolate"),
        "vidmill openvino bf16": lambda: tried(vidmill("--device", "openvino", "--precision", "bf16"), trial),
        "vidmill tuned": tuned,
        "python workers": lambda: script(sys.executable, "pipeline.py", "--form", "workers"),
        "python single": lambda: script(sys.executable, "pipeline.py", "--form", "single"),
        "ultralytics predict": ultralytics,
        "usls": usls,
    }
    return found | ({"against": lambda: vidmill(program=against)} if against else {})


def vidmill(*options, program=VIDMILL, cache="untuned"):
    def command(case, out):
        return [program, "run", case.clip, "--model", case.model, "--progress", "off", "--out", out, *case.options, *options]

    # Whoever runs with the defaults must not find what was tuned for this machine earlier.
    return Contender(command, {"VIDMILL_CACHE": str(RESULTS / "cache" / cache)})


def tuned():
    """vidmill after `vidmill tune`, which may choose a lower precision."""
    contender = vidmill("--precision", "auto", cache="tuned")
    prepare = lambda case: [VIDMILL, "tune", case.model, case.clip, "--precision", "auto"]
    return replace(contender, prepare=prepare, missing=complaint([VIDMILL, "tune", "--help"]))


def script(python, name, *options):
    return Contender(lambda case, out: [python, ROOT / "bench" / name, case.clip, case.model, out, *case.options, *options])


def ultralytics():
    contender = script(ORACLE, "ultralytics_predict.py")
    present = ORACLE.exists() and not complaint([ORACLE, "-c", "from importlib.metadata import version; version('ultralytics')"])
    return contender if present else replace(contender, missing="not installed: .venv-oracle has no ultralytics (tools/setup test)")


def usls():
    """A Rust library; the program around it is ours."""
    program = outside.build("usls", "usls-detect")
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    contender = Contender(
        lambda case, out: [program, case.clip, case.model, out, *case.options], {"ORT_DYLIB_PATH": str(library)}
    )
    return replace(contender, missing=program) if isinstance(program, str) else contender


def tried(contender, case):
    """Told as missing where it cannot do a small case."""
    return replace(contender, missing=complaint(contender.command(case, RESULTS / "runs" / "trial.jsonl")))


def complaint(command):
    """What a command that fails says; None if it succeeds."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return next((line for line in lines if line.startswith("error")), lines[-1] if lines else f"ended with {done.returncode}")
