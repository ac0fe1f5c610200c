"""Contenders in Rust that live outside the workspace, so that nothing else must build them."""

import subprocess
import sys

from meter import ROOT, TARGET


def build(folder, program):
    """Builds bench/FOLDER with its own lock file; returns the program's path, or why there is none (text)."""
    target = TARGET.parent / folder
    manifest = ROOT / "bench" / folder / "Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target]
    print(f"building the contender with {folder}", file=sys.stderr)
    try:
        done = subprocess.run(list(map(str, command)), stderr=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        return f"not installed: {error}"
    if done.returncode == 0:
        return target / "release" / program
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    return f"not installed: {(errors or ['cargo failed'])[0]}"
