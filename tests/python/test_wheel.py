"""The wheel, built and put into an empty environment, and tried there as a user would, from another folder."""

import configparser
import email
import json
import os
import subprocess
import sys
import zipfile

import pytest
import support

PACKAGE = support.ROOT / "crates" / "vidmill-python"

PROGRAM = """
import json, sys
import vidmill

with vidmill.frames("clip.mp4", every=5) as frames:
    shapes = [frame.array.shape for frame in frames]
model = vidmill.load("tiny.onnx", device="cpu")
with vidmill.run("clip.mp4", "tiny.onnx", every=5, isolate=True, workers=1) as run:
    records = [result.to_dict() for result in run]
found = [detections.to_dicts() for detections in model.detect(vidmill.frames("clip.mp4", every=5))]
told = {"file": vidmill.__file__, "shapes": shapes, "records": records, "found": found, "runtime": model.runtime["library"]}
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, from the same build as everything else that is tested."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "maturin", "build", "--quiet", "--manifest-path", PACKAGE / "Cargo.toml", "--out", folder]
    done = subprocess.run(
        list(map(str, command)), env={**os.environ, "VIRTUAL_ENV": sys.prefix}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    support.tool(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    versions = support.ROOT / "requirements" / "run.txt"
    needed = subprocess.run(
        list(map(str, [*pip, "-c", versions, "numpy", "onnxruntime"])), capture_output=True, text=True, check=False
    )
    if needed.returncode != 0:
        pytest.skip(f"numpy and onnxruntime for an empty environment: {needed.stderr.strip().splitlines()[-1]}")
    # Without an index: what the wheel asks for is there, and nothing else.
    support.tool(*pip, "--no-index", f"vidmill[cpu] @ {wheel.as_uri()}")
    return folder / "bin"


@pytest.fixture
def anywhere(clips, models, tmp_path, monkeypatch):
    """Another folder, and an environment that does not lead back here."""
    (tmp_path / "clip.mp4").symlink_to(clips / "h264.mp4")
    (tmp_path / "tiny.onnx").symlink_to(models / "yolov8.onnx")
    for name in ("VIRTUAL_ENV", "VIDMILL_ONNXRUNTIME", "VIDMILL_OPENVINO", "ORT_DYLIB_PATH", "PYTHONPATH", "PYTHONHOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_holds_the_package_and_nothing_else(wheel):
    assert wheel.name.startswith("vidmill-") and "-cp311-abi3-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    sources = {f"vidmill/{path.name}" for path in (PACKAGE / "python" / "vidmill").iterdir() if path.suffix in (".py", ".pyi", ".typed")}
    assert {"vidmill/__init__.py", "vidmill/_vidmill.pyi", "vidmill/py.typed"} <= sources
    info = wheel.name.split("-cp311")[0] + ".dist-info"
    about = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE-MIT", "licenses/LICENSE-APACHE")}
    # One native module, for every Python; and a list of what it was built from.
    expected = sources | {"vidmill/_vidmill.abi3.so"} | about | {f"{info}/sboms/vidmill-python.cyclonedx.json"}
    assert sorted(names) == sorted(expected)


def test_its_metadata_say_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        tags = email.message_from_bytes(archive.read(f"{folder}/WHEEL"))
        commands = configparser.ConfigParser()
        commands.read_string(archive.read(f"{folder}/entry_points.txt").decode())
        licences = [archive.read(f"{folder}/licenses/{name}") for name in metadata.get_all("License-File")]
    assert metadata["Name"] == "vidmill" and metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    assert sorted(licences) == sorted((support.ROOT / name).read_bytes() for name in ("LICENSE-MIT", "LICENSE-APACHE"))
    assert sorted(metadata.get_all("Provides-Extra")) == ["cpu", "gpu", "openvino", "torch"]
    assert metadata.get_all("Requires-Dist") == [
        "numpy>=1.26",
        "onnxruntime>=1.24 ; extra == 'cpu'",
        "onnxruntime-gpu>=1.24 ; extra == 'gpu'",
        "openvino>=2025.1 ; extra == 'openvino'",
        "torch>=2.4 ; extra == 'torch'",
    ]
    assert tags["Tag"].startswith("cp311-abi3-linux_") and tags["Root-Is-Purelib"] == "false"
    assert dict(commands["console_scripts"]) == {"vidmill": "vidmill._command:main"}
    text = (support.ROOT / "crates" / "vidmill-python" / "README.md").read_text()
    assert metadata.get_payload().strip() == text.strip()


def test_its_command_serves_there(installed, anywhere, vidmill, models):
    command = support.Command(installed / "vidmill")
    assert command("--version").out == vidmill("--version").out
    doctor = command("doctor")
    assert doctor.code == 0 and "Ready to run." in doctor.out
    assert f"{installed.parent}/lib" in doctor.out and str(support.ROOT) not in doctor.out, doctor.out
    for isolate in ([], ["--isolate"]):
        done = command("run", "clip.mp4", "--model", "tiny.onnx", "--every", 5, *isolate)
        assert done.code == 0, done.err
        assert done.out == vidmill("run", "clip.mp4", "--model", "tiny.onnx", "--every", 5).out


def test_its_package_serves_there(installed, anywhere, vidmill):
    told = json.loads(support.tool(installed / "python", "-I", "-c", PROGRAM))
    expected = [json.loads(line) for line in vidmill("run", "clip.mp4", "-m", "tiny.onnx", "--every", 5).out.splitlines()]
    assert told["records"] == expected and len(expected) > 3
    # Frames became RGB first, so that boxes may differ a little.
    assert len(told["found"]) == len(told["shapes"]) == len(expected) and all(told["found"])
    assert told["shapes"][0][2] == 3
    inside = str(installed.parent)
    assert told["file"].startswith(inside) and told["runtime"].startswith(inside)


def test_its_types_are_complete(installed, anywhere, monkeypatch):
    """Every public name has a known type: pyright's own measure of a package."""
    monkeypatch.setenv("PATH", f"{installed}{os.pathsep}{os.environ['PATH']}")
    told = support.tool(sys.executable, "-m", "basedpyright", "--verifytypes", "vidmill", "--ignoreexternal").decode()
    assert str(installed.parent) in told and "Type completeness score: 100%" in told, told
