"""A predictor written for the benchmark of Python runs: only onnxruntime is called in it."""

import os

import onnxruntime
import vidmill


class Detector:
    """YOLOv8's layers at 320 x 320; vidmill decodes the outputs."""

    task = "yolov8"
    names = tuple(f"class{number}" for number in range(80))
    input = vidmill.Input(size=(320, 320))

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)

    def predict(self, batch):
        return self.session.run(None, {self.session.get_inputs()[0].name: batch})
