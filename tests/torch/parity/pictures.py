"""Models that say something of the whole picture, or of each of its pixels."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional
from ultralytics.models.yolo.semantic.predict import SemanticSegmentationPredictor

from . import Case, Family, Thing, model_info, tensor

NAMES = {n: f"thing {n}" for n in range(12)}


def class_cases(rng: np.random.Generator) -> Iterator[Case]:
    for classes, batch, softmax, metadata, options in [
        (1000, 4, False, {}, {}), (1000, 4, True, {}, {"top_k": 10}), (12, 8, True, {"task": "classify", "names": str(NAMES)}, {}),
        (12, 8, False, {"vidmill.scores": "logits", "names": str(NAMES)}, {"top_k": 3}),
    ]:
        scores = torch.from_numpy(rng.normal(0, 3, (batch, classes)).astype(np.float32))
        data = scores.softmax(1) if softmax else scores
        told = [tensor("output", [None, classes])]
        info = model_info([tensor("input", [None, 3, 224, 224])], told, metadata, {"Conv": 1, **({"Softmax": 1} if softmax else {})})
        yield Case(info, {"output": data.numpy()}, options, (1920, 1080), batch)


def class_expected(case: Case, item: int) -> list[Thing]:
    scores = torch.from_numpy(case.outputs["output"][item])
    # torchvision's own example: `model(batch).squeeze(0).softmax(0)`; Ultralytics' and others' graphs have it.
    probabilities = scores if "Softmax" in case.info["operators"] else scores.softmax(0)
    values, ids = probabilities.topk(case.options.get("top_k", 5))
    return [Thing(None, float(value), int(id)) for value, id in zip(values, ids, strict=True)]


def vector_cases(rng: np.random.Generator) -> Iterator[Case]:
    for count, normalize, metadata in [(512, True, {}), (128, False, {}), (2048, False, {"vidmill.normalize": "true"})]:
        data = rng.normal(0, 5, (40, count)).astype(np.float32)
        info = model_info([tensor("input", [None, 3, 256, 128])], [tensor("output", [None, count])], metadata)
        yield Case(info, {"output": data}, {"task": "embed", "normalize": normalize}, batch=40)


def vector_expected(case: Case, item: int) -> list[Thing]:
    vector = torch.from_numpy(case.outputs["output"][item])
    if case.options["normalize"] or case.info["metadata"]:
        vector = functional.normalize(vector, dim=0)
    return [Thing(None, 1.0, 0, {"embedding": vector.numpy()})]


def smooth(rng: np.random.Generator, batch: int, classes: int, size: tuple[int, int]) -> np.ndarray:
    """Maps as those of a trained model: regions with edges."""
    width, height = size
    coarse = torch.from_numpy(rng.normal(0, 3, (batch, classes, 9, 11)))
    return functional.interpolate(coarse, (height, width), mode="bicubic").numpy().astype(np.float32)


def map_cases(rng: np.random.Generator) -> Iterator[Case]:
    for classes, batch, size, map_size, displayed, name in [
        (150, 1, (512, 512), (128, 128), (1920, 1080), "logits"),
        (19, 2, (1024, 512), (256, 128), (853, 480), "logits"),
        (21, 2, (520, 520), (520, 520), (640, 480), "out"),
        (21, 1, (520, 520), (520, 520), (1280, 720), "out"),
        (2, 2, (192, 192), (48, 48), (333, 777), "logits"),
    ]:
        maps = smooth(rng, batch, classes, map_size)
        metadata = {} if classes > 2 else {"names": "{0: 'a', 1: 'b'}"}
        told = [tensor(name, [None, classes, map_size[1], map_size[0]])]
        info = model_info([tensor("pixel_values", [None, 3, size[1], size[0]])], told, metadata)
        yield Case(info, {name: maps}, displayed=displayed, batch=batch)


def map_expected(case: Case, item: int) -> list[Thing]:
    [maps] = case.outputs.values()
    logits = torch.from_numpy(maps[item : item + 1])
    # post_process_semantic_segmentation of transformers/models/segformer/image_processing_segformer.py, for a target size; torchvision's
    # models do the same to the input's size.
    resized = functional.interpolate(logits, size=case.displayed[::-1], mode="bilinear", align_corners=False)
    return regions(resized[0].argmax(dim=0).numpy())


def regions(classes: np.ndarray) -> list[Thing]:
    return [Thing(None, 1.0, int(id), mask=classes == id) for id in np.unique(classes)]


def ultralytics_cases(rng: np.random.Generator) -> Iterator[Case]:
    for classes, batch, size, displayed, whole in [
        (19, 1, (640, 640), (1920, 1080), True), (5, 2, (640, 384), (1280, 720), True), (3, 2, (320, 320), (333, 777), True),
        (19, 1, (640, 640), (1920, 1080), False), (5, 2, (320, 320), (854, 480), False), (19, 3, (256, 256), (320, 240), True),
    ]:
        maps = smooth(rng, batch, classes, size)
        data = maps.argmax(1).astype(np.float32) if whole else maps
        told = [tensor("output0", [None, *data.shape[1:]], "u8" if whole else "f32")]
        metadata = {"task": "semantic", "stride": "32", "names": str({n: f"thing {n}" for n in range(classes)})}
        info = model_info([tensor("images", [None, 3, size[1], size[0]])], told, metadata)
        yield Case(info, {"output0": data}, displayed=displayed, batch=batch)


def ultralytics_expected(case: Case, item: int) -> list[Thing]:
    predictor = object.__new__(SemanticSegmentationPredictor)
    predictor.args, predictor.batch = SimpleNamespace(classes=None), (["frame"],)
    predictor.model = SimpleNamespace(names=eval(case.info["metadata"]["names"]))
    height, width = case.info["inputs"][0]["shape"][2:]
    frame = np.zeros((case.displayed[1], case.displayed[0], 3), np.uint8)
    output = torch.from_numpy(case.outputs["output0"][item : item + 1])
    [result] = predictor.postprocess(output, torch.zeros(1, 3, height, width), [frame])
    return regions(result.semantic_mask.data.squeeze().numpy())


def foreground_cases(rng: np.random.Generator) -> Iterator[Case]:
    for size, displayed in [((256, 256), (1920, 1080)), ((320, 320), (640, 480)), ((144, 256), (100, 333))]:
        maps = 1 / (1 + np.exp(-smooth(rng, 40, 1, size)))
        told = [tensor("mask", [None, 1, size[1], size[0]])]
        info = model_info([tensor("input", [None, 3, size[1], size[0]])], told, {}, {"Sigmoid": 1})
        yield Case(info, {"mask": maps}, {"task": "foreground"}, displayed, 40)


def foreground_expected(case: Case, item: int) -> list[Thing]:
    maps = torch.from_numpy(case.outputs["mask"][item : item + 1])
    mask = functional.interpolate(maps, size=case.displayed[::-1], mode="bilinear")[0, 0].numpy() > 0.5
    return [Thing(None, 1.0, 0, mask=mask)]


SIZED = "masks of the frame's size; an IoU of 0.999 at least"
FAMILIES = [
    Family("classifiers", "torch 2.15: softmax, topk", class_cases, class_expected),
    Family("embeddings", "torch 2.15: nn.functional.normalize", vector_cases, vector_expected, pixels=1e-5, note="within 0.00001"),
    Family(
        "SegFormer, DeepLab, FCN and their like", "torch 2.15: nn.functional.interpolate, argmax, as transformers 4 has it", map_cases,
        map_expected, mask_iou=0.999, note=SIZED,
    ),
    Family(
        "YOLO26-sem", "ultralytics 8.4.190: SemanticSegmentationPredictor.postprocess", ultralytics_cases, ultralytics_expected,
        mask_iou=0.999, note=SIZED,
    ),
    Family("foreground masks", "torch 2.15: nn.functional.interpolate", foreground_cases, foreground_expected, mask_iou=0.999, note=SIZED),
]
