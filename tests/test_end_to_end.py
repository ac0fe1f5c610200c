"""The command against the hand-made chain, on the same clip and model: ffmpeg, letterbox, onnxruntime, reference."""

import boxes
import cv2
import make_models
import numpy as np
import pytest
import reference
import support

CHAINS = [name for name, spec in make_models.MODELS.items() if spec.family != "embedding" and spec.size]


def every(count):
    return f"select=not(mod(n\\,{count}))"


def agreement(run, chain, frames):
    """The share of boxes that the run and the chain agree on, over `frames` (frame number, upright RGB)."""
    by_frame = {record["frame"]: record["detections"] for record in run.records if record["status"] == "ok"}
    pairs = []
    for number, picture in frames:
        size = picture.shape[1], picture.shape[0]
        pairs.append((by_frame[number], chain.detections(chain.outputs(chain.tensor(picture)), size)))
    return boxes.share(pairs, least=reference.CONF, least_iou=0.9)


@pytest.mark.parametrize("name", CHAINS)
def test_boxes_agree_on_a_real_clip(detect, reference_for, models, bikes, name):
    run = detect(bikes, models / f"{name}.onnx", "--every", 10)
    frames = [(10 * i, frame) for i, frame in enumerate(support.rgb_frames(bikes, every(10)))]
    if name == "yolov8_nan":
        failed = {record["frame"] for record in run.records if record["status"] == "failed"}
        frames = [(number, frame) for number, frame in frames if number not in failed]
    agreed, total = agreement(run, reference_for(name), frames)
    assert total > 100
    assert agreed >= 0.99, f"{agreed:.4f} of {total} boxes agree"


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_boxes_sit_on_the_displayed_frame_of_a_rotated_clip(detect, reference_for, models, clips, degrees):
    path = clips / f"rotate{degrees}.mp4"
    run = detect(path, models / "yolov8.onnx")
    turned = [np.ascontiguousarray(support.upright(f, displayed_turn(path))) for f in support.rgb_frames(path)]
    agreed, total = agreement(run, reference_for("yolov8"), enumerate(turned))
    assert total > 100
    assert agreed >= 0.98, f"{agreed:.4f} of {total} boxes agree"


def displayed_turn(path):
    """Degrees clockwise from the stored picture to the displayed one, by what cv2 does with the file."""
    stored = support.rgb_frames(path)[0]
    _, shown = cv2.VideoCapture(str(path)).read()
    shown = shown[..., ::-1].astype(int)

    def error(degrees):
        turned = support.upright(stored, degrees)
        return np.abs(turned - shown).mean() if turned.shape == shown.shape else np.inf

    return min((90, 180, 270, 0), key=error)


@pytest.mark.parametrize("name", ["bt709.mp4", "bt709_full.mp4", "bt601_full.mp4", "h264_10bit.mp4", "h264_444.mp4"])
def test_boxes_agree_whatever_the_colours_and_pixels(detect, reference_for, models, clips, name):
    run = detect(clips / name, models / "yolov8.onnx")
    agreed, total = agreement(run, reference_for("yolov8"), enumerate(support.rgb_frames(clips / name)))
    assert total > 50
    assert agreed >= 0.97, f"{agreed:.4f} of {total} boxes agree"


def test_the_real_detector_finds_what_is_in_the_street(detect, bikes, centernet):
    run = detect(bikes, centernet, "--every", 10, "--conf", 0.3)
    found = [d["class"] for record in run.records for d in record["detections"]]
    for name in ("person", "car", "bicycle"):
        assert name in found
    assert found.count("car") + found.count("person") >= len(found) * 0.5


def test_the_real_detectors_boxes_agree_with_the_hand_made_chain(detect, bikes, centernet):
    """Padded with black, as its metadata says; suppression by OpenCV, class by class."""
    run = detect(bikes, centernet, "--every", 25, "--conf", 0.3, "--iou", 0.5)
    session = reference.session(centernet)
    pairs = []
    for record, frame in zip(run.records, support.rgb_frames(bikes, every(25)), strict=True):
        pairs.append((record["detections"], centernet_by_hand(session, frame)))
    agreed, total = boxes.share(pairs, least=0.3, margin=0.05, least_iou=0.9, confidence=0.05)
    assert total >= 20
    assert agreed >= 0.95, f"{agreed:.4f} of {total} boxes agree"


def centernet_by_hand(session, frame):
    height, width = frame.shape[:2]
    ratio = min(512 / height, 512 / width)
    fitted = round(width * ratio), round(height * ratio)
    left, top = round((512 - fitted[0]) / 2 - 0.1), round((512 - fitted[1]) / 2 - 0.1)
    canvas = np.zeros((512, 512, 3), np.uint8)
    canvas[top : top + fitted[1], left : left + fitted[0]] = cv2.resize(frame, fitted)
    (output,) = session.run(None, {"images": canvas[None].astype(np.float32)})
    rows = output[0][output[0][:, 4] > 0.3]
    scale = np.tile([fitted[0] / width, fitted[1] / height], 2)
    corners = np.clip((rows[:, :4] - [left, top, left, top]) / scale, 0, [width, height, width, height])
    sizes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    kept = cv2.dnn.NMSBoxesBatched(sizes.tolist(), rows[:, 4].tolist(), rows[:, 5].astype(int).tolist(), 0.3, 0.5)
    return [
        {"xyxy": corners[i].tolist(), "confidence": float(rows[i, 4]), "class_id": int(rows[i, 5])}
        for i in np.asarray(kept, int).ravel()
    ]
