"""vidmill.batched and vidmill.run_inference: many items, or one batch, through a predictor."""

import array
import collections
import itertools

import numpy as np
import pytest
import vidmill
import vidmill._batched
import vidmill._shared_array

Pair = collections.namedtuple("Pair", ["total", "rows"])


class Recorder:
    """A predictor that notes what it gets."""

    def __init__(self, answer=lambda batch: batch.reshape(len(batch), -1).sum(axis=1)):
        self.answer, self.shapes, self.addresses = answer, [], set()

    def predict(self, batch):
        assert batch.flags.c_contiguous
        self.shapes.append(batch.shape)
        self.addresses.add(batch.ctypes.data)
        return self.answer(batch)


def items(count, shape=(2, 3)):
    return (np.full(shape, number) for number in range(count))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 6, 7])
def test_each_item_has_its_own_result_in_order(size, count):
    recorder = Recorder()
    assert [int(n) for n in vidmill.batched(items(count), recorder, size)] == [6 * n for n in range(count)]
    assert [shape[0] for shape in recorder.shapes] == [size] * (count // size) + ([count % size] if count % size else [])
    assert len(recorder.addresses) <= 1


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        (lambda batch: batch.sum(axis=1).tolist(), 6),
        (lambda batch: {"a": batch.sum(axis=1), "b": ["x"] * len(batch)}, {"a": 6, "b": "x"}),
        (lambda batch: (batch.sum(axis=1), batch.max(axis=1)), (6, 2)),
        (lambda batch: Pair(batch.sum(axis=1), batch.max(axis=1)), Pair(6, 2)),
    ],
)
def test_outputs_are_taken_apart(answer, first):
    results = list(vidmill.batched((np.full(3, n) for n in (2, 3, 4)), answer, 2))
    assert len(results) == 3 and results[0] == first and type(results[0]) is type(first)


def test_results_do_not_change_with_the_next_batch():
    for same in (lambda batch: batch, lambda batch: {"rows": batch[:, :1]}, lambda batch: (batch,), lambda batch: list(batch)):
        results = list(vidmill.batched(items(9), same, 2))
        values = [np.asarray(result["rows"] if isinstance(result, dict) else result).flat[0] for result in results]
        assert values == list(range(9))


def test_items_are_taken_as_they_are_needed():
    taken = itertools.count()
    results = vidmill.batched((np.full(2, next(taken)) for _ in itertools.repeat(None)), Recorder(), 4)
    assert [int(n) for n in itertools.islice(results, 8)] == [2 * n for n in range(8)]
    assert next(taken) == 8


def test_another_shape_or_type_begins_another_batch():
    recorder = Recorder()
    mixed = [np.ones(2), np.ones(2), np.ones(3), np.ones(3, "f4"), np.ones(2)]
    assert list(vidmill.batched(mixed, recorder, 4)) == [2, 2, 3, 3, 2]
    assert recorder.shapes == [(2, 2), (1, 3), (1, 3), (1, 2)]


def test_a_wrong_number_of_results_is_told():
    with pytest.raises(ValueError, match="the predictor returned 1 results for a batch of 2 items"):
        list(vidmill.batched(items(2), lambda batch: batch[:1], 2))
    with pytest.raises(ValueError, match="3 results in its output 'a' for a batch of 2 items"):
        list(vidmill.batched(items(2), lambda batch: {"a": [1, 2, 3]}, 2))
    with pytest.raises(ValueError, match="1 results in its output 1 for a batch of 2 items"):
        list(vidmill.batched(items(2), lambda batch: (batch, [0]), 2))
    for output, kind in ((None, "NoneType"), (3, "int"), ("ab", "str"), (np.float64(3), "numpy.float64")):
        with pytest.raises(TypeError, match=f"the predictor returned {kind}, which is no array or list"):
            list(vidmill.batched(items(2), lambda batch, output=output: output, 2))


def test_arguments_that_do_not_serve():
    for size, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=f"batch_size={size}"):
            vidmill.batched([], len, size)
    with pytest.raises(TypeError, match="a predictor has a method predict or can be called"):
        vidmill.batched([], 3, 1)
    with pytest.raises(TypeError, match="a NumPy array is needed.*not <class 'str'>"):
        list(vidmill.batched(["a"], len, 1))


class Device:
    """What PyTorch's tensors do, on a device."""

    def __init__(self, kind, values):
        self.kind, self.values = kind, values

    def __dlpack_device__(self):
        return self.kind, 0

    def __dlpack__(self, **options):
        return self.values.__dlpack__()


def test_one_batch_of_whatever_lends_its_memory():
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    shared = array.array("f", range(6))
    with vidmill.SharedArray.create((2, 3), np.float32) as other:
        other.array[:] = numbers
        for batch in (numbers, Device(1, numbers), memoryview(numbers), shared, other):
            address = vidmill.run_inference(lambda batch: batch.ctypes.data, batch)
            owner = np.asarray(shared if batch is shared else other.array if batch is other else numbers)
            assert address == owner.ctypes.data
            assert vidmill.run_inference(Recorder(lambda batch: batch.sum()), batch) == 15
    assert vidmill.run_inference(Recorder(), numbers.T).tolist() == [3, 5, 7]
    for batch, error, words in [
        (Device(2, numbers), ValueError, "in the memory of a CUDA device"),
        ([numbers, numbers], TypeError, r"not <class 'list'>: np\.stack"),
        (np.array(["a", None]), TypeError, "an array of numbers, not of object"),
        (np.float32(3), ValueError, "first dimension"),
        (np.ma.masked_array(numbers, numbers > 2), TypeError, "masked array.*filled"),
    ]:
        with pytest.raises(error, match=words):
            vidmill.run_inference(Recorder(), batch)


def test_a_model_is_a_predictor(models):
    model = vidmill.load(models / "yolov8.onnx", device="cpu")
    (inputs,) = model.info["inputs"]
    shape = [size if isinstance(size, int) else 1 for size in inputs["shape"]]
    batch = np.random.default_rng(0).random(shape, np.float32)
    whole = vidmill.run_inference(model, batch)
    [only] = vidmill.batched([batch[0]], model, 1)
    assert whole.keys() == only.keys() and all(np.array_equal(whole[name][0], only[name]) for name in only)


def test_results_of_any_kind_that_look_at_the_batch_stay_what_they_are():
    class Holder:
        def __init__(self, part):
            self.part = part

    for wrap, read in [
        (lambda batch: [Holder(part) for part in batch], lambda result: result.part),
        (lambda batch: [memoryview(part) for part in batch], np.asarray),
        (lambda batch: {"a": [[part] for part in batch]}, lambda result: result["a"][0]),
        (lambda batch: batch, lambda result: result),
    ]:
        results = list(vidmill.batched((np.full(4, n) for n in range(7)), wrap, 2))
        assert [int(read(result)[0]) for result in results] == list(range(7))
