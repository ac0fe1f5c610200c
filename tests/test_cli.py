"""What a user sees: help, messages that say what to do, exit codes."""

import json
import os
import shutil
import subprocess

import make_models
import pytest
import support


def test_help_shows_the_way(vidmill):
    done = vidmill("--help")
    assert done.code == 0
    for word in ("run", "inspect", "doctor", "Exit codes"):
        assert word in done.out
    done = vidmill("run", "--help")
    assert done.code == 0
    for option in (
        *("--model", "--out", "--annotate", "--every", "--vid-stride", "--fps", "--start", "--end", "--conf", "--iou"),
        *("--max-det", "--classes", "--imgsz", "--labels", "--task", "--device", "--precision", "--batch", "--workers"),
        *("--threads", "--progress", "--quiet"),
    ):
        assert option in done.out, option
    assert "Examples" in done.out


def test_without_arguments_it_shows_help_as_bad_usage(vidmill):
    done = vidmill()
    assert done.code == 2
    assert "Usage" in done.err and "run" in done.err


def bad_usage(clips, models, folder):
    """Command lines that cannot work, each with what its message must name."""
    clip, model = clips / "h264.mp4", models / "yolov8.onnx"
    text = folder / "plain.txt"
    text.write_text("not there.mp4\n")
    few = folder / "few.names"
    few.write_text("a\nb\n")
    run = ["run", clip, "--model", model]
    return {
        "no model": (["run", clip], ["--model"]),
        "no source": (["run", "--model", model], ["SOURCE"]),
        "unknown option": ([*run, "--evry", "5"], ["--evry", "--every"]),
        "missing source": (["run", folder / "none.mp4", "--model", model], ["none.mp4"]),
        "missing source in a list": (["run", text, "--model", model], ["not there.mp4"]),
        "missing model": (["run", clip, "--model", folder / "none.onnx"], ["none.onnx"]),
        "glob without a match": (["run", folder / "*.mkv", "--model", model], ["*.mkv"]),
        "not a detector": (["run", clip, "--model", models / "embedding.onnx"], ["embedding", "[1, 32]", "--task"]),
        "unknown class": ([*run, "--classes", "unicorn"], ["unicorn", *make_models.NAMES]),
        "confidence out of range": ([*run, "--conf", "7"], ["--conf", "0 to 1"]),
        "every zero": ([*run, "--every", "0"], ["--every"]),
        "rate of zero": ([*run, "--fps", "0"], ["--fps", "0"]),
        "every and fps": ([*run, "--every", "2", "--fps", "3"], ["--every", "--fps"]),
        "not a time": ([*run, "--start", "noon"], ["noon", "MM:SS"]),
        "unknown task": ([*run, "--task", "banana"], ["banana", "yolov8"]),
        "unknown format": ([*run, "--out", folder / "out.xyz"], ["out.xyz", ".jsonl"]),
        "unknown annotated format": ([*run, "--annotate", folder / "out.xyz"], ["out.xyz", ".mp4"]),
        "unknown device": ([*run, "--device", "tpu"], ["tpu", "cuda"]),
        "labels that do not fit": ([*run, "--labels", few], ["few.names", "2", "5"]),
        "a batch that the model does not take": (
            ["run", clip, "--model", models / "yolov8_batch4.onnx", "--batch", "3"],
            ["--batch 3", "4"],
        ),
        "a size that the model does not take": ([*run, "--imgsz", "320"], ["320", "160"]),
        "output onto the source": (["run", clip, "--model", model, "--annotate", clip], ["h264.mp4"]),
        "inspect what is not there": (["inspect", folder / "none.mp4"], ["none.mp4"]),
    }


@pytest.mark.parametrize(
    "case",
    [
        *("no model", "no source", "unknown option", "missing source", "missing source in a list", "missing model"),
        *("glob without a match", "not a detector", "unknown class", "confidence out of range", "every zero"),
        *("rate of zero", "every and fps", "not a time", "unknown task", "unknown format", "unknown annotated format"),
        *("unknown device", "labels that do not fit", "a batch that the model does not take"),
        *("a size that the model does not take", "output onto the source", "inspect what is not there"),
    ],
)
def test_bad_usage_says_what_and_exits_with_2(vidmill, clips, models, tmp_path, case):
    before = (clips / "h264.mp4").read_bytes()
    arguments, named = bad_usage(clips, models, tmp_path)[case]
    done = vidmill(*arguments)
    assert done.code == 2, done.err
    assert done.out == ""
    for text in named:
        assert text in done.err, f"{text!r} is not in: {done.err}"
    assert (clips / "h264.mp4").read_bytes() == before


def test_a_device_that_is_not_there_is_an_error_and_not_a_fallback(vidmill, clips, models):
    if shutil.which("nvidia-smi"):
        pytest.skip("no CUDA: this machine has an NVIDIA driver, and the test is about machines without")
    done = vidmill("run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--device", "cuda:0")
    assert done.code in (1, 2)
    assert "cuda:0" in done.err and "onnxruntime-gpu" in done.err


def test_device_cpu_and_auto_say_what_ran(detect, clips, models):
    for device in ("cpu", "auto"):
        runtime = detect(clips / "h264.mp4", models / "yolov8.onnx", "--device", device).manifest["runtime"]
        assert runtime["device_asked"] == device
        assert runtime["provider"].endswith("ExecutionProvider")


def test_without_a_runtime_it_says_how_to_install_one(binary, clips, models, tmp_path):
    alone = tmp_path / "vidmill"
    shutil.copy(binary, alone)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "VIDMILL_"))}
    environment |= {"HOME": str(tmp_path), "VIRTUAL_ENV": "", "CONDA_PREFIX": "", "LD_LIBRARY_PATH": ""}
    command = [alone, "run", clips / "h264.mp4", "--model", models / "yolov8.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    if done.returncode == 0:
        pytest.skip("missing runtime: this system has ONNX Runtime installed for everyone")
    assert done.returncode == 2
    assert "pip install onnxruntime" in done.stderr and "VIDMILL_ONNXRUNTIME" in done.stderr


def test_the_runtime_can_be_named(vidmill, detect, clips, models, tmp_path):
    library = detect(clips / "h264.mp4", models / "yolov8.onnx").manifest["runtime"]["library"]
    named = detect(clips / "h264.mp4", models / "yolov8.onnx", env={"VIDMILL_ONNXRUNTIME": library}, cwd=tmp_path)
    assert named.manifest["runtime"]["library"] == library
    wrong = tmp_path / "none.so"
    done = vidmill("run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--onnxruntime", wrong)
    assert done.code == 2 and "none.so" in done.err


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet", "out.json"])
def test_an_output_that_cannot_be_written_is_an_error(vidmill, clips, models, tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    done = vidmill("run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--out", tmp_path / "file" / name)
    assert done.code in (1, 2)
    assert name in done.err or str(tmp_path / "file") in done.err


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("full disk: mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("option", ["--out", "--annotate"])
def test_a_full_disk_ends_the_run_with_an_error(vidmill, bikes, models, tiny_disk, option):
    target = tiny_disk / ("out.jsonl" if option == "--out" else "boxes.mp4")
    done = vidmill("run", bikes, "--model", models / "yolov8.onnx", option, target)
    assert done.code == 1, done.err
    assert "space" in done.err and "panicked" not in done.err
    if option == "--out":
        lines = target.read_bytes().split(b"\n")
        assert [json.loads(line)["frame"] for line in lines[:-1]] == list(range(len(lines) - 1))


def test_inspect_tells_of_models_and_videos_in_json(vidmill, models, clips):
    model = json.loads(vidmill("inspect", models / "yolov8_dynamic.onnx", "--json").out)
    assert "yolov8" in json.dumps(model)
    video = json.loads(vidmill("inspect", clips / "rotate90.mp4", "--json").out)
    text = json.dumps(video)
    assert '"h264"' in text and '"displayed_width": 136' in text


def test_inspect_of_what_is_no_detector_shows_it_all_the_same(vidmill, models):
    done = vidmill("inspect", models / "embedding.onnx")
    assert "[1, 32]" in done.out and "--task" in done.err


def test_doctor_finds_the_runtime_and_the_decoders(vidmill):
    done = vidmill("doctor")
    assert done.code == 0
    for name in ("onnxruntime", "1.32.0", "h264", "hevc", "vp9", "av1", "mjpeg", "libx264"):
        assert name in done.out
    assert json.loads(vidmill("doctor", "--json").out)


def test_quiet_is_quiet(vidmill, clips, models, tmp_path):
    run = ("run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--out", tmp_path / "out.jsonl")
    assert vidmill(*run).err != ""
    done = vidmill(*run, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_a_dynamic_model_takes_the_size_asked_for(detect, clips, models):
    for side in (96, 224):
        run = detect(clips / "h264.mp4", models / "yolov8_dynamic.onnx", "--imgsz", side)
        assert run.manifest["model"]["input"]["size"] == {"width": side, "height": side}


def test_names_can_come_from_a_file(detect, clips, models, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("alpha\nbeta\ngamma\ndelta\nepsilon\n")
    run = detect(clips / "h264.mp4", models / "yolov8.onnx", "--labels", names)
    found = {d["class"] for r in run.records for d in r["detections"]}
    assert found and found <= set(names.read_text().split())


def test_the_readme_of_the_repository_names_what_make_knows():
    makefile = (support.ROOT / "Makefile").read_text()
    readme = (support.ROOT / "README.md").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}:" in makefile
