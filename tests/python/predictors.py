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
        names = {"np": np, "vidmill": vidmill, "batch": batch, "n": len(batch), "boxes": boxes}
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


class Everything:
    """All that a record may hold, in pixels of the input: 320 x 320, of which pictures of 640 x 272 fill rows 92 to 228."""

    names = ("cat", "dog", "cow")
    input = vidmill.Input(size=(320, 320), dtype="uint8", layout="nhwc")

    @staticmethod
    def detections():
        masks = np.zeros((2, 320, 320), bool)
        masks[0, 92:102, 0:20] = True
        masks[1, 150:190, 100:130] = np.tri(40, 30, dtype=bool)
        inner = vidmill.Detections([[20, 100, 30, 110]], [0.125], [1], text=["AB 12"], text_confidence=[0.75])
        return vidmill.Detections(
            xyxy=[[0, 92, 160, 160], [100, 150, 130, 190]],
            confidence=[0.5, 0.75],
            class_id=[2, 0],
            corners=[[[0, 92], [160, 92], [160, 160], [0, 160]], [[100, 150], [130, 152], [130, 190], [98, 188]]],
            keypoints=[[[5, 95, 0.5], [300, 92, 0.1]], [[110, 160, 1.0], [120, 170, 0.25]]],
            masks=masks,
            classes=[vidmill.Classes([0.75, 0.25], [1, 7], ["dog", "red"]), None],
            text=[None, "7"],
            text_confidence=[np.nan, 0.5],
            embedding=[[0.5, -0.1, 3.0], [1, 2, np.nan]],
            detections=[inner, None],
            regions=[None, vidmill.Regions([1], masks[1:])],
            outputs=[{"a": np.float32(0.1)}, None],
        )

    def predict(self, batch):
        sky = np.zeros((320, 320), bool)
        sky[:160] = True
        whole = vidmill.Found(
            detections=self.detections(),
            classes=vidmill.Classes([0.9, 0.1], [1, 0]),
            masks=vidmill.Regions([0, 9], np.stack([sky, ~sky]), ["sky", "road"]),
            text="STOP",
            text_confidence=0.3,
            embedding=np.array([0.1, 0.2], np.float32),
            outputs=[1, None],
        )
        return [whole] * len(batch)


class Kinds:
    """One kind of result after the other, as TEST_RESULT names it."""

    input = BATCH

    def predict(self, batch):
        masks = np.ones((1, 160, 160), bool)
        kinds = {
            "classes": vidmill.Classes([0.75, 0.2], [3, 1], ["car", "dog"]),
            "masks": vidmill.Regions([3], masks),
            "text": vidmill.Found(text="STOP", text_confidence=0.5),
            "embedding": vidmill.Found(embedding=np.arange(3, dtype=np.float32)),
            "mask": vidmill.Detections([[0, 0, 160, 160]], [0.5], [3], masks=masks),
            "keypoints": vidmill.Detections([[0, 0, 160, 160]], [0.5], [3], keypoints=[[[1, 2], [80, 80]]]),
            "supervision": types.SimpleNamespace(
                xyxy=np.array([[0, 0, 160, 160.0]]), confidence=None, class_id=None, mask=masks, tracker_id=None,
                data={"class_name": ["car"], "xyxyxyxy": np.array([[[0, 0], [160, 0], [160, 160], [0, 160.0]]])},
            ),
        }  # fmt: skip
        return [kinds[os.environ["TEST_RESULT"]]] * len(batch)
