"""What all tests of the command share: the command itself, clips, models and a way to run it."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT / "tools")]

import make_clips
import make_models
import reference
import support

ASSETS = ROOT / ".assets"
# What `vidmill tune` found for this machine's user must not decide over tests.
os.environ["VIDMILL_CACHE"] = str(ROOT / "target" / "no-cache")
# Run by a Python of its own, which has PyTorch.
collect_ignore = ["torch"]


def generated(kind, maker, write):
    """The folder of generated files, made anew when what makes them changes."""
    sources = [Path(maker.__file__), ROOT / "tools" / "onnx_graph.py"]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = ASSETS / f"test_{kind}_{key}"
    done = folder / ".done"
    if not done.exists():
        write(folder)
        done.touch()
    return folder


@pytest.fixture(scope="session")
def assets():
    """.assets/, as `tools/assets.py --test` fills it."""
    if not (ASSETS / "bikes.mp4").exists():
        pytest.fail("no .assets: run .venv/bin/python tools/assets.py --test", pytrace=False)
    return ASSETS


@pytest.fixture(scope="session")
def bikes(assets):
    """A real street scene: 640x272, 250 frames at 25 a second."""
    return assets / "bikes.mp4"


@pytest.fixture(scope="session")
def centernet(assets):
    """A real COCO-80 detector."""
    return assets / "centernet.onnx"


@pytest.fixture(scope="session")
def clips(assets, bikes):
    """The folder of generated clips."""
    film = assets / "bigbuckbunny.mp4"
    return generated("clips", make_clips, lambda folder: make_clips.write_clips(folder, bikes, film))


@pytest.fixture(scope="session")
def models(bikes):
    """The folder of generated models."""

    def write(folder):
        make_models.write_models(folder, support.rgb_frames(bikes, "select=not(mod(n\\,50))"))

    return generated("models", make_models, write)


@pytest.fixture(scope="session")
def binary():
    """The command under test: VIDMILL_BIN, or the development build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = Path(os.environ.get("VIDMILL_BIN", target / "debug" / "vidmill"))
    if not path.exists():
        pytest.fail(f"{path} is missing: run cargo build --workspace", pytrace=False)
    return path


@pytest.fixture(scope="session")
def vidmill(binary):
    """vidmill(arguments...) runs the command and returns its exit code, stdout and stderr."""
    return support.Command(binary)


@pytest.fixture
def detect(vidmill, tmp_path):
    """detect(clip, model, options...) runs the command to its successful end; returns records and manifest."""

    def run(clip, model, *options, out="out.jsonl", code=0, **settings):
        path = tmp_path / out
        done = vidmill("run", clip, "--model", model, "--out", path, *options, **settings)
        assert done.code == code, f"exit code {done.code}, expected {code}\n{done.err}"
        return support.Run(path, done)

    return run


@pytest.fixture(scope="session")
def openvino(vidmill):
    """What `vidmill doctor` tells of OpenVINO; tests are skipped where it is missing."""
    found = json.loads(vidmill("doctor", "--json").out)["openvino"]
    if found["version"] is None:
        pytest.skip("OpenVINO is missing: the command finds no libopenvino_c.so (requirements/test.txt has the wheel)")
    return found


@pytest.fixture(scope="session")
def example():
    """example(crate, name) is the path of a crate's example, built on first use."""
    return support.example


@pytest.fixture(scope="session")
def ultralytics():
    """Ultralytics' own letterbox and post-processing."""
    oracle = reference.Ultralytics()
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def reference_for(models, ultralytics):
    """reference_for(name) is the hand-made chain of a generated model."""
    return lambda name: reference.Reference(name, models, ultralytics)
