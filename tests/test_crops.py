"""Parts of a frame, cut out and straightened: what OpenCV gives of the same."""

import cv2
import numpy as np
import pytest
import support

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def picture():
    """A picture with smooth and sharp parts, RGB."""
    rng = np.random.default_rng(3)
    blobs = cv2.GaussianBlur(rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 4)
    blobs = cv2.normalize(blobs, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    for _ in range(40):
        x, y, w, h = (int(n) for n in rng.integers([0, 0, 5, 5], [WIDTH, HEIGHT, 60, 40]))
        cv2.rectangle(blobs, (x, y), (x + w, y + h), rng.integers(0, 256, 3).tolist(), -1)
    return blobs


def vidmill(example, picture, size, *options):
    run = (example("vidmill-image", "preprocess_raw"), "--format", "rgb24", "--size", f"{WIDTH}x{HEIGHT}", *options)
    raw = support.tool(*run, "--target", f"{size[0]}x{size[1]}", "--layout", "nhwc", "--dtype", "u8", "--scale", 1, stdin=picture.tobytes())
    return np.frombuffer(raw, np.uint8).reshape(size[1], size[0], 3)


def test_a_crop_is_a_slice(example, picture):
    cut = vidmill(example, picture, (70, 50), "--crop", "33,41,70,50", "--mode", "stretch")
    assert np.array_equal(cut, picture[41:91, 33:103])


def rotate_crop(picture, points):
    """PaddleOCR's get_rotate_crop_image (rapidocr-onnxruntime 1.4.4, main.py)."""
    width = int(max(np.linalg.norm(points[0] - points[1]), np.linalg.norm(points[2] - points[3])))
    height = int(max(np.linalg.norm(points[0] - points[3]), np.linalg.norm(points[1] - points[2])))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(points, target)
    straight = cv2.warpPerspective(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.rot90(straight)) if height / width >= 1.5 else straight


QUADS = {
    "upright": [[20, 30], [120, 30], [120, 60], [20, 60]],
    "slanted": [[40, 60], [140, 90], [131, 120], [31, 90]],
    "standing": [[60, 20], [90, 22], [88, 160], [58, 158]],
    "perspective": [[50, 50], [200, 20], [210, 110], [45, 90]],
    "at the edge": [[-20, -10], [80, 5], [75, 40], [-25, 25]],
    "beyond the corner": [[270, 200], [330, 190], [340, 250], [280, 260]],
    "between pixels": [[10.3, 20.7], [99.1, 31.2], [95.4, 66.6], [7.9, 55.5]],
}


@pytest.mark.parametrize("name", QUADS)
def test_corners_are_straightened_as_opencv_does(example, picture, name):
    points = np.array(QUADS[name], np.float32)
    expected = rotate_crop(picture, points)
    size = (expected.shape[1], expected.shape[0])
    found = vidmill(example, picture, size, "--quad", ",".join(str(float(n)) for n in points.ravel()), "--mode", "stretch")
    off = np.abs(found.astype(int) - expected)
    # Places are told in steps of 1/32 pixel; one that lies between two goes either way.
    assert np.mean(off > 1) < 0.003 and off.mean() < 0.1, (name, off.mean(), np.mean(off > 1), off.max())


@pytest.mark.parametrize(("width", "height"), [(100, 30), (37, 12), (64, 48), (500, 13)])
def test_lines_are_fitted_to_their_height(example, width, height):
    """PaddleOCR's resize_norm_img."""
    line = np.random.default_rng(4).integers(0, 256, (height, width, 3), np.uint8)
    least = int(48 * max(320 / 48, width / height))
    resized = min(int(np.ceil(48 * width / height)), least)
    expected = np.zeros((3, 48, least), np.float32)
    expected[:, :, :resized] = (cv2.resize(line, (resized, 48)).transpose(2, 0, 1).astype(np.float32) / 255 - 0.5) / 0.5
    run = (example("vidmill-image", "preprocess_raw"), "--format", "rgb24", "--size", f"{width}x{height}", "--mode", "fit-height")
    raw = support.tool(*run, "--target", f"{least}x48", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", stdin=line.tobytes())
    found = np.frombuffer(raw, np.float32).reshape(3, 48, least)
    assert np.abs(found - expected).max() < 1.6 / 127.5
    assert np.all(found[:, :, resized:] == 0)
