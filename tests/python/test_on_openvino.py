"""`device="openvino"` from Python, beside onnxruntime and the command."""

import numpy as np
import pytest
import reference
import vidmill

pytestmark = pytest.mark.usefixtures("openvino")


@pytest.mark.parametrize("name", ["yolov8", "yolov8_dynamic", "yolov8_u8_nhwc"])
def test_outputs_are_close_to_those_of_pythons_onnxruntime(models, name):
    model = vidmill.load(models / f"{name}.onnx", device="openvino", threads=1)
    session = reference.session(models / f"{name}.onnx")
    assert model.runtime["name"] == "openvino" and model.provider == "CPU" and model.runtime["precision"] == "f32"
    (tensor,) = model.info["inputs"]
    usual = iter([2, 64, 64, 64])
    shape = [dim if isinstance(dim, int) else next(usual) if at == 0 else 64 for at, dim in enumerate(tensor["shape"])]
    batch = np.random.default_rng(1).random(shape)
    batch = batch.astype(np.float32) if tensor["element"] == "f32" else (batch * 255).astype(np.uint8)
    expected = session.run(None, {session.get_inputs()[0].name: batch})
    for ours, theirs in zip(model(batch).values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-3)
    assert model.info["outputs"] == vidmill.load(models / f"{name}.onnx", device="cpu").info["outputs"]


@pytest.mark.parametrize("isolate", [False, True])
def test_runs_are_the_commands(models, clips, detect, tmp_path, isolate):
    clip, model, out = clips / "h264.mp4", models / "yolov8.onnx", tmp_path / "own.jsonl"
    command = detect(clip, model, "--device", "openvino")
    with vidmill.run(clip, model, out=out, device="openvino", isolate=isolate) as run:
        list(run)
    assert out.read_bytes() == command.path.read_bytes()
    assert run.manifest["runtime"] == command.manifest["runtime"] | {"library": run.manifest["runtime"]["library"]}


def test_a_library_that_is_none_is_named(models, tmp_path):
    with pytest.raises(vidmill.ModelError, match="OpenVINO is already loaded|none.so"):
        vidmill.load(models / "yolov8.onnx", device="openvino", openvino=tmp_path / "none.so")
