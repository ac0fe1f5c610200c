"""Arrays of other libraries as input, and ours as theirs."""

import array
import types

import cv2
import numpy as np
import pyarrow
import pytest
import vidmill


@pytest.fixture(scope="module")
def model(models):
    return vidmill.load(models / "yolov8.onnx", device="cpu", threads=1)


@pytest.fixture(scope="module")
def image(clips):
    return np.ascontiguousarray(cv2.imread(str(sorted((clips / "images_png").iterdir())[0]))[:, :, ::-1])


@pytest.fixture(scope="module")
def frame(clips):
    with vidmill.frames(clips / "h264.mp4") as frames:
        return next(frames)


class Tensor:
    """A tensor as PyTorch has it: it speaks DLPack, and is no array of NumPy's."""

    def __init__(self, values, device=(1, 0)):
        self.values, self.device, self.exports = values, device, 0

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        self.exports += 1
        return self.values.__dlpack__(**options)


class Array:
    """What only makes itself an array."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_images_of_other_libraries_give_the_same(model, image):
    (expected,) = model.detect([image])
    assert len(expected) > 1
    tensor = Tensor(image)
    read_only = image.copy()
    read_only.flags.writeable = False
    others = [tensor, memoryview(image), Array(image), read_only, Tensor(image[:, ::-1])]
    assert model.detect(others) == [*[expected] * 4, *model.detect([image[:, ::-1]])]
    assert tensor.exports == 1


def test_batches_of_other_libraries_give_the_same(model):
    batch = np.random.default_rng(1).random((1, 3, 160, 160)).astype(np.float32)
    expected = model(batch)["output0"]
    flat = array.array("f", batch.ravel().tolist())
    shaped = memoryview(flat).cast("B").cast("f", batch.shape)
    for other in (Tensor(batch), memoryview(batch), shaped, Array(batch)):
        assert np.array_equal(model(other)["output0"], expected)
    with pytest.raises(TypeError, match="float64: convert it"):
        model(Tensor(batch.astype(np.float64)))


def test_nothing_is_copied_on_the_way(image):
    from vidmill._arrays import as_array

    assert as_array(image) is image
    column = pyarrow.array(np.arange(5, dtype=np.float32))
    for other in (Tensor(image), memoryview(image), Array(image)):
        assert np.shares_memory(as_array(other), image)
    assert as_array(column).__array_interface__["data"][0] == column.buffers()[1].address


def test_a_type_that_dlpack_does_not_know_goes_another_way():
    class Odd(Array):
        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, **options):
            raise BufferError("no such type")

    from vidmill._arrays import as_array

    values = np.zeros(3, np.uint8)
    assert as_array(Odd(values)) is values


@pytest.mark.parametrize("kind, name", [(2, "a CUDA"), (10, "a ROCm"), (8, "a Metal"), (99, "another")])
def test_arrays_on_other_devices_are_refused(model, image, kind, name):
    there = Tensor(image, (kind, 1))
    with pytest.raises(ValueError, match=rf"{name} device \(number 1\): copy it to the CPU first") as told:
        model.detect([image, there])
    assert told.value.__notes__ == ["image 1"] and there.exports == 0
    with pytest.raises(ValueError, match="copy it to the CPU first"):
        model(there)
    with pytest.raises(ValueError, match="copy it to the CPU first"):
        vidmill.Detections(Tensor(np.zeros((1, 4)), (kind, 1)), [0.5], [1])


@pytest.mark.parametrize("other", ["street.jpg", 7, [[[1, 2, 3]]], None, types.SimpleNamespace()], ids=str)
def test_what_is_no_array_is_refused(model, other):
    with pytest.raises(TypeError, match="NumPy array is needed, or what speaks DLPack"):
        model.detect([other])


def test_frames_lend_their_pixels(frame, model):
    """To whoever speaks DLPack or the buffer protocol, without a copy."""
    assert np.shares_memory(np.from_dlpack(frame), frame.array)
    assert frame.__dlpack_device__() == (1, 0)
    assert model.detect([Tensor(frame)]) == model.detect([frame])
    view = memoryview(frame)
    assert view.shape == frame.array.shape and view.format == "B" and not view.readonly and view.c_contiguous
    assert np.shares_memory(np.asarray(view), frame.array)
    assert bytes(frame) == frame.array.tobytes()
    assert pyarrow.py_buffer(frame).address == frame.array.ctypes.data


def test_lent_pixels_outlive_the_frame(clips):
    with vidmill.frames(clips / "h264.mp4") as frames:
        views = [(memoryview(frame), np.from_dlpack(frame), frame.array.copy()) for frame in frames]
    assert len(views) > 10
    for view, shared, expected in views:
        assert np.array_equal(view, expected) and np.array_equal(shared, expected)


def test_results_are_arrays_for_others(model, image):
    (found,) = model.detect([image])
    assert np.shares_memory(np.from_dlpack(found.xyxy), found.xyxy)
    assert pyarrow.array(found.confidence).to_pylist() == found.confidence.tolist()
    (output,) = model(np.zeros((1, 3, 160, 160), np.float32)).values()
    assert memoryview(output).shape == output.shape
