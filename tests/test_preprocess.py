"""The fused pass against swscale (colour) and OpenCV (geometry), on real frames of every pixel format."""

import cv2
import make_clips
import numpy as np
import pytest
import support

MEAN_LIMIT, TAIL_LIMIT = 1.0, 6.0
PAD = 114
CLIPS = [clip.name for clip in make_clips.FORMATS + make_clips.COLORS]


class Picture:
    """One real frame: its bytes as decoded, and the same as RGB by swscale with the stream's matrix and range."""

    def __init__(self, path):
        stream = support.ffprobe_stream(path)
        self.colors = support.Colors(path)
        self.size = stream["width"], stream["height"]
        self.format = stream["pix_fmt"].replace("yuvj", "yuv").replace("bgr0", "bgra")
        only = "select=eq(n\\,3)"
        self.raw = support.tool(*support.decoding(path, only, support.ffprobe_frames(path)[0]["pix_fmt"]))
        self.rgb = support.rgb_frames(path, only)[0]

    def preprocessed(self, target, **options):
        """The fused pass's tensor, `[height, width, 3]` RGB 0..255 as float."""
        arguments = {"format": self.format, "size": "x".join(map(str, self.size)), "target": "x".join(map(str, target))}
        arguments |= {"matrix": self.colors.matrix, "range": self.colors.range, "siting": self.colors.siting}
        arguments |= {"layout": "nhwc", "scale": 1, "pad": PAD} | options
        command = [support.example("vidmill-image", "preprocess_raw")]
        for key, value in arguments.items():
            command += [f"--{key}", value]
        out = support.tool(*command, stdin=self.raw)
        return np.frombuffer(out, np.float32).reshape(target[1], target[0], 3)


def letterbox(rgb, target, top_left=False):
    """Ultralytics' letterbox, or YOLOX's with `top_left`, by OpenCV."""
    height, width = rgb.shape[:2]
    ratio = min(target[1] / height, target[0] / width)
    fitted = (int(width * ratio), int(height * ratio)) if top_left else (round(width * ratio), round(height * ratio))
    inside = cv2.resize(rgb, fitted, interpolation=cv2.INTER_LINEAR)
    spare = target[0] - fitted[0], target[1] - fitted[1]
    left, top = (0, 0) if top_left else (round(spare[0] / 2 - 0.1), round(spare[1] / 2 - 0.1))
    return cv2.copyMakeBorder(
        inside, top, spare[1] - top, left, spare[0] - left, cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD)
    )


def center_crop(rgb, target):
    """torchvision's Resize of the shorter side and CenterCrop, by OpenCV."""
    height, width = rgb.shape[:2]
    ratio = max(target[0] / width, target[1] / height)
    fitted = max(target[0], int(width * ratio + 1e-9)), max(target[1], int(height * ratio + 1e-9))
    resized = cv2.resize(rgb, fitted, interpolation=cv2.INTER_LINEAR)
    left, top = (round((fitted[i] - target[i]) / 2) for i in (0, 1))
    return resized[top : top + target[1], left : left + target[0]]


MODES = {
    "letterbox": letterbox,
    "letterbox-top-left": lambda rgb, target: letterbox(rgb, target, top_left=True),
    "stretch": lambda rgb, target: cv2.resize(rgb, target, interpolation=cv2.INTER_LINEAR),
    "center-crop": center_crop,
}


def assert_close(ours, reference, what):
    difference = np.abs(ours.astype(float) - reference.astype(float))
    mean, tail = difference.mean(), np.percentile(difference, 99.9)
    assert mean <= MEAN_LIMIT and tail <= TAIL_LIMIT, f"{what}: mean {mean:.2f}, 99.9th percentile {tail:.1f}"


@pytest.mark.parametrize("target", [(160, 160), (640, 640)], ids=["down", "up"])
@pytest.mark.parametrize("name", CLIPS)
def test_every_format_is_as_opencv_and_swscale_have_it(clips, name, target):
    picture = Picture(clips / name)
    assert_close(picture.preprocessed(target), letterbox(picture.rgb, target), name)


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"])
@pytest.mark.parametrize("target", [(320, 320), (512, 512), (640, 384)])
def test_real_clips(assets, name, target):
    picture = Picture(assets / name)
    assert_close(picture.preprocessed(target), letterbox(picture.rgb, target), name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", [(128, 96), (96, 160), (224, 224)])
@pytest.mark.parametrize("name", ["h264.mp4", "raw_odd.nut", "h264_odd.mp4"])
def test_every_way_of_fitting(clips, name, mode, target):
    picture = Picture(clips / name)
    assert_close(picture.preprocessed(target, mode=mode), MODES[mode](picture.rgb, target), f"{name} {mode}")


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("name", ["h264.mp4", "h264_422_10bit.mp4", "raw_nv12.nut", "raw_rgb24.nut", "raw_odd.nut"])
def test_rotation(clips, name, rotation):
    picture = Picture(clips / name)
    turned = np.ascontiguousarray(support.upright(picture.rgb, rotation))
    assert_close(picture.preprocessed((160, 160), rotation=rotation), letterbox(turned, (160, 160)), name)


def test_a_wrong_matrix_or_range_would_be_noticed(clips):
    """What the limits above are worth: the mistakes that they are there for exceed them."""
    picture = Picture(clips / "bt709_full.mp4")
    reference = letterbox(picture.rgb, (160, 160))
    for mistake in ({"matrix": "bt601"}, {"range": "limited"}, {"rotation": 180}, {"siting": "topleft"}):
        with pytest.raises(AssertionError):
            assert_close(picture.preprocessed((160, 160), **mistake), reference, "mistake")


def test_layouts_orders_and_types_hold_the_same_picture(clips):
    picture = Picture(clips / "h264.mp4")
    target = (160, 96)
    plain = picture.preprocessed(target)
    arguments = ["--format", picture.format, "--size", "320x136", "--target", "160x96", "--matrix", "bt601"]
    arguments += ["--siting", picture.colors.siting]
    command = [support.example("vidmill-image", "preprocess_raw"), *arguments]

    def run(*options):
        return support.tool(*command, *options, stdin=picture.raw)

    nchw = np.frombuffer(run("--layout", "nchw", "--channels", "bgr", "--scale", 1), np.float32).reshape(3, 96, 160)
    assert np.array_equal(nchw[::-1].transpose(1, 2, 0), plain)
    halves = np.frombuffer(run("--layout", "nhwc", "--dtype", "f16", "--scale", 1), np.float16).reshape(96, 160, 3)
    assert np.abs(halves.astype(np.float32) - plain).max() <= 0.07  # half an ulp of f16 at 128..255 is 0.0625
    codes = np.frombuffer(run("--layout", "nhwc", "--dtype", "u8", "--scale", 1), np.uint8).reshape(96, 160, 3)
    assert np.abs(codes.astype(np.float32) - plain).max() <= 0.51
    scaled = run("--layout", "nhwc", "--scale", 1 / 255, "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    scaled = np.frombuffer(scaled, np.float32).reshape(96, 160, 3)
    expected = (plain / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.abs(scaled - expected).max() <= 1e-4
