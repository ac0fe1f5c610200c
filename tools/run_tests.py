"""Runs every check in turn and ends with one line: how many tests passed, failed and were skipped.

    .venv/bin/python tools/run_tests.py

Format and lints come first and end the run where they fail: what they find is quicker to mend than a test. The exit
status is 0 only if nothing failed. Tests that could not run here are named, with the reason.
"""

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "crates" / "vidmill-python"
CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)
CARGO_IGNORED = re.compile(r"^test (\S+)(?: - .*)? \.\.\. ignored(?:, (.*))?$", re.MULTILINE)
# A test that finds at run time that its machine lacks something says so in a line of this form.
SKIPPED_NOTE = re.compile(r"^skipped: (.+)$", re.MULTILINE)


class Tally:
    """What became of the tests so far."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.reasons = []

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def check(title, command):
    """Runs a command whose failure ends all."""
    print(f"== {title}", flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit(f"{title} failed: {' '.join(command)}")


def run_cargo_tests(tally):
    """All of the workspace's Rust tests; output is shown as it comes."""
    print("== cargo test", flush=True)
    command = ["cargo", "test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if not line.startswith("test ") or "FAILED" in line or "result:" in line:
                sys.stdout.write(line)
    text = "".join(lines)
    results = CARGO_RESULT.findall(text)
    for passed, failed, ignored in results:
        tally.passed += int(passed)
        tally.failed += int(failed)
        tally.skipped += int(ignored)
    tally.reasons += [f"{name}: {why or 'ignored'}" for name, why in CARGO_IGNORED.findall(text)]
    notes = SKIPPED_NOTE.findall(text)
    tally.reasons += notes
    tally.skipped += len(notes)
    tally.passed -= len(notes)
    if process.returncode != 0 and not any(int(failed) for _, failed, _ in results):
        tally.failed += 1  # a build or a test binary that died names no test
        print("cargo test failed before it could name a test")


def run_torch_tests(tally):
    """The tests of PyTorch's models, by the Python that has PyTorch."""
    python = ROOT / ".venv-oracle" / "bin" / "python"
    if not python.exists():
        tally.skipped += 1
        tally.reasons.append("tests/torch: PyTorch: .venv-oracle is missing (tools/setup test makes it)")
        return
    run_pytest(tally, python, "tests/torch", "--confcutdir=tests/torch", PYTHONPATH=str(PACKAGE / "python"))


def run_pytest(tally, python, *arguments, **environment):
    """Tests of the command and of the Python package, against oracles."""
    print(f"== pytest {arguments[0]}", flush=True)
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "vidmill"
    environment = {"VIDMILL_BIN": str(binary), **os.environ, **environment}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "pytest.xml"
        command = [str(python), "-m", "pytest", *arguments, "-q", "-rs", f"--junit-xml={report}"]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if not report.exists():
            tally.failed += 1
            print(f"pytest ended with {code} and no report")
            return
        suites = ElementTree.parse(report).getroot()
    for case in suites.iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed += 1
        elif skipped is not None:
            tally.skipped += 1
            tally.reasons.append(f"{name}: {skipped.get('message')}")
        else:
            tally.passed += 1
    if code != 0 and tally.failed == 0:
        tally.failed += 1
        print(f"pytest ended with {code}")


def install_package():
    """Builds the Python package, and installs it into the environment that runs the tests."""
    os.environ["VIRTUAL_ENV"] = sys.prefix
    manifest = str(PACKAGE / "Cargo.toml")
    check("python package", [sys.executable, "-m", "maturin", "develop", "--quiet", "--manifest-path", manifest])


def main():
    check("cargo fmt", ["cargo", "fmt", "--all", "--check"])
    check("cargo clippy", ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
    tally = Tally()
    run_cargo_tests(tally)
    check("cargo build", ["cargo", "build", "--workspace", "--locked"])
    install_package()
    run_pytest(tally, sys.executable, "tests")
    run_torch_tests(tally)
    for reason in tally.reasons:
        print(f"skipped: {reason}")
    print(tally)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
