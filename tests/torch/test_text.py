"""Text, found and read: what vidmill makes of pictures with PP-OCR's models is what RapidOCR makes of them."""

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

rapidocr = pytest.importorskip("rapidocr_onnxruntime", reason="rapidocr-onnxruntime is not installed in .venv-oracle")

MODELS = Path(rapidocr.__file__).parent / "models"
FINDER, READER = MODELS / "ch_PP-OCRv4_det_infer.onnx", MODELS / "ch_PP-OCRv4_rec_infer.onnx"
WORDS = (
    "Sphinx of black quartz, judge my vow|PLATFORM 9|Total: 1,249.50 EUR|exit|No. 47-B|Open 08:00-17:30|speed limit 50|"
    "www.example.org/path|Gate C14|Departure|Serial 0047-XK-99|Invoice|caution wet floor|HOTEL|Main Street 221|please ring the bell"
).split("|")
COLOURS = [((255, 255, 255), (20, 20, 20)), ((30, 60, 120), (250, 240, 200)), ((200, 220, 190), (120, 10, 40)), ((10, 10, 10), (240, 240, 90))]


def sign(rng, text, size, colours):
    """A text as a picture of its own, with some room around it."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("RGB", (right - left + size, bottom - top + size // 2), colours[0])
    ImageDraw.Draw(picture).text((size // 2 - left, size // 4 - top), text, colours[1], font)
    return picture


def scene(rng, width, height, slant):
    """Signs in rows, each turned by up to `slant` degrees."""
    back, ink = COLOURS[rng.integers(len(COLOURS))]
    picture = Image.new("RGB", (width, height), back)
    y = 14
    while y < height - 90:
        x, tallest = int(rng.integers(10, 40)), 0
        while x < width - 80:
            part = sign(rng, WORDS[rng.integers(len(WORDS))], int(rng.integers(16, 40)), (back, ink))
            part = part.rotate(float(rng.uniform(-slant, slant)), Image.Resampling.BICUBIC, expand=True, fillcolor=back)
            if x + part.width > width - 10:
                break
            picture.paste(part, (x, y))
            x, tallest = x + part.width + int(rng.integers(20, 60)), max(tallest, part.height)
        y += tallest + int(rng.integers(12, 30))
    return picture


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures that RapidOCR, like vidmill, gives to the finder as they are, but for sides of whole 32 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(11)
    for number, (width, height, slant) in enumerate([(900, 620, 0), (800, 608, 3), (640, 480, 0), (950, 540, 12), (720, 900, 0), (500, 700, 6)]):
        scene(rng, width, height, slant).save(folder / f"{number}.png")
    tall = scene(rng, 700, 500, 0).transpose(Image.Transpose.ROTATE_90)
    tall.save(folder / "tall.png")
    return folder


@pytest.fixture(scope="module")
def authors():
    """RapidOCR, one line of text at a time, so that no line's result hangs on its neighbours."""
    engine = rapidocr.RapidOCR(use_cls=False, text_score=0.0, width_height_ratio=-1, min_height=0)
    engine.text_det.limit_type = "max"
    engine.text_rec.rec_batch_num = 1
    return lambda picture: engine(cv2.imread(str(picture)), use_cls=False, text_score=0.0)[0] or []


def run(source, out, *options):
    binary = os.environ.get("VIDMILL_BIN", Path(__file__).parents[2] / "target" / "debug" / "vidmill")
    command = [binary, "run", source, "--model", FINDER, "--conf", 0.5, "--then", READER, "--out", out, "--quiet", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_texts_are_those_that_the_authors_read(pictures, authors, tmp_path):
    records = run(pictures, tmp_path / "out.jsonl")
    compared = equal = slanted = 0
    different = []
    for record in records:
        ours = {tuple(np.ravel(d["corners"]).astype(int)): (d["text"], d["text_confidence"]) for d in record["detections"]}
        theirs = authors(record["source"])
        assert len(ours) == len(theirs) > 3, record["source"]
        for corners, text, confidence in theirs:
            key = tuple(np.ravel(corners).astype(int))
            near = min(ours, key=lambda other: np.abs(np.subtract(other, key)).max())
            compared += 1
            slanted += key[1] != key[3]
            if np.abs(np.subtract(near, key)).max() <= 1 and ours[near][0] == text and abs(ours[near][1] - confidence) < 0.02:
                equal += 1
            else:
                different.append((Path(record["source"]).name, key, text, confidence, near, ours[near]))
    print(f"{equal} of {compared} equal, {slanted} slanted", *different, sep="\n")
    assert compared >= 80 and slanted >= 20
    assert equal >= 0.99 * compared, "\n".join(map(str, different))


@pytest.mark.parametrize("options", [("--workers", 1, "--then-batch", 8), ("--isolate", "--workers", 2, "--batch", 2)])
def test_neighbours_in_a_batch_change_nothing(pictures, tmp_path, options):
    some = pictures / "[0-1].png"
    reference = run(some, tmp_path / "reference.jsonl", "--workers", 2)
    other = run(some, tmp_path / "other.jsonl", *options)
    for one, two in zip(reference, other, strict=True):
        for a, b in zip(one["detections"], two["detections"], strict=True):
            # The runtime adds up in another order where a call has more items.
            assert (a["text"], a["corners"]) == (b["text"], b["corners"])
            assert abs(a["text_confidence"] - b["text_confidence"]) < 1e-4
