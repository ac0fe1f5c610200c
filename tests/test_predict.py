"""Raw outputs against Python's onnxruntime, and detections against the models' authors' own post-processing."""

import json

import boxes
import make_models
import numpy as np
import pytest
import reference
import support

DETECTORS = [name for name, spec in make_models.MODELS.items() if spec.family != "embedding"]
# Built with a size of their own: the chain here knows fixed sizes only.
FIXED = [name for name in DETECTORS if make_models.MODELS[name].size]


@pytest.fixture(scope="module")
def street(bikes):
    """Ten real frames."""
    return support.rgb_frames(bikes, "select=not(mod(n\\,25))")


def predict_raw(path, tensors, *options):
    command = [support.example("vidmill-infer", "predict_raw"), path, "--threads", 1, *options]
    return support.tool(*command, stdin=np.stack(tensors).tobytes())


def raw_outputs(path, tensors):
    """All outputs for a batch of items, as vidmill-infer gets them."""
    header, _, data = predict_raw(path, tensors).partition(b"\n")
    outputs, at = [], 0
    for entry in json.loads(header)["outputs"]:
        count = int(np.prod(entry["shape"]))
        outputs.append(np.frombuffer(data, np.float32, count, at).reshape(entry["shape"]))
        at += 4 * count
    assert at == len(data)
    return outputs


@pytest.mark.parametrize("name", [*FIXED, "embedding"])
def test_raw_outputs_are_those_of_pythons_onnxruntime(reference_for, street, name):
    chain = reference_for(name)
    tensors = [chain.tensor(frame) for frame in street[: chain.spec.batch or 2]]
    expected = chain.session.run(None, {"images": np.stack(tensors)})
    ours = raw_outputs(chain.path, tensors)
    assert len(ours) == len(expected)
    for mine, theirs in zip(ours, expected):
        assert np.array_equal(mine, theirs.astype(np.float32))


def test_the_real_detectors_outputs_are_those_of_pythons_onnxruntime(centernet, street):
    tensors = [np.zeros((512, 512, 3), np.float32) for _ in range(1)]
    tensors[0][100:372] = street[3][:, :512]
    (expected,) = reference.session(centernet).run(None, {"images": np.stack(tensors)})
    (ours,) = raw_outputs(centernet, tensors)
    assert np.array_equal(ours, expected)
    assert (expected[0, :, 4] > 0.3).any()


@pytest.mark.parametrize("conf, iou", [(0.25, 0.7), (0.1, 0.45), (0.5, 0.3)])
@pytest.mark.parametrize("name", FIXED)
def test_detections_are_those_of_the_reference(reference_for, street, name, conf, iou):
    chain = reference_for(name)
    pairs = []
    for frame in street:
        size = frame.shape[1], frame.shape[0]
        tensor = chain.tensor(frame)
        items = [tensor] * (chain.spec.batch or 1)
        out = predict_raw(chain.path, items, "--displayed", f"{size[0]}x{size[1]}", "--conf", conf, "--iou", iou)
        pairs.append((json.loads(out)[0], chain.detections(chain.outputs(tensor), size, conf, iou)))
    assert [len(ours) for ours, _ in pairs] == [len(theirs) for _, theirs in pairs]
    agreed, total = boxes.share(pairs, least=0, margin=0, least_iou=0.999, confidence=1e-5)
    assert total > 20
    assert agreed == 1
    for ours, theirs in pairs:
        for mine, other in zip(ours, theirs):
            assert mine["class"] == make_models.NAMES[mine["class_id"]]
            assert mine["confidence"] == pytest.approx(other["confidence"], abs=1e-5)
            assert mine["xyxy"] == pytest.approx(other["xyxy"], abs=0.02)
