"""Run-length masks, against pycocotools byte for byte."""

import numpy as np
import support
from pycocotools import mask as coco

SIZES = [(1, 1), (1, 1080), (1920, 1), (2, 3), (7, 64), (64, 7), (65, 33), (640, 360), (1280, 720), (1920, 1080)]


def blobs(generator, width, height):
    """Discs and boxes, some of them holes, anywhere over the picture and its edges."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(generator.integers(1, 6)):
        cx, cy = generator.uniform(-0.1, 1.1, 2) * (width, height)
        rx, ry = generator.uniform(0.01, 0.5, 2) * (width, height)
        if generator.random() < 0.5:
            shape = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        else:
            shape = (abs(x - cx) < rx) & (abs(y - cy) < ry)
        mask = mask & ~shape if generator.random() < 0.3 else mask | shape
    return mask


def random_masks(count):
    """Masks of bytes: any that is not 0 is set. One in 100 is of a fixed size and may be large; the rest are small."""
    generator = np.random.default_rng(5)
    for i in range(count):
        width, height = SIZES[i // 100 % len(SIZES)] if i % 100 == 0 else generator.integers(1, 90, 2)
        match i // 100 % 4 if i % 100 == 0 else generator.integers(0, 8):
            case 0:
                bits = np.zeros((height, width), bool)
            case 1:
                bits = np.ones((height, width), bool)
            case 2:
                bits = generator.random((height, width)) < generator.choice([0.01, 0.5, 0.99])
            case _:
                bits = blobs(generator, width, height)
        yield bits * generator.integers(1, 256, bits.shape, np.uint8)


def test_two_thousand_masks_each_as_pycocotools():
    masks = [*random_masks(2000)]
    # Each fixed size also as a blob, noise, nothing and everything.
    generator = np.random.default_rng(6)
    for width, height in SIZES:
        masks.append(blobs(generator, width, height).astype(np.uint8))
        masks.append(np.zeros((height, width), np.uint8))
        masks.append(np.full((height, width), 255, np.uint8))
    masks.append((generator.random((1080, 1920)) < 0.5).astype(np.uint8))
    parts = [np.array(mask.shape[::-1], "<u4").tobytes() + mask.tobytes() for mask in masks]
    told = support.tool(support.example("vidmill-image", "mask_raw"), stdin=b"".join(parts))
    lines = told.decode().splitlines()
    assert len(lines) == len(masks)
    set_pixels = 0
    for mask, line in zip(masks, lines):
        counts, area, *bounds = line.split()
        theirs = coco.encode(np.asfortranarray(mask != 0, np.uint8))
        assert counts == theirs["counts"].decode()
        assert int(area) == coco.area(theirs)
        set_pixels += int(area)
        left, top, right, bottom = map(float, bounds)
        assert [left, top, right - left, bottom - top] == coco.toBbox(theirs).tolist()
    assert set_pixels > 1_000_000
