"""Predictors that the tests give to worker processes, as users write them."""

import os
import signal
import sys
import time
import types

import numpy as np
import onnxruntime
import vidmill

BATCH = vidmill.Input(size=(160, 160))


def boxes(xyxy, confidence, class_id, class_name):
    """What has the fields of detections, unchecked."""
    return types.SimpleNamespace(xyxy=xyxy, confidence=confidence, class_id=class_id, class_name=class_name)


class Network:
    """A generated detector, run by onnxruntime; vidmill decodes its outputs."""

    task = "yolov8"
    names = {0: "person", 1: "bicycle", 2: "car", 3: "dog", 4: "traffic light"}
    input = BATCH

    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = os.environ["TEST_MODEL"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        print("a network is there", file=sys.stderr)

    def predict(self, batch):
        return self.session.run(None, {self.session.get_inputs()[0].name: batch})


class Boxes:
    """The same two boxes in every frame, in pixels of the input."""

    names = ("cat", "dog", "cow")
    input = vidmill.Input(size=(320, 320), dtype="uint8", layout="nhwc", color="bgr")

    def predict(self, batch):
        assert batch.shape[1:] == (320, 320, 3) and batch.dtype == np.uint8
        xyxy = np.array([[0, 92, 160, 160], [160, 160, 330, 400], [0, 0, 50, 50]], np.float32)
        found = vidmill.Detections(
            xyxy=xyxy, confidence=np.array([0.5, 0.75, 0.9], np.float32), class_id=np.array([2, 0, 1]),
            class_name=np.array(["cow", "cat", "dog"]),
        )
        return [found if n % 2 else (found, {"n": n}) for n in range(len(batch))]


class Values:
    """Anything that JSON has a word for."""

    input = BATCH

    def predict(self, batch):
        assert not batch.flags.writeable and batch.flags.c_contiguous and batch.dtype == np.float32
        return [
            {"mean": frame.mean(), "max": np.float32(0.1), "ints": np.arange(3), "text": "é\n", "none": None}
            for frame in batch
        ]


class Means:
    """One array for the whole batch."""

    input = BATCH

    def predict(self, batch):
        return batch.mean(axis=(2, 3))

    __call__ = None


class Whole:
    """The batch itself."""

    input = vidmill.Input(size=(8, 4), dtype="uint8", layout="nhwc", resize="stretch", color="gray")

    def __call__(self, batch):
        return {"pixels": batch[..., 0], "sums": batch.sum(axis=(1, 2, 3), dtype=np.int64)}


class Writes:
    input = BATCH

    def predict(self, batch):
        batch[:] = 0


class Keeps:
    """Keeps what it must not, unless the picture is dark."""

    input = BATCH
    kept = None

    def predict(self, batch):
        means = batch.mean(axis=(1, 2, 3)).tolist()
        if max(means) > float(os.environ["TEST_ABOVE"]):
            self.kept = {"some": [batch[:, 1:]]}
        return means


class Copies(Keeps):
    def predict(self, batch):
        self.kept = batch.copy()
        self.cycle = [self]
        cycle = [batch]
        cycle.append(cycle)
        return batch.mean(axis=(1, 2, 3)).tolist()


class Moody:
    """Does to bright pictures what TEST_MOOD says."""

    input = BATCH

    def predict(self, batch):
        for frame in batch:
            if frame.mean() > float(os.environ["TEST_ABOVE"]):
                self.lose_it()
        print("looked at", len(batch))
        return [round(float(frame.mean()), 6) for frame in batch]

    def lose_it(self):
        match os.environ["TEST_MOOD"]:
            case "raise":
                raise ValueError("too bright for me")
            case "exit":
                sys.exit("enough")
            case "interrupt":
                raise KeyboardInterrupt
            case "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "leave":
                os._exit(7)
            case "hang":
                time.sleep(1000)


class Wrong:
    """Returns what TEST_RESULT evaluates to."""

    input = BATCH

    def predict(self, batch):
        names = {"np": np, "batch": batch, "n": len(batch), "boxes": boxes}
        return eval(os.environ["TEST_RESULT"], names)


class Fails:
    def __init__(self):
        raise RuntimeError("no weights here")


class NoPredict:
    pass


class OnDevice:
    input = BATCH

    def __init__(self, device="cpu", precision="f32", threads=0):
        self.provider = device
        self.told = [device, precision, threads]

    def predict(self, batch):
        return [self.told] * len(batch)


class Fixed:
    """Takes three frames at a time."""

    input = vidmill.Input(size=(160, 160), batch=3)

    def predict(self, batch):
        assert batch.shape == (3, 3, 160, 160)
        return batch.mean(axis=(1, 2, 3))
