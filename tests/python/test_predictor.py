"""vidmill.load, against Python's onnxruntime and the command's records."""

import dataclasses
import sys
import threading
import types

import cv2
import make_models
import numpy as np
import pytest
import reference
import support
import vidmill

DETECTORS = [name for name, spec in make_models.MODELS.items() if spec.family != "embedding"]
HEALTHY = [name for name in DETECTORS if not name.endswith(("nan", "hangs", "grows"))]


@pytest.fixture(scope="module")
def pictures(clips):
    """Paths of pictures."""
    return sorted((clips / "images_png").iterdir())


def rgb(path):
    return cv2.imread(str(path))[:, :, ::-1]


def batch_for(model, count, seed=1):
    (tensor,) = model.info["inputs"]
    usual = iter([count, 64, 64, 64])
    shape = [dim if isinstance(dim, int) else next(usual) if position == 0 else 64 for position, dim in enumerate(tensor["shape"])]
    values = np.random.default_rng(seed).random(shape)
    return values.astype(np.float32) if tensor["element"] == "f32" else (
        values.astype(np.float16) if tensor["element"] == "f16" else (values * 255).astype(np.uint8)
    )


@pytest.mark.parametrize("name", [name for name in make_models.MODELS if name in [*HEALTHY, "embedding"]])
def test_raw_outputs_are_those_of_pythons_onnxruntime(models, name):
    model = vidmill.load(models / f"{name}.onnx", device="cpu", threads=1)
    session = reference.session(models / f"{name}.onnx")
    for seed in (1, 2):
        batch = batch_for(model, 2, seed)
        expected = session.run(None, {session.get_inputs()[0].name: batch})
        outputs = model(batch)
        assert list(outputs) == [output.name for output in session.get_outputs()]
        for ours, theirs in zip(outputs.values(), expected, strict=True):
            assert ours.dtype == np.float32 and ours.shape == theirs.shape
            assert np.array_equal(ours, theirs.astype(np.float32))


def test_the_real_detector(centernet, bikes):
    model = vidmill.load(centernet, device="cpu")
    assert model.task == "end-to-end" and model.names[0] == "person" and len(model.names) == 80
    assert model.provider == model.runtime["provider"] == "CPUExecutionProvider"
    batch = np.zeros((1, 512, 512, 3), np.float32)
    (expected,) = reference.session(centernet).run(None, {"images": batch})
    assert np.array_equal(model(batch)["detections"], expected)
    strided = np.zeros((1, 512, 512, 6), np.float32)[..., ::2]
    assert np.array_equal(model(strided)["detections"], expected)


@pytest.mark.parametrize("name", HEALTHY)
def test_detections_are_the_commands(models, pictures, detect, name):
    records = detect(pictures[0].parent, models / f"{name}.onnx", "--device", "cpu").records
    model = vidmill.load(models / f"{name}.onnx", device="cpu", threads=1)
    assert model.task is not None
    found = model.detect([rgb(path) for path in pictures])
    assert [detections.to_dicts() for detections in found] == [record["detections"] for record in records]
    assert sum(map(len, found)) > 0


def test_images_of_all_sizes_and_orders(models, pictures):
    model = vidmill.load(models / "yolov8_batch4.onnx", device="cpu", threads=1)
    whole = rgb(pictures[0])
    images = [whole, whole[20:90, 30:200], cv2.resize(whole, (77, 301)), whole[::2, ::3], whole, whole[5:]]
    together = model.detect(images)
    assert together == [model.detect([image])[0] for image in images]
    assert together == model.detect((image[:, :, ::-1] for image in images), format="bgr")
    gray = cv2.cvtColor(np.ascontiguousarray(whole), cv2.COLOR_RGB2GRAY)
    assert model.detect([gray]) == model.detect([np.stack([gray] * 3, axis=-1)])
    assert model.detect([]) == []
    for detections, image in zip(together, images, strict=True):
        limits = [image.shape[1], image.shape[0]] * 2
        assert (detections.xyxy >= 0).all() and (detections.xyxy <= limits).all()


def test_frames_know_their_order(models, clips):
    model = vidmill.load(models / "yolov8.onnx", device="cpu", threads=1)
    with vidmill.frames(clips / "h264_rgb.mkv") as a, vidmill.frames(clips / "h264_rgb.mkv", format="bgr") as b:
        rgb_frame, bgr_frame = next(a), next(b)
    assert model.detect([rgb_frame]) == model.detect([bgr_frame]) == model.detect([rgb_frame.array])
    with vidmill.frames(clips / "h264.mp4", format="yuv") as frames, pytest.raises(ValueError, match="yuv"):
        model.detect([next(frames)])


def test_options_are_the_commands(models, pictures, detect):
    options = ("--conf", 0.4, "--iou", 0.3, "--max-det", 3, "--classes", "1,2", "--imgsz", 96)
    path = models / "yolov8_dynamic.onnx"
    records = detect(pictures[0].parent, path, *options).records
    model = vidmill.load(path, threads=1, conf=0.4, iou=0.3, max_det=3, classes=[1, "2"], imgsz=96)
    found = model.detect([rgb(path) for path in pictures])
    assert [detections.to_dicts() for detections in found] == [record["detections"] for record in records]


def test_detections_as_others_take_them(models, pictures, monkeypatch):
    model = vidmill.load(models / "yolov8.onnx", device="cpu")
    (found,) = model.detect([rgb(pictures[0])])
    n = len(found)
    assert n > 1 and (np.diff(found.confidence) <= 0).all()
    assert (found.xyxy.shape, found.xyxy.dtype) == ((n, 4), np.float32)
    assert (found.confidence.shape, found.confidence.dtype) == ((n,), np.float32)
    assert (found.class_id.shape, found.class_id.dtype) == ((n,), np.int64)
    assert [str(name) for name in found.class_name] == [model.names.get(i, str(i)) for i in found.class_id]
    table = found.to_pandas()
    assert list(table.columns) == ["x1", "y1", "x2", "y2", "confidence", "class_id", "class"]
    assert np.array_equal(table[["x1", "y1", "x2", "y2"]].to_numpy(), found.xyxy)
    sure = found[found.confidence > found.confidence[-1]]
    assert 0 < len(sure) < n and sure == found[: len(sure)]
    nothing = found[found.confidence > 1]
    assert len(nothing) == 0 and nothing.to_json() == "[]" and nothing.xyxy.shape == (0, 4)
    assert len(nothing.to_pandas()) == 0

    @dataclasses.dataclass
    class Detections:  # the fields of supervision's own
        xyxy: np.ndarray
        mask: np.ndarray | None = None
        confidence: np.ndarray | None = None
        class_id: np.ndarray | None = None
        tracker_id: np.ndarray | None = None
        data: dict = dataclasses.field(default_factory=dict)

    monkeypatch.setitem(sys.modules, "supervision", types.SimpleNamespace(Detections=Detections))
    theirs = found.to_supervision()
    assert theirs.xyxy is found.xyxy and theirs.data["class_name"] is found.class_name


def test_any_object_that_predicts_is_a_predictor(models):
    class Own:
        def predict(self, batch):
            return {}

    assert isinstance(Own(), vidmill.Predictor)
    assert isinstance(vidmill.load(models / "yolov8.onnx"), vidmill.Predictor)


def test_threads_may_share_a_model(models, pictures):
    model = vidmill.load(models / "yolov8.onnx", device="cpu", threads=1)
    images = [rgb(path) for path in pictures]
    expected, found = model.detect(images), {}

    def work(number):
        found[number] = [model.detect(images) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [expected] * 3 for number in range(4)}


def test_what_cannot_be_used_is_told(models, pictures, tmp_path):
    with pytest.raises(FileNotFoundError):
        vidmill.load(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(vidmill.ModelError, match="cannot load the model"):
        vidmill.load(tmp_path / "text.onnx")
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        vidmill.load(models / "yolov8.onnx", device="gpu")
    with pytest.raises(ValueError, match="conf=2"):
        vidmill.load(models / "yolov8.onnx", conf=2)
    with pytest.raises(ValueError, match="unknown class"):
        vidmill.load(models / "yolov8.onnx", classes=["unicorn"])
    if "CUDAExecutionProvider" not in vidmill.load(models / "yolov8.onnx").runtime["available"]:
        with pytest.raises(vidmill.ModelError, match="cuda:0"):
            vidmill.load(models / "yolov8.onnx", device="cuda:0")


def test_images_that_cannot_be_used_are_told(models, pictures):
    model = vidmill.load(models / "yolov8.onnx", device="cpu")
    image = rgb(pictures[0])
    with pytest.raises(TypeError, match="float32: convert it") as told:
        model.detect([image, image.astype(np.float32)])
    assert told.value.__notes__ == ["image 1"]
    with pytest.raises(ValueError, match="shape"):
        model.detect([image[None]])
    with pytest.raises(TypeError, match="a NumPy array is needed"):
        model.detect(["street.jpg"])
    with pytest.raises(vidmill.Error):
        model.detect([np.zeros((0, 4, 3), np.uint8)])
    with pytest.raises(TypeError, match="float64: convert it"):
        model(np.zeros((1, 3, 64, 64)))
    with pytest.raises(vidmill.ModelError):
        model(np.zeros((1, 5, 64, 64), np.float32))
    assert len(model.detect([image])) == 1  # and goes on


def test_a_model_that_is_no_detector_says_so(models):
    model = vidmill.load(models / "embedding.onnx")
    assert model.task is None and model.names == {}
    with pytest.raises(vidmill.ModelError, match="not recognised"):
        model.detect([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(vidmill.ModelError, match="not recognised|does not fit"):
        vidmill.load(models / "embedding.onnx", classes=[0])


def test_numbers_that_are_none_are_told(models, dark, detect):
    """The image at which the model gives NaN is named, as the command's record says `failed`."""
    run = detect(dark, models / "yolov8_nan.onnx", code=3)
    status = [record["status"] for record in run.records]
    model = vidmill.load(models / "yolov8_nan.onnx", device="cpu", threads=1)
    with vidmill.frames(dark) as frames:
        images = list(frames)
    assert status[0] == "ok"
    with pytest.raises(vidmill.ModelError, match=f"image {status.index('failed')}: .*NaN|nan"):
        model.detect(images)
