"""`--device openvino` beside Python's onnxruntime and `--device cpu`: the same results, the same promises."""

import json
import os
import shutil
import subprocess

import boxes
import make_models
import numpy as np
import pytest
import support
from test_predict import predict_raw

# OpenVINO refuses the one that leaks, whose ConstantOfShape has a shape in floats; and one hangs on purpose.
DETECTORS = [
    name
    for name, spec in make_models.MODELS.items()
    if spec.family != "embedding" and not name.endswith(("grows", "hangs"))
]
FIXED = [name for name in DETECTORS if make_models.MODELS[name].size]
# Sorted by scores, of which many are nearly equal: another order is as good.
UNSORTED = [name for name in FIXED if make_models.MODELS[name].family != "end2end" and "end2end" not in name]

pytestmark = pytest.mark.usefixtures("openvino")


@pytest.fixture
def openvino_run(detect):
    """detect, on OpenVINO."""
    return lambda clip, model, *options, **settings: detect(clip, model, "--device", "openvino", *options, **settings)


def found(run):
    return {record["frame"]: record["detections"] for record in run.records if record["status"] == "ok"}


def agreement(run, other, **limits):
    ours, theirs = found(run), found(other)
    assert ours.keys() == theirs.keys()
    return boxes.share([(ours[frame], theirs[frame]) for frame in ours], **limits)


@pytest.mark.parametrize("name", UNSORTED)
def test_raw_outputs_are_close_to_those_of_pythons_onnxruntime(reference_for, bikes, name):
    chain = reference_for(name)
    frames = support.rgb_frames(bikes, "select=not(mod(n\\,60))")
    tensors = [chain.tensor(frame) for frame in frames[: chain.spec.batch or 2]]
    expected = chain.session.run(None, {"images": np.stack(tensors)})
    header, _, data = predict_raw(chain.path, tensors, "--device", "openvino").partition(b"\n")
    shapes = [entry["shape"] for entry in json.loads(header)["outputs"]]
    assert shapes == [list(output.shape) for output in expected]
    ours = np.frombuffer(data, np.float32)
    theirs = np.concatenate([output.astype(np.float32).ravel() for output in expected])
    # Models in f16 are computed in f16 by ONNX Runtime, and in f32 by OpenVINO.
    rough = make_models.MODELS[name].element == "f16"
    np.testing.assert_allclose(ours, theirs, rtol=2e-2 if rough else 1e-4, atol=2.0 if rough else 2e-3)


@pytest.mark.parametrize("name", DETECTORS)
def test_detections_are_those_of_onnx_runtime(detect, openvino_run, models, bikes, name):
    options = ("--every", 25)
    ours = openvino_run(bikes, models / f"{name}.onnx", *options, out="openvino.jsonl")
    theirs = detect(bikes, models / f"{name}.onnx", "--device", "cpu", *options, out="cpu.jsonl")
    rough = make_models.MODELS[name].element == "f16"
    agreed, total = agreement(ours, theirs, least_iou=0.95 if rough else 0.999, confidence=0.01 if rough else 1e-3)
    assert total > 20
    assert agreed >= (0.97 if rough else 1), f"{agreed:.4f} of {total} boxes agree"
    assert ours.ledger == theirs.ledger
    runtime = ours.manifest["runtime"]
    assert (runtime["name"], runtime["device_asked"], runtime["provider"]) == ("openvino", "openvino", "CPU")
    assert runtime["precision"] == "f32" and runtime["fallback"] is None


def test_frames_whose_outputs_are_not_finite_fail(openvino_run, models, clips, tmp_path):
    dark = tmp_path / "dark.mp4"
    support.tool(
        *("ffmpeg", "-v", "error", "-i", clips / "h264.mp4", "-vf", "eq=brightness='-0.9*between(n,8,11)':eval=frame"),
        *("-c:v", "libx264", dark),
    )
    for options in ((), ("--isolate",)):
        run = openvino_run(dark, models / "yolov8_nan.onnx", *options, code=3)
        assert [record["frame"] for record in run.records if record["status"] == "failed"] == [8, 9, 10, 11]
        assert run.ledger["failed"] == 4 and run.ledger["ok"] == 20


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("name", ["yolov8_dynamic_batch", "yolov8_dynamic"])
def test_workers_batches_and_isolation_change_nothing(openvino_run, openvino, models, clips, name, precision):
    if precision == "bf16" and "BF16" not in openvino["capabilities"]:
        pytest.skip("bf16: this CPU has no units for it")
    plain = None
    for options in (
        ("--workers", 1, "--batch", 1),
        ("--workers", 2, "--batch", 3),
        ("--workers", 5, "--threads", 2),
        ("--isolate", "--workers", 2, "--batch", 2),
    ):
        run = openvino_run(clips / "h264.mp4", models / f"{name}.onnx", "--precision", precision, *options)
        assert run.manifest["runtime"]["precision"] == precision
        plain = plain or run.path.read_bytes()
        assert run.path.read_bytes() == plain, options


def test_a_worker_process_may_only_read_its_input(openvino_run, tmp_path, clips):
    """Its first operator could work in place; worker processes have frames mapped read-only."""
    graph_model = tmp_path / "in_place.onnx"
    graph_model.write_bytes(in_place_model())
    options = ("--task", "outputs", "--every", 5)
    plain = openvino_run(clips / "h264.mp4", graph_model, *options).path.read_bytes()
    isolated = openvino_run(clips / "h264.mp4", graph_model, *options, "--isolate", "--recycle", 1)
    assert isolated.path.read_bytes() == plain


def in_place_model():
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Mul", ["images", "scale"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ReduceMean", ["b"], ["means"], axes=[2, 3], keepdims=0),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "in place",
        [value("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [value("means", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [2.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_lower_precision_is_granted_or_refused_but_never_dropped(vidmill, detect, openvino, models, bikes, tmp_path):
    exact = detect(bikes, models / "yolov8.onnx", "--device", "cpu", "--every", 10, out="cpu.jsonl")
    for precision, unit in (("bf16", "BF16"), ("f16", "FP16")):
        out = tmp_path / f"{precision}.jsonl"
        options = ("--device", "openvino", "--precision", precision, "--every", 10, "--out", out)
        done = vidmill("run", bikes, "--model", models / "yolov8.onnx", *options)
        if unit not in openvino["capabilities"]:
            assert done.code == 2 and precision in done.err and "units" in done.err, done.err
            continue
        assert done.code == 0, done.err
        run = support.Run(out, done)
        assert run.manifest["runtime"]["precision"] == precision
        assert out.read_bytes() != exact.path.read_bytes()


@pytest.mark.parametrize("what", ["empty", "text", "cut", "foreign operator"])
def test_what_cannot_be_run_is_told(vidmill, models, clips, tmp_path, what):
    whole = (models / "yolov8.onnx").read_bytes()
    path = tmp_path / "broken.onnx"
    path.write_bytes(
        {
            "empty": b"",
            "text": b"This is no model.\n" * 100,
            "cut": whole[: len(whole) // 2],
            "foreign operator": whole.replace(b"Conv", b"Vnoc"),
        }[what]
    )
    command = ("run", clips / "h264.mp4", "--model", path, "--device", "openvino", "--out", tmp_path / "out.jsonl")
    done = vidmill(*command)
    assert done.code == 2 and done.out == "", done.err
    assert "broken.onnx" in done.err and "panicked" not in done.err
    assert "Vnoc" in done.err or what != "foreign operator"
    assert not (tmp_path / "out.jsonl").exists()
    isolated = vidmill(*command, "--isolate")
    assert (isolated.code, isolated.err) == (done.code, done.err)


def test_it_says_nothing_of_its_own(vidmill, models, clips, tmp_path):
    run = ("run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--device", "openvino")
    done = vidmill(*run, "--quiet", "--out", tmp_path / "out.jsonl", env={"OPENVINO_LOG_LEVEL": "5"})
    assert (done.code, done.out, done.err) == (0, "", "")


def test_it_needs_no_onnx_runtime(openvino_run, models, clips, tmp_path):
    alone = openvino_run(clips / "h264.mp4", models / "yolov8.onnx", env={"VIDMILL_ONNXRUNTIME": str(tmp_path)})
    assert alone.manifest["runtime"]["name"] == "openvino"


def test_it_can_be_named_and_what_is_named_must_serve(vidmill, openvino_run, openvino, models, clips, tmp_path):
    named = openvino_run(clips / "h264.mp4", models / "yolov8.onnx", "--openvino", openvino["library"], cwd=tmp_path)
    assert named.manifest["runtime"]["library"] == openvino["library"]
    (tmp_path / "libopenvino_c.so").write_bytes(b"\x7fELF and no more")
    for wrong in (tmp_path / "none.so", tmp_path, json_library(vidmill)):
        run = ("run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--device", "openvino")
        done = vidmill(*run, env={"VIDMILL_OPENVINO": str(wrong)})
        assert done.code == 2 and str(wrong) in done.err and "OpenVINO" in done.err, done.err


def json_library(vidmill):
    """A library that is another one."""
    return json.loads(vidmill("doctor", "--json").out)["onnxruntime"]["library"]


def test_without_it_it_says_how_to_install_it(binary, clips, models, tmp_path):
    alone = tmp_path / "vidmill"
    shutil.copy(binary, alone)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "VIDMILL_"))}
    environment |= {"HOME": str(tmp_path), "VIRTUAL_ENV": "", "CONDA_PREFIX": "", "LD_LIBRARY_PATH": ""}
    command = [alone, "run", clips / "h264.mp4", "--model", models / "yolov8.onnx", "--device", "openvino"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    if done.returncode == 0:
        pytest.skip("missing runtime: this system has OpenVINO installed for everyone")
    assert done.returncode == 2
    assert "pip install openvino" in done.stderr and "VIDMILL_OPENVINO" in done.stderr


@pytest.mark.parametrize("name", ["yolov8", "yolov8_dynamic", "embedding"])
def test_inspect_reads_the_model_as_with_onnx_runtime(vidmill, models, name):
    told = [json.loads(vidmill("inspect", models / f"{name}.onnx", "--json", "--device", d).out) for d in ("openvino", "cpu")]
    assert told[0]["runtime"].pop("name") == "openvino"
    for report in told:
        del report["runtime"]
    assert told[0] == told[1]


def test_the_real_detector_finds_the_same(detect, openvino_run, bikes, centernet):
    options = ("--every", 25)
    ours = openvino_run(bikes, centernet, *options, out="openvino.jsonl")
    theirs = detect(bikes, centernet, "--device", "cpu", *options, out="cpu.jsonl")
    agreed, total = agreement(ours, theirs, least_iou=0.999, confidence=1e-3)
    assert total > 20 and agreed == 1, f"{agreed:.4f} of {total} boxes agree"
