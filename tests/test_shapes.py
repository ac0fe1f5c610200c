"""Models as they come: batches of any kind, inputs beside the image, outputs in any order, weights in other files."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def clip(clips):
    return clips / "h264.mp4"


def same_detections(found, expected, tolerance):
    assert [record["frame"] for record in found] == [record["frame"] for record in expected]
    assert sum(len(record["detections"]) for record in expected) > 0
    for a, b in zip(found, expected):
        assert [d["class_id"] for d in a["detections"]] == [d["class_id"] for d in b["detections"]]
        for key in ("xyxy", "confidence"):
            values = [np.array([d[key] for d in record["detections"]]) for record in (a, b)]
            np.testing.assert_allclose(*values, atol=tolerance[key], rtol=0)


def test_a_fixed_batch_takes_any_number_of_frames(detect, clip, models):
    """Whole, padded and split batches give what frames give alone, within the runtime's own tolerance."""
    alone = detect(clip, models / "yolov8.onnx").records
    for count in range(1, 10):
        end = f"{count / 25 - 0.02:.2f}"
        for options in ((), ("--isolate", "--workers", 1)) if count in (3, 4, 9) else ((),):
            run = detect(clip, models / "yolov8_batch4.onnx", "--end", end, *options, out=f"{count}{len(options)}.jsonl")
            assert run.ledger["sampled"] == run.ledger["ok"] == count
            same_detections(run.records, alone[:count], {"xyxy": 0.01, "confidence": 1e-4})


def with_side_inputs(path, to):
    """The model of `path` with inputs im_shape, scale_factor and orig_target_sizes, which change the boxes unless they say the
    identity."""
    model = onnx.load(path)
    graph = model.graph
    [output] = graph.output
    nodes, constants = graph.node, graph.initializer
    for node in nodes:
        node.output[:] = ["raw" if name == output.name else name for name in node.output]
    value = helper.make_tensor_value_info
    [image] = graph.input
    batch = image.type.tensor_type.shape.dim[0].dim_param
    sizes = value("orig_target_sizes", TensorProto.INT64, [batch, 2])
    del graph.input[:]
    graph.input.extend([value("im_shape", 1, [batch, 2]), image, value("scale_factor", 1, [batch, 2]), sizes])
    # x, y, w, h times sizes / (width, height) / scale, plus what im_shape is off (height, width).
    height, width = (dim.dim_value for dim in image.type.tensor_type.shape.dim[2:])
    arrays = {
        "wh": np.array([width, height], np.float32),
        "hw": np.array([height, width], np.float32),
        "rest": np.ones((1, 5), np.float32),
        "five": np.array([5], np.int64),
        "last": np.array([2], np.int64),
    }
    constants.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    make = helper.make_node
    nodes.extend(
        [
            make("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
            make("Div", ["sizes", "wh"], ["by_size"]),
            make("Div", ["by_size", "scale_factor"], ["by_both"]),
            make("Sub", ["im_shape", "hw"], ["off"]),
            make("Add", ["by_both", "off"], ["factor"]),
            make("Concat", ["factor", "factor"], ["boxed"], axis=1),
            make("Shape", ["boxed"], ["shape"], end=1),
            make("Concat", ["shape", "five"], ["rest_shape"], axis=0),
            make("Expand", ["rest", "rest_shape"], ["rests"]),
            make("Concat", ["boxed", "rests"], ["factors"], axis=1),
            make("Unsqueeze", ["factors", "last"], ["factors3"]),
            make("Mul", ["raw", "factors3"], [output.name]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, to)
    return to


def test_inputs_beside_the_image_get_the_identity(detect, vidmill, clip, models, tmp_path):
    plain = models / "yolov8_dynamic_batch.onnx"
    model = with_side_inputs(plain, tmp_path / "sides.onnx")
    for n, options in enumerate([("--batch", 1), ("--batch", 7), ("--batch", 4, "--isolate", "--workers", 2)]):
        fed = detect(clip, model, *options, out=f"fed{n}.jsonl")
        assert fed.path.read_bytes() == detect(clip, plain, *options, out=f"plain{n}.jsonl").path.read_bytes()
    why = json.loads(vidmill("inspect", model, "--json").out)["plan"]["why"]
    told = [line for line in why if line.startswith("side input")]
    assert len(told) == 3 and "'im_shape' [height, width]" in told[0], told


def test_a_card_says_what_side_inputs_get(detect, vidmill, clip, models, tmp_path):
    model = with_side_inputs(models / "yolov8_dynamic_batch.onnx", tmp_path / "sides.onnx")
    assert vidmill("inspect", model, "--write-card").code == 0
    card = model.with_suffix(".toml")
    text = card.read_text()
    assert 'orig_target_sizes = ["width", "height"]' in text and "scale_factor = 1" in text, text
    before = detect(clip, model, "--every", 5, out="before.jsonl").records
    card.write_text(text.replace("scale_factor = 1", "scale_factor = [2, 2]"))
    after = detect(clip, model, "--every", 5, out="after.jsonl").records
    sides = [[d["xyxy"][2] - d["xyxy"][0] for r in records for d in r["detections"]] for records in (before, after)]
    assert 0.4 < np.median(sides[1]) / np.median(sides[0]) < 0.6


def test_an_input_that_nobody_explains_is_an_error_with_the_remedy(vidmill, clip, models, tmp_path):
    model = onnx.load(models / "yolov8.onnx")
    model.graph.input.append(helper.make_tensor_value_info("mystery", 1, [1, 2]))
    onnx.save(model, tmp_path / "m.onnx")
    done = vidmill("run", clip, "--model", tmp_path / "m.onnx")
    assert done.code == 2 and "'mystery'" in done.err and "inputs.mystery" in done.err, done.err
    (tmp_path / "m.toml").write_text("vidmill = 1\n[inputs]\nmystery = [0, 1]\n")
    assert vidmill("run", clip, "--model", tmp_path / "m.onnx", "--every", 10).code == 0


def test_outputs_come_in_any_order(detect, clip, models, tmp_path):
    model = onnx.load(models / "ssd.onnx")
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(reversed(outputs))
    onnx.save(model, tmp_path / "ssd.onnx")
    expected = detect(clip, models / "ssd.onnx", "--every", 5, out="expected.jsonl").path.read_bytes()
    assert detect(clip, tmp_path / "ssd.onnx", "--every", 5).path.read_bytes() == expected


@pytest.fixture
def split(models, tmp_path):
    """yolov8 with its weights in two other files."""
    folder = tmp_path / "split"
    folder.mkdir()
    model = onnx.load(models / "yolov8.onnx")
    for n, tensor in enumerate(tensor for tensor in model.graph.initializer if len(tensor.raw_data) > 1000):
        data = folder / ("a.data" if n % 2 else "b.data")
        offset = data.stat().st_size if data.exists() else 0
        with data.open("ab") as file:
            file.write(tensor.raw_data)
        onnx.external_data_helper.set_external_data(tensor, data.name, offset, len(tensor.raw_data))
        tensor.ClearField("raw_data")
    onnx.save(model, folder / "m.onnx")
    return folder


def test_weights_lie_in_other_files(detect, vidmill, clip, models, split, tmp_path):
    expected = detect(clip, models / "yolov8.onnx", "--every", 5, out="expected.jsonl").path.read_bytes()
    command = ("run", clip, "--model", "split/m.onnx", "--every", 5)
    for name, options in (("threads", ("--workers", 2)), ("processes", ("--isolate", "--workers", 2))):
        out = tmp_path / f"{name}.jsonl"
        done = vidmill(*command, *options, "--out", out, cwd=tmp_path)
        assert done.code == 0, done.err
        assert out.read_bytes() == expected
        entry = json.loads(Path(f"{out}.manifest.json").read_text())["model"]
        assert entry["data"] == ["split/a.data", "split/b.data"]
        told = "cd split && sha256sum m.onnx a.data b.data | cut -d' ' -f1 | sha256sum"
        assert entry["sha256"] == subprocess.check_output(told, shell=True, cwd=tmp_path, text=True).split()[0]
    # Another .data is another model.
    out = tmp_path / "threads.jsonl"
    data = bytearray((split / "a.data").read_bytes())
    data[0] ^= 1
    (split / "a.data").write_bytes(data)
    again = vidmill(*command, "--workers", 2, "--out", out, "--resume", cwd=tmp_path)
    assert again.code == 2 and "model: " in again.err, again.err


def test_missing_weights_are_named_with_the_remedy(vidmill, clip, split):
    whole = (split / "b.data").read_bytes()
    for options in ((), ("--isolate",)):
        (split / "b.data").write_bytes(whole[:-1])
        done = vidmill("run", clip, "--model", split / "m.onnx", *options)
        assert done.code == 2 and "b.data" in done.err and "it was cut" in done.err, done.err
        (split / "b.data").unlink()
        done = vidmill("run", clip, "--model", split / "m.onnx", *options)
        assert done.code == 2 and "b.data" in done.err and "keep the model" in done.err, done.err


def test_an_output_never_lies_where_weights_do(vidmill, clip, split):
    shutil.copy(split / "a.data", split / "kept")
    done = vidmill("run", clip, "--model", split / "m.onnx", "--annotate", split / "a.data")
    assert done.code == 2, done.err
    assert (split / "a.data").read_bytes() == (split / "kept").read_bytes()
