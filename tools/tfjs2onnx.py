"""Turns a TensorFlow.js graph model (model.json and its weight files) into ONNX.

    python tools/tfjs2onnx.py MODEL.json OUT.onnx [--output NAME]... [--metadata KEY=VALUE]...

It knows the operators that small vision networks use; any other is an error that names the operator and its node.
Only what the wanted outputs need is converted. TensorFlow is NHWC and ONNX's spatial operators are NCHW: each of them
is wrapped in two transposes, which ONNX Runtime's optimiser cancels between neighbours.
"""

import argparse
import base64
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from onnx_graph import Graph

END = np.iinfo(np.int64).max
STORED_TYPES = {"float16": "<f2", "float32": "<f4", "int32": "<i4", "uint8": "u1"}
ONNX_TYPES = {"DT_FLOAT": TensorProto.FLOAT, "DT_INT32": TensorProto.INT32, "DT_BOOL": TensorProto.BOOL}
NHWC_TO_NCHW, NCHW_TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


class ConversionError(Exception):
    """The model holds something that this converter does not know."""


class Node:
    """One node of the tfjs graph, with its attributes decoded."""

    def __init__(self, raw):
        self.name, self.op = raw["name"], raw["op"]
        self.inputs = [name for name in raw.get("input", []) if not name.startswith("^")]
        self.attributes = raw.get("attr", {})

    def fail(self, why):
        raise ConversionError(f"node {self.name} ({self.op}): {why}")

    def int(self, key, default=0):
        return int(self.attributes.get(key, {}).get("i", default))

    def bool(self, key):
        return bool(self.attributes.get(key, {}).get("b", False))

    def text(self, key):
        return base64.b64decode(self.attributes[key]["s"]).decode()

    def ints(self, key):
        return [int(value) for value in self.attributes.get(key, {}).get("list", {}).get("i", [])]

    def texts(self, key):
        return [base64.b64decode(value).decode() for value in self.attributes.get(key, {}).get("list", {}).get("s", [])]

    def onnx_type(self, key):
        name = self.attributes[key]["type"]
        if name not in ONNX_TYPES:
            self.fail(f"type {name} is not known")
        return ONNX_TYPES[name]

    def shape(self):
        return [int(dim["size"]) for dim in self.attributes["shape"]["shape"]["dim"]]


class Builder(Graph):
    """The ONNX graph as it grows, and what each tfjs node became: a tensor, or a list of them."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights
        self.values = {}

    def weight(self, node, index):
        """The constant that is input `index` of `node`, as an array."""
        name = node.inputs[index].split(":")[0]
        if name not in self.weights:
            node.fail(f"input {index} ({name}) is computed, but must be a constant")
        return self.weights[name]

    def value(self, reference):
        """The tensor that `reference` ("node" or "node:output") stands for."""
        name, _, port = reference.partition(":")
        if name not in self.values:
            self.values[name] = self.constant(self.weights[name])
        value = self.values[name]
        return value[int(port or 0)] if isinstance(value, list) else value

    def arguments(self, node):
        return [self.value(reference) for reference in node.inputs]

    def spatial(self, op, x, *more, **attributes):
        """An NCHW operator between two transposes."""
        y = self.emit("Transpose", [x], perm=NHWC_TO_NCHW)
        y = self.emit(op, [y, *more], **attributes)
        return self.emit("Transpose", [y], perm=NCHW_TO_NHWC)

    def clip(self, x, low, high):
        return self.emit("Clip", [x, self.float(low), self.float(high)])

    def int64(self, x):
        return self.emit("Cast", [x], to=TensorProto.INT64)


def auto_pad(node):
    return {"SAME": "SAME_UPPER", "VALID": "VALID"}[node.text("padding")]


def placeholder(graph, node):
    name = node.name.split("/")[-1]
    return graph.input(name, node.shape(), node.onnx_type("dtype"))


def same_name(onnx_op):
    """An operator that only its name tells from ONNX's."""
    return lambda graph, node: graph.emit(onnx_op, graph.arguments(node))


def relu6(graph, node):
    return graph.clip(graph.value(node.inputs[0]), 0, 6)


def convolution(graph, node):
    kernel = graph.weight(node, 1).transpose(3, 2, 0, 1)  # HWIO -> OIHW
    return fused_convolution(graph, node, kernel, group=1)


def depthwise(graph, node):
    kernel = graph.weight(node, 1)  # HWCM -> (C*M)1HW
    height, width, channels, _ = kernel.shape
    kernel = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, height, width)
    return fused_convolution(graph, node, kernel, group=channels)


def fused_convolution(graph, node, kernel, group):
    """A convolution, and the bias and activation that tfjs fuses into it."""
    fused = node.texts("fused_ops")
    parameters = [graph.constant(kernel)]
    if "BiasAdd" in fused:
        parameters.append(graph.value(node.inputs[2]))
    y = graph.spatial(
        "Conv",
        graph.value(node.inputs[0]),
        *parameters,
        strides=node.ints("strides")[1:3],
        dilations=(node.ints("dilations") or [1, 1, 1, 1])[1:3],
        group=group,
        auto_pad=auto_pad(node),
    )
    for activation in fused:
        if activation == "Relu":
            y = graph.emit("Relu", [y])
        elif activation == "Relu6":
            y = graph.clip(y, 0, 6)
        elif activation != "BiasAdd":
            node.fail(f"fused operator {activation} is not known")
    return y


def max_pool(graph, node):
    return graph.spatial(
        "MaxPool",
        graph.value(node.inputs[0]),
        kernel_shape=node.ints("ksize")[1:3],
        strides=node.ints("strides")[1:3],
        auto_pad=auto_pad(node),
    )


def mean(graph, node):
    axes = graph.constant(graph.weight(node, 1).astype(np.int64).reshape(-1))
    return graph.emit("ReduceMean", [graph.value(node.inputs[0]), axes], keepdims=int(node.bool("keep_dims")))


def resize_bilinear(graph, node):
    x = graph.emit("Transpose", [graph.value(node.inputs[0])], perm=NHWC_TO_NCHW)
    batch_and_channels = graph.emit("Slice", [graph.emit("Shape", [x]), graph.ints(0), graph.ints(2)])
    size = graph.constant(graph.weight(node, 1).astype(np.int64))
    sizes = graph.emit("Concat", [batch_and_channels, size], axis=0)
    mode = "half_pixel" if node.bool("half_pixel_centers") else "asymmetric"
    mode = "align_corners" if node.bool("align_corners") else mode
    y = graph.emit("Resize", [x, "", "", sizes], mode="linear", coordinate_transformation_mode=mode)
    return graph.emit("Transpose", [y], perm=NCHW_TO_NHWC)


def concat(graph, node):
    axis = int(graph.weight(node, len(node.inputs) - 1))
    return graph.emit("Concat", [graph.value(name) for name in node.inputs[:-1]], axis=axis)


def reshape(graph, node):
    x, shape = graph.arguments(node)
    return graph.emit("Reshape", [x, graph.int64(shape)])


def cast(graph, node):
    return graph.emit("Cast", graph.arguments(node), to=node.onnx_type("DstT"))


def top_k(graph, node):
    x, k = graph.arguments(node)
    k = graph.emit("Reshape", [graph.int64(k), graph.ints(1)])
    values, indices = graph.emit_many("TopK", [x, k], 2)
    return [values, graph.emit("Cast", [indices], to=TensorProto.INT32)]


def expand_dims(graph, node):
    axis = graph.ints(int(graph.weight(node, 1)))
    return graph.emit("Unsqueeze", [graph.value(node.inputs[0]), axis])


def gather(graph, node):
    x, indices = (graph.value(name) for name in node.inputs[:2])
    batch_dims = node.int("batch_dims")
    if batch_dims == 0:
        return graph.emit("Gather", [x, indices], axis=int(graph.weight(node, 2)))
    indices = graph.emit("Unsqueeze", [graph.int64(indices), graph.ints(-1)])
    return graph.emit("GatherND", [x, indices], batch_dims=batch_dims)


def strided_slice(graph, node):
    begin, end, stride = (graph.weight(node, index).astype(np.int64).copy() for index in (1, 2, 3))
    for mask in ("ellipsis_mask", "new_axis_mask"):
        if node.int(mask):
            node.fail(f"{mask} is not known")
    squeezed = []
    for axis in range(len(begin)):
        if node.int("shrink_axis_mask") >> axis & 1:
            squeezed.append(axis)
            end[axis] = END if begin[axis] == -1 else begin[axis] + 1
            continue
        if node.int("begin_mask") >> axis & 1:
            begin[axis] = 0
        if node.int("end_mask") >> axis & 1:
            end[axis] = END
    bounds = [graph.constant(array) for array in (begin, end, np.arange(len(begin)), stride)]
    y = graph.emit("Slice", [graph.value(node.inputs[0]), *bounds])
    return graph.emit("Squeeze", [y, graph.ints(*squeezed)]) if squeezed else y


HANDLERS = {
    "Placeholder": placeholder,
    "Conv2D": convolution,
    "_FusedConv2D": convolution,
    "DepthwiseConv2dNative": depthwise,
    "FusedDepthwiseConv2dNative": depthwise,
    "MaxPool": max_pool,
    "Mean": mean,
    "ResizeBilinear": resize_bilinear,
    "ConcatV2": concat,
    "Reshape": reshape,
    "ExpandDims": expand_dims,
    "StridedSlice": strided_slice,
    "GatherV2": gather,
    "TopKV2": top_k,
    "Cast": cast,
    "Relu6": relu6,
    "Relu": same_name("Relu"),
    "Sigmoid": same_name("Sigmoid"),
    "Identity": same_name("Identity"),
    "Add": same_name("Add"),
    "AddV2": same_name("Add"),
    "Sub": same_name("Sub"),
    "Mul": same_name("Mul"),
    "RealDiv": same_name("Div"),
    "Equal": same_name("Equal"),
    # TopK's indices are all that is divided in these networks: for integers from 0 up, flooring is truncating.
    "FloorDiv": same_name("Div"),
    "FloorMod": same_name("Mod"),
}


def read_weights(directory, manifest):
    """All weights by name, widened to the types that the graph computes in."""
    weights = {}
    for group in manifest:
        blob = b"".join((directory / path).read_bytes() for path in group["paths"])
        offset = 0
        for entry in group["weights"]:
            quantization = entry.get("quantization", {})
            if "scale" in quantization:
                raise ConversionError(f"weight {entry['name']}: quantisation to {quantization['dtype']} is not known")
            stored = np.dtype(STORED_TYPES[quantization.get("dtype", entry["dtype"])])
            count = int(np.prod(entry["shape"]))
            array = np.frombuffer(blob, stored, count, offset)
            weights[entry["name"]] = array.astype(entry["dtype"]).reshape(entry["shape"])
            offset += count * stored.itemsize
    return weights


def in_order(nodes, wanted):
    """The nodes that `wanted` needs, each after its inputs."""
    ordered, seen, stack = [], set(), [(name, False) for name in reversed(wanted)]
    while stack:
        name, inputs_done = stack.pop()
        if inputs_done:
            ordered.append(nodes[name])
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack.extend((reference.split(":")[0], False) for reference in nodes[name].inputs)
    return ordered


def convert(path, wanted_outputs=(), metadata=None):
    """The tfjs model at `path` as an ONNX model with `wanted_outputs` (all, where none is named)."""
    model = json.loads(path.read_text())
    graph = Builder(read_weights(path.parent, model["weightsManifest"]))
    nodes = {node.name: node for node in map(Node, model["modelTopology"]["node"])}
    outputs = {name.split("/")[-1].split(":")[0]: spec for name, spec in model["signature"]["outputs"].items()}
    for name in wanted_outputs:
        if name not in outputs:
            raise ConversionError(f"there is no output {name}: the model has {', '.join(outputs)}")
    outputs = {name: spec for name, spec in outputs.items() if not wanted_outputs or name in wanted_outputs}
    for node in in_order(nodes, [spec["name"].split(":")[0] for spec in outputs.values()]):
        if node.op == "Const":
            continue  # becomes an initializer where a handler asks for it
        if node.op not in HANDLERS:
            node.fail("operator is not known")
        graph.values[node.name] = HANDLERS[node.op](graph, node)
    for name, spec in outputs.items():
        shape = [int(dim["size"]) for dim in spec["tensorShape"]["dim"]]
        graph.output(name, graph.value(spec["name"]), shape, ONNX_TYPES[spec["dtype"]])
    return graph.model(path.stem, "tfjs2onnx", metadata)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--output", action="append", default=[], metavar="NAME", help="an output to keep (default: all)")
    parser.add_argument("--metadata", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    try:
        converted = convert(args.model, args.output, dict(pair.split("=", 1) for pair in args.metadata))
    except ConversionError as error:
        raise SystemExit(f"tfjs2onnx: {args.model}: {error}") from None
    onnx.save(converted, args.out)


if __name__ == "__main__":
    main()
