"""The two detectors of the benchmark: YOLOv8's layers with seeded random weights.

Time depends on the layers, not on what the weights have learnt. "heavy" has YOLOv8n's own widths, "light" is narrower; at
320x320 they take about 20 and 5 ms of CPU. The class scores are scaled and shifted so that a real frame gives some twenty
candidates above a confidence of 0.25, as trained models do. The weights are small enough for the network to damp small
differences between pictures, as trained models do too: larger ones would make it chaotic.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx_graph import Graph

SIDE = 320
CLASSES = 80
REG_MAX = 16
WIDTHS = {"heavy": 0.25, "light": 0.08}
CANDIDATES = 20
GAIN = 1.2
LOGIT_SPREAD = 1.5


@dataclass(frozen=True)
class Scores:
    """What the last class convolution does to make scores like a trained model's."""

    gain: float = 1.0
    shift: float = 0.0


class Yolo:
    """YOLOv8 layer by layer; every method takes and returns (tensor, channels)."""

    def __init__(self, width, seed, scores):
        self.graph = Graph()
        self.random = np.random.default_rng(seed)
        self.width = width
        self.scores = scores

    def channels(self, full):
        return max(8, int(full * self.width / 8 + 0.5) * 8)

    def weights(self, outputs, inputs, kernel, gain):
        scale = gain / np.sqrt(inputs * kernel * kernel)
        return self.graph.constant(self.random.normal(0, scale, (outputs, inputs, kernel, kernel)).astype(np.float32))

    def plain_conv(self, x, outputs, kernel, stride=1, gain=1.0, bias=0.0):
        tensor, inputs = x
        pad = kernel // 2
        bias = self.graph.constant(np.full(outputs, bias, np.float32))
        weight = self.weights(outputs, inputs, kernel, gain)
        y = self.graph.emit("Conv", [tensor, weight, bias], strides=[stride, stride], pads=[pad] * 4)
        return y, outputs

    def conv(self, x, outputs, kernel=3, stride=1):
        """Convolution and SiLU."""
        y, channels = self.plain_conv(x, outputs, kernel, stride, gain=GAIN)
        return self.graph.emit("Mul", [y, self.graph.emit("Sigmoid", [y])]), channels

    def concat(self, *parts):
        return self.graph.emit("Concat", [tensor for tensor, _ in parts], axis=1), sum(n for _, n in parts)

    def c2f(self, x, outputs, repeats, shortcut):
        hidden = outputs // 2
        tensor, _ = self.conv(x, 2 * hidden, 1)
        parts = [(half, hidden) for half in self.graph.emit_many("Split", [tensor], 2, axis=1, num_outputs=2)]
        for _ in range(repeats):
            y = self.conv(self.conv(parts[-1], hidden), hidden)
            if shortcut:
                y = self.graph.emit("Add", [y[0], parts[-1][0]]), hidden
            parts.append(y)
        return self.conv(self.concat(*parts), outputs, 1)

    def sppf(self, x):
        outputs = x[1]
        parts = [self.conv(x, outputs // 2, 1)]
        for _ in range(3):
            pooled = self.graph.emit("MaxPool", [parts[-1][0]], kernel_shape=[5, 5], pads=[2] * 4)
            parts.append((pooled, outputs // 2))
        return self.conv(self.concat(*parts), outputs, 1)

    def upsample(self, x):
        scales = self.graph.constant(np.array([1, 1, 2, 2], np.float32))
        mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.graph.emit("Resize", [x[0], "", scales], **mode), x[1]

    def features(self, x):
        """The three feature maps that the head looks at."""
        c2, c3, c4, c5 = (self.channels(full) for full in (128, 256, 512, 1024))
        x = self.c2f(self.conv(self.conv(x, self.channels(64), stride=2), c2, stride=2), c2, 1, True)
        p3 = self.c2f(self.conv(x, c3, stride=2), c3, 2, True)
        p4 = self.c2f(self.conv(p3, c4, stride=2), c4, 2, True)
        p5 = self.sppf(self.c2f(self.conv(p4, c5, stride=2), c5, 1, True))
        n4 = self.c2f(self.concat(self.upsample(p5), p4), c4, 1, False)
        n3 = self.c2f(self.concat(self.upsample(n4), p3), c3, 1, False)
        m4 = self.c2f(self.concat(self.conv(n3, c3, stride=2), n4), c4, 1, False)
        m5 = self.c2f(self.concat(self.conv(m4, c4, stride=2), p5), c5, 1, False)
        return n3, m4, m5

    def detect(self, levels):
        """Boxes as distributions over distances, decoded to centre and size in pixels; class probabilities."""
        graph = self.graph
        box_width = max(16, levels[0][1] // 4, 4 * REG_MAX) if self.width >= 0.25 else max(16, levels[0][1])
        class_width = max(levels[0][1], CLASSES) if self.width >= 0.25 else max(16, levels[0][1])
        boxes, scores = [], []
        for level in levels:
            y, n = self.plain_conv(self.conv(self.conv(level, box_width), box_width), 4 * REG_MAX, 1)
            boxes.append(graph.emit("Reshape", [y, graph.ints(1, n, -1)]))
            y = self.conv(self.conv(level, class_width), class_width)
            y, n = self.plain_conv(y, CLASSES, 1, gain=self.scores.gain, bias=self.scores.shift)
            scores.append(graph.emit("Reshape", [y, graph.ints(1, n, -1)]))
        logits = graph.emit("Concat", scores, axis=2, output="logits")
        return graph.emit("Concat", [self.decode(boxes), graph.emit("Sigmoid", [logits])], axis=1)

    def decode(self, boxes):
        graph = self.graph
        centres, strides = anchors()
        raw = graph.emit("Reshape", [graph.emit("Concat", boxes, axis=2), graph.ints(1, 4, REG_MAX, -1)])
        share = graph.emit("Softmax", [raw], axis=2)
        bins = graph.constant(np.arange(REG_MAX, dtype=np.float32).reshape(1, 1, REG_MAX, 1))
        distance = graph.emit("ReduceSum", [graph.emit("Mul", [share, bins]), graph.ints(2)], keepdims=0)
        near, far = graph.emit_many("Split", [distance], 2, axis=1, num_outputs=2)
        anchor = graph.constant(centres)
        low, high = graph.emit("Sub", [anchor, near]), graph.emit("Add", [anchor, far])
        centre = graph.emit("Mul", [graph.emit("Add", [low, high]), graph.float(0.5)])
        joined = graph.emit("Concat", [centre, graph.emit("Sub", [high, low])], axis=1)
        return graph.emit("Mul", [joined, graph.constant(strides)])


def anchors():
    """Cell centres `[1, 2, n]` in cells, and strides `[1, 1, n]` in pixels."""
    centres, strides = [], []
    for stride in (8, 16, 32):
        side = SIDE // stride
        y, x = np.mgrid[:side, :side].astype(np.float32) + 0.5
        centres.append(np.stack([x.ravel(), y.ravel()]))
        strides.append(np.full(side * side, stride, np.float32))
    return np.concatenate(centres, 1)[None], np.concatenate(strides)[None, None]


def build(name, scores=Scores()):
    yolo = Yolo(WIDTHS[name], seed=8, scores=scores)
    x = yolo.graph.input("images", [1, 3, SIDE, SIDE])
    y = yolo.detect(yolo.features((x, 3)))
    yolo.graph.output("output0", y, [1, 4 + CLASSES, anchors()[0].shape[2]])
    metadata = {
        "description": f"YOLOv8 layers, {name}, random weights",
        "author": "Ultralytics",
        "task": "detect",
        "stride": "32",
        "batch": "1",
        "imgsz": f"[{SIDE}, {SIDE}]",
        "names": repr({index: f"class{index}" for index in range(CLASSES)}),
    }
    return yolo.graph.model(name, "bench", metadata)


def trained_scores(name, frames):
    """Gives the class logits a fixed spread, and CANDIDATES anchors above 0.25 in a frame, on average."""
    model = build(name)
    model.graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = [session.run(["logits"], {"images": frame})[0] for frame in frames]
    gain = LOGIT_SPREAD / float(np.std(logits))
    best = [np.sort(gain * one.max(1).ravel())[-CANDIDATES] for one in logits]
    return Scores(gain, float(np.log(0.25 / 0.75) - np.mean(best)))


def write_models(folder: Path, frames):
    """Writes heavy.onnx and light.onnx; `frames` are input tensors that the scores are set by."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in WIDTHS:
        onnx.save(build(name, trained_scores(name, frames)), folder / f"{name}.onnx")
