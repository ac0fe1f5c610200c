"""An ONNX graph that is written node by node; a value is the name of its tensor."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 9


class Graph:
    """The nodes, constants and inputs so far."""

    def __init__(self):
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.count = 0

    def fresh(self):
        self.count += 1
        return f"t{self.count}"

    def input(self, name, shape, element=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def output(self, name, value, shape, element=TensorProto.FLOAT):
        """Makes `value` an output under `name`."""
        self.emit("Identity", [value], output=name)
        self.outputs.append(helper.make_tensor_value_info(name, element, shape))

    def emit(self, op, inputs, output=None, **attributes):
        """Adds a node of one output, and returns its name."""
        output = output or self.fresh()
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def emit_many(self, op, inputs, count, **attributes):
        """Adds a node of `count` outputs, and returns their names."""
        outputs = [self.fresh() for _ in range(count)]
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs

    def constant(self, array):
        name = self.fresh()
        self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def float(self, value):
        return self.constant(np.float32(value))

    def model(self, name, producer, metadata=None):
        """The whole as a checked model with `metadata` as its properties."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name=producer)
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model)
        return model
