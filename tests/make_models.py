"""Small detectors with seeded weights, one for each way in which known families lay out their outputs.

Each is a tiny convolutional network whose scores and boxes truly depend on the picture. The head's weights are scaled on
a few real frames, so that a few per cent of the anchors pass a confidence of 0.25 and neighbours overlap: work for NMS.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx_graph import Graph

STRIDES = (8, 16, 32)
NAMES = ("person", "bicycle", "car", "dog", "traffic light")
WIDTHS = (8, 16, 24, 32, 32)  # channels after each of five convolutions of stride 2
ELEMENTS = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "u8": TensorProto.UINT8}


@dataclass(frozen=True)
class Spec:
    """What to make. `batch` or `size` None is dynamic."""

    family: str
    element: str = "f32"
    layout: str = "nchw"
    batch: int | None = 1
    size: tuple[int, int] | None = (160, 160)  # height, width
    seed: int = 1
    metadata: dict = field(default_factory=dict, hash=False)
    nan_below: float | None = None  # outputs are NaN where the mean of the input lies below
    white: str | None = None  # what white pictures do to whoever runs the model: see `spellbound`


class Network:
    """The graph of one spec, with weights drawn in the order in which layers are added."""

    def __init__(self, spec, calibration):
        self.graph = Graph()
        self.spec = spec
        self.random = np.random.default_rng(spec.seed)
        self.calibration = calibration

    def conv(self, x, inputs, outputs, kernel, stride=1, activation=True):
        scale = (1.7 if activation else 1.0) / np.sqrt(inputs * kernel * kernel)
        weight = self.random.normal(0, scale, (outputs, inputs, kernel, kernel)).astype(np.float32)
        pad = (kernel - 1) // 2
        x = self.graph.emit(
            "Conv",
            [x, self.graph.constant(weight), self.graph.constant(np.zeros(outputs, np.float32))],
            strides=[stride, stride],
            pads=[pad, pad, kernel - stride - pad, kernel - stride - pad] if stride > 1 else [pad] * 4,
        )
        return self.graph.emit("Mul", [x, self.graph.emit("Sigmoid", [x])]) if activation else x

    def standardised(self, level, x, spread, centre):
        """`x` scaled so that each channel has this spread and centre on the calibration frames."""
        mean, deviation = self.calibration.get(level, (0.0, 1.0))
        scale = (np.float32(spread) / deviation).astype(np.float32)
        shift = (np.float32(centre) - mean * scale).astype(np.float32)
        shape = (1, -1, 1, 1)
        y = self.graph.emit("Mul", [x, self.graph.constant(np.reshape(scale, shape))])
        return self.graph.emit("Add", [y, self.graph.constant(np.reshape(shift, shape))])


def input_tensor(network):
    """The model's input, brought to f32 NCHW in 0..1."""
    graph, spec = network.graph, network.spec
    height, width = spec.size or ("height", "width")
    batch = spec.batch or "batch"
    shape = [batch, 3, height, width] if spec.layout == "nchw" else [batch, height, width, 3]
    x = graph.input("images", shape, ELEMENTS[spec.element])
    if spec.element != "f32":
        x = graph.emit("Cast", [x], to=TensorProto.FLOAT)
    if spec.layout == "nhwc":
        x = graph.emit("Transpose", [x], perm=[0, 3, 1, 2])
    if spec.family == "ssd":
        return x
    return graph.emit("Mul", [x, graph.float(1 / 255)]) if takes_bytes(spec) else x


def takes_bytes(spec):
    return spec.element == "u8" or spec.family == "yolox"


def features(network, x):
    """Feature maps of strides 8, 16 and 32 with their channels."""
    levels = []
    channels = 3
    for depth, width in enumerate(WIDTHS):
        x = network.conv(x, channels, width, 4, stride=2)
        channels = width
        if depth >= 2:
            levels.append((x, channels))
    return levels


def heads(network, x, box_channels, score_channels, score_centre):
    """Per level: raw boxes and raw scores, `[n, channels, h, w]`, standardised on the calibration frames."""
    result = []
    for level, (feature, channels) in enumerate(features(network, x)):
        raw = network.conv(feature, channels, box_channels + score_channels, 3, activation=False)
        name = f"head{level}"
        network.graph.emit("Identity", [raw], output=name)
        boxes = part(network.graph, raw, 0, box_channels)
        scores = part(network.graph, raw, box_channels, score_channels)
        boxes = network.standardised(f"{name}/boxes", boxes, 1.0, 0.0)
        scores = network.standardised(f"{name}/scores", scores, 1.5, score_centre)
        result.append((boxes, scores))
    return result


def part(graph, x, first, count, axis=1):
    """`count` slices of `x` along `axis`."""
    return graph.emit("Slice", [x, graph.ints(first), graph.ints(first + count), graph.ints(axis)])


def grid_centres(graph, feature, stride):
    """Centres of the cells in input pixels, `[w]` and `[h, 1]`: they broadcast over `[n, 1, h, w]`."""
    shape = graph.emit("Shape", [feature])
    centres = []
    for axis, trailing in ((3, []), (2, [1])):
        count = graph.emit("Gather", [shape, graph.constant(np.array(axis))])
        zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
        index = graph.emit("Cast", [graph.emit("Range", [zero, count, one])], to=TensorProto.FLOAT)
        centre = graph.emit("Mul", [graph.emit("Add", [index, graph.float(0.5)]), graph.float(stride)])
        centres.append(graph.emit("Unsqueeze", [centre, graph.ints(*trailing)]) if trailing else centre)
    return centres


def corners(graph, raw, stride):
    """Edges x1, y1, x2, y2 in input pixels, each `[n, 1, h, w]`: half a stride to four strides from the centre."""
    x, y = grid_centres(graph, raw, stride)
    reach = graph.emit("Mul", [graph.emit("Sigmoid", [raw]), graph.float(3.5 * stride)])
    reach = graph.emit("Add", [reach, graph.float(0.5 * stride)])
    left, top, right, bottom = graph.emit_many("Split", [reach], 4, axis=1, num_outputs=4)
    return [
        graph.emit("Sub", [x, left]),
        graph.emit("Sub", [y, top]),
        graph.emit("Add", [x, right]),
        graph.emit("Add", [y, bottom]),
    ]


def centre_and_size(graph, edges):
    x1, y1, x2, y2 = edges
    half = graph.float(0.5)
    return [
        graph.emit("Mul", [graph.emit("Add", [x1, x2]), half]),
        graph.emit("Mul", [graph.emit("Add", [y1, y2]), half]),
        graph.emit("Sub", [x2, x1]),
        graph.emit("Sub", [y2, y1]),
    ]


def flat(graph, parts):
    """Channels joined and cells flattened: `[n, channels, h*w]`."""
    joined = graph.emit("Concat", parts, axis=1)
    channels = graph.emit("Slice", [graph.emit("Shape", [joined]), graph.ints(0), graph.ints(2)])
    return graph.emit("Reshape", [joined, graph.emit("Concat", [channels, graph.ints(-1)], axis=0)])


def anchor_count(spec):
    """Anchors of all levels, or a name where the size is dynamic."""
    return sum((spec.size[0] // s) * (spec.size[1] // s) for s in STRIDES) if spec.size else "anchors"


def transposed(graph, x):
    return graph.emit("Transpose", [x], perm=[0, 2, 1])


def yolov8_output(network, x):
    """`[n, 4 + classes, anchors]`: centre x, y, width, height in input pixels, then class scores."""
    graph = network.graph
    levels = []
    for stride, (boxes, scores) in zip(STRIDES, heads(network, x, 4, len(NAMES), -3.0)):
        edges = corners(graph, boxes, stride)
        levels.append(flat(graph, [*centre_and_size(graph, edges), graph.emit("Sigmoid", [scores])]))
    return graph.emit("Concat", levels, axis=2)


def yolov8(network, x):
    y = yolov8_output(network, x)
    return {"output0": (y, [4 + len(NAMES), anchor_count(network.spec)])}


def yolov8_end2end(network, x):
    """`[n, 300, 6]`: x1, y1, x2, y2, confidence, class, best first: what YOLOv8 with built-in NMS and YOLO26 give."""
    graph = network.graph
    y = transposed(graph, yolov8_output(network, x))
    centre, size, scores = part(graph, y, 0, 2, 2), part(graph, y, 2, 2, 2), part(graph, y, 4, len(NAMES), 2)
    half = graph.emit("Mul", [size, graph.float(0.5)])
    edges = [graph.emit("Sub", [centre, half]), graph.emit("Add", [centre, half])]
    best = graph.emit("ReduceMax", [scores, graph.ints(2)], keepdims=0)
    index = graph.emit("Cast", [graph.emit("ArgMax", [scores], axis=2, keepdims=1)], to=TensorProto.FLOAT)
    confidence, order = graph.emit_many("TopK", [best, graph.ints(300)], 2, axis=1)
    rows = graph.emit("Concat", [*edges, index], axis=2)
    rows = graph.emit("GatherND", [rows, graph.emit("Unsqueeze", [order, graph.ints(2)])], batch_dims=1)
    boxes, classes = part(graph, rows, 0, 4, 2), part(graph, rows, 4, 1, 2)
    confidence = graph.emit("Unsqueeze", [confidence, graph.ints(2)])
    return {"output0": (graph.emit("Concat", [boxes, confidence, classes], axis=2), [300, 6])}


def yolov5(network, x):
    """`[n, 3 * cells, 5 + classes]`: centre x, y, width, height in input pixels, objectness, class scores."""
    graph = network.graph
    levels = []
    row = 1 + len(NAMES)
    for stride, (boxes, scores) in zip(STRIDES, heads(network, x, 3 * 4, 3 * row, -1.5)):
        for anchor in range(3):
            edges = corners(graph, part(graph, boxes, anchor * 4, 4), stride)
            probabilities = graph.emit("Sigmoid", [part(graph, scores, anchor * row, row)])
            levels.append(flat(graph, [*centre_and_size(graph, edges), probabilities]))
    y = transposed(graph, graph.emit("Concat", levels, axis=2))
    anchors = anchor_count(network.spec)
    return {"output0": (y, [3 * anchors, 5 + len(NAMES)])}


def yolox(network, x):
    """`[n, anchors, 5 + classes]`: offset in cells, logarithm of the size in cells, objectness, class scores."""
    graph = network.graph
    levels = []
    for boxes, scores in heads(network, x, 4, 1 + len(NAMES), -1.5):
        sizes = graph.constant(np.array([0, 0, 1, 1], np.float32).reshape(1, 4, 1, 1))  # e cells, more or less
        boxes = graph.emit("Add", [graph.emit("Mul", [boxes, graph.float(0.4)]), sizes])
        levels.append(flat(graph, [boxes, graph.emit("Sigmoid", [scores])]))
    y = transposed(graph, graph.emit("Concat", levels, axis=2))
    return {"output": (y, [anchor_count(network.spec), 5 + len(NAMES)])}


def ssd(network, x):
    """`scores [n, anchors, 1 + classes]` with the background first, and `boxes [n, anchors, 4]` in 0..1."""
    graph = network.graph
    boxes_of, scores_of = [], []
    height, width = network.spec.size
    for stride, (boxes, scores) in zip(STRIDES, heads(network, x, 4, 1 + len(NAMES), 0.0)):
        edges = corners(graph, boxes, stride)
        sides = (width, height, width, height)
        boxes_of.append(flat(graph, [graph.emit("Mul", [e, graph.float(1 / s)]) for e, s in zip(edges, sides)]))
        background = graph.constant(np.array([3.2] + [0.0] * len(NAMES), np.float32).reshape(1, -1, 1, 1))
        scores = graph.emit("Add", [graph.emit("Mul", [scores, graph.float(0.8)]), background])
        scores_of.append(flat(graph, [graph.emit("Softmax", [scores], axis=1)]))
    scores = transposed(graph, graph.emit("Concat", scores_of, axis=2))
    boxes = transposed(graph, graph.emit("Concat", boxes_of, axis=2))
    anchors = anchor_count(network.spec)
    return {"scores": (scores, [anchors, 1 + len(NAMES)]), "boxes": (boxes, [anchors, 4])}


def embedding(network, x):
    """`[n, 32]`: not a detector at all."""
    feature, _ = features(network, x)[-1]
    graph = network.graph
    return {"embedding": (graph.emit("ReduceMean", [feature, graph.ints(2, 3)], keepdims=0), [WIDTHS[-1]])}


FAMILIES = {
    "yolov8": yolov8,
    "yolov8-end2end": yolov8_end2end,
    "yolov5": yolov5,
    "yolox": yolox,
    "ssd": ssd,
    "embedding": embedding,
}


def family_metadata(spec):
    """What the family's own exporter writes; YOLOX and SSD exporters write nothing."""
    names = repr(dict(enumerate(NAMES)))
    if spec.family == "yolov5":
        return {"stride": "32", "names": names}
    if not spec.family.startswith("yolov8"):
        return {}
    return {
        "description": "Ultralytics YOLOv8n model",
        "author": "Ultralytics",
        "version": "8.4.190",
        "stride": "32",
        "task": "detect",
        "batch": str(spec.batch or 1),
        "imgsz": repr(list(spec.size or (640, 640))),
        "names": names,
        "end2end": str(spec.family == "yolov8-end2end"),
    }


def build(spec, calibration):
    network = Network(spec, calibration)
    graph = network.graph
    x = input_tensor(network)
    for name, (value, shape) in FAMILIES[spec.family](network, x).items():
        if spec.nan_below is not None:
            value = poisoned(graph, x, value, spec.nan_below)
        if spec.white is not None:
            value = spellbound(graph, x, value, spec.white)
        element = TensorProto.FLOAT
        if spec.element == "f16":
            element = TensorProto.FLOAT16
            value = graph.emit("Cast", [value], to=element)
        graph.output(name, value, [spec.batch or "batch", *shape], element)
    return graph.model(spec.family, "make_models", {**family_metadata(spec), **spec.metadata})


def poisoned(graph, x, value, threshold):
    """`value`, or NaN for pictures whose mean (0..1) lies below `threshold`: there the logarithm is of a negative."""
    mean = graph.emit("ReduceMean", [x, graph.ints(1, 2, 3)], keepdims=0)
    nan = graph.emit("Log", [graph.emit("Sub", [mean, graph.float(threshold)])])
    nan = graph.emit("Mul", [nan, graph.float(1e-30)])
    return graph.emit("Add", [value, graph.emit("Unsqueeze", [nan, graph.ints(1, 2)])])


# A mean that white pictures have, letterboxed or not, and others do not.
WHITE = 0.6


def spellbound(graph, x, value, how):
    """`value`, unchanged; but a batch with a white picture never ends (`hangs`), or takes memory without end (`grows`)."""
    means = graph.emit("ReduceMean", [x, graph.ints(1, 2, 3)], keepdims=0)
    is_white = graph.emit("Greater", [graph.emit("ReduceMax", [means], keepdims=0), graph.float(WHITE)])
    turns = graph.constant(np.array(2**60)), graph.constant(np.array(0))
    turns = graph.emit("Where", [is_white, *turns])
    # What is carried from turn to turn stays nought.
    body = Graph()
    body.count = graph.count
    body.input("turn", [], TensorProto.INT64)
    body.input("go_on", [], TensorProto.BOOL)
    if how == "hangs":
        begin = graph.float(0)
        body.input("carried", [])
        body.output("carried_on", body.emit("Mul", ["carried", body.float(0.5)]), [])
    else:
        begin = graph.constant(np.zeros(1, np.float32))
        body.input("carried", ["any"])
        block = body.emit("ConstantOfShape", [body.ints(8 << 20)])  # 32 MiB
        body.output("carried_on", body.emit("Concat", ["carried", block], axis=0), ["more"])
    body.output("go_on_then", "go_on", [], TensorProto.BOOL)
    body.outputs.reverse()
    loop = helper.make_graph(body.nodes, "spell", body.inputs, body.outputs, body.initializers)
    graph.count = body.count
    carried = graph.emit("Loop", [turns, graph.constant(np.array(True)), begin], body=loop)
    nought = graph.emit("ReduceMax", [carried], keepdims=0)
    return graph.emit("Add", [value, nought])


def calibrate(spec, frames):
    """Mean and deviation of every channel of the raw heads over `frames` (uint8 RGB, any size)."""
    plain = replace(spec, element="f32", layout="nchw", batch=None, size=(160, 160), nan_below=None, white=None)
    model = build(plain, {})
    levels = [name for node in model.graph.node for name in node.output if name.startswith("head")]
    for name in levels:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.stack([nearest(frame, 160) for frame in frames]).transpose(0, 3, 1, 2).astype(np.float32)
    x = (x - 127) / 128 if spec.family == "ssd" else x if spec.family == "yolox" else x / 255
    result = {}
    for name, raw in zip(levels, session.run(levels, {"images": x})):
        mean, deviation = raw.mean((0, 2, 3)), raw.std((0, 2, 3))
        boxes = 3 * 4 if spec.family == "yolov5" else 4
        result[f"{name}/boxes"] = (mean[:boxes], deviation[:boxes])
        result[f"{name}/scores"] = (mean[boxes:], deviation[boxes:])
    return result


def nearest(frame, side):
    rows = np.arange(side) * frame.shape[0] // side
    columns = np.arange(side) * frame.shape[1] // side
    return frame[rows][:, columns]


VIDMILL_YOLOX = {"names": repr(dict(enumerate(NAMES)))}
VIDMILL_SSD = {
    "vidmill.task": "ssd",
    "vidmill.units": "normalised",
    "vidmill.background": "first",
    "vidmill.resize": "stretch",
    "vidmill.mean": "127,127,127",
    "vidmill.std": "128,128,128",
    "vidmill.range": "255",
    "names": repr(dict(enumerate(NAMES))),
}

MODELS = {
    "yolov8": Spec("yolov8"),
    "yolov8_wide": Spec("yolov8", size=(96, 160)),
    "yolov8_f16": Spec("yolov8", element="f16"),
    "yolov8_u8": Spec("yolov8", element="u8"),
    "yolov8_nhwc": Spec("yolov8", layout="nhwc"),
    "yolov8_u8_nhwc": Spec("yolov8", element="u8", layout="nhwc"),
    "yolov8_batch4": Spec("yolov8", batch=4),
    "yolov8_dynamic_batch": Spec("yolov8", batch=None),
    "yolov8_dynamic": Spec("yolov8", batch=None, size=None),
    "yolov8_nan": Spec("yolov8", nan_below=0.3),
    "yolov8_hangs": Spec("yolov8", batch=None, white="hangs"),
    "yolov8_grows": Spec("yolov8", batch=None, white="grows"),
    "yolov8_end2end": Spec("yolov8-end2end"),
    "yolov5": Spec("yolov5"),
    "yolox": Spec("yolox", metadata=VIDMILL_YOLOX),
    "ssd": Spec("ssd", metadata=VIDMILL_SSD),
    "embedding": Spec("embedding"),
}


def write_models(folder: Path, frames):
    """Writes every model of MODELS to `folder`/NAME.onnx."""
    folder.mkdir(parents=True, exist_ok=True)
    calibrations = {}
    for name, spec in MODELS.items():
        family = spec.family
        if family not in calibrations:
            calibrations[family] = calibrate(spec, frames)
        onnx.save(build(spec, calibrations[family]), folder / f"{name}.onnx")
