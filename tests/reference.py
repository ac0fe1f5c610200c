"""The hand-made chain that vidmill is compared with: picture -> tensor -> Python's onnxruntime -> others' post-processing."""

import importlib.util
import json
import subprocess

import cv2
import make_models
import numpy as np
import onnxruntime
import pytest
import support

ORACLE_PYTHON = support.ROOT / ".venv-oracle" / "bin" / "python"
YOLOX_CODE = support.ROOT / ".assets" / "yolox_demo_utils.py"
CONF, IOU = 0.25, 0.7


class Ultralytics:
    """Ultralytics' own code in a process of its own."""

    def __init__(self):
        if not (ORACLE_PYTHON.parent.parent / ".setup").exists():
            pytest.skip("Ultralytics: .venv-oracle is missing (tools/setup test makes it)")
        script = support.ROOT / "tests" / "ultralytics_oracle.py"
        self.process = subprocess.Popen([ORACLE_PYTHON, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, array, **request):
        request |= {"shape": array.shape, "dtype": array.dtype.name}
        self.process.stdin.write(json.dumps(request).encode() + b"\n" + np.ascontiguousarray(array).tobytes())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def letterbox(self, picture, height, width):
        shape = self.ask(picture, do="letterbox", to=[height, width])["shape"]
        return np.frombuffer(self.process.stdout.read(int(np.prod(shape))), np.uint8).reshape(shape)

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def yolox_code():
    """The YOLOX authors' demo_utils.py."""
    if not YOLOX_CODE.exists():
        pytest.skip(f"YOLOX: {YOLOX_CODE.name} is missing (tools/assets.py --test gets it)")
    spec = importlib.util.spec_from_file_location("yolox_demo_utils", YOLOX_CODE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Reference:
    """One generated model, run by hand."""

    def __init__(self, name, folder, ultralytics):
        self.spec = make_models.MODELS[name]
        self.path = folder / f"{name}.onnx"
        self.session = session(self.path)
        self.height, self.width = self.spec.size or (640, 640)
        self.ultralytics = ultralytics

    def tensor(self, rgb):
        """One item of the model's input from an RGB picture."""
        values = self.fitted(rgb)
        if self.spec.family == "yolox":
            values = values[..., ::-1].astype(np.float32)
        elif self.spec.family == "ssd":
            values = (values.astype(np.float32) - 127) / 128
        elif self.spec.element != "u8":
            values = values.astype(np.float32) / 255
        if self.spec.element == "f16":
            values = values.astype(np.float16)
        if self.spec.layout == "nchw":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values)

    def fitted(self, rgb):
        if self.spec.family == "ssd":
            return cv2.resize(rgb, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        if self.spec.family == "yolox":
            return self.yolox_fitted(rgb)
        return self.ultralytics.letterbox(rgb, self.height, self.width)

    def yolox_fitted(self, rgb):
        """YOLOX's preproc (yolox/data/data_augment.py): top left, 114 elsewhere."""
        canvas = np.full((self.height, self.width, 3), 114, np.uint8)
        ratio = min(self.height / rgb.shape[0], self.width / rgb.shape[1])
        size = int(rgb.shape[1] * ratio), int(rgb.shape[0] * ratio)
        canvas[: size[1], : size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
        return canvas

    def outputs(self, tensor):
        """The raw outputs for one item. A model of a fixed batch gets it several times."""
        batch = np.stack([tensor] * (self.spec.batch or 1))
        return [output[:1] for output in self.session.run(None, {"images": batch})]

    def detections(self, outputs, frame_size, conf=CONF, iou=IOU):
        """Detections in pixels of a frame of `frame_size` (width, height), as records have them."""
        width, height = frame_size
        if self.spec.family == "yolox":
            rows = self.yolox_rows(outputs[0], frame_size, conf, iou)
        elif self.spec.family == "ssd":
            rows = self.ssd_rows(outputs, frame_size, conf, iou)
        else:
            request = {"family": self.spec.family, "nc": len(make_models.NAMES), "conf": conf, "iou": iou}
            request |= {"input": [self.height, self.width], "frame": [height, width]}
            rows = self.ultralytics.ask(outputs[0].astype(np.float32), do="detect", **request)
        rows = sorted(rows, key=lambda row: -row[4])
        boxes = np.clip([row[:4] for row in rows] or np.empty((0, 4)), 0, [width, height, width, height])
        return [
            {"xyxy": box.tolist(), "confidence": row[4], "class_id": int(row[5]), "class": make_models.NAMES[int(row[5])]}
            for box, row in zip(boxes, rows)
            if box[2] > box[0] and box[3] > box[1]  # a box that lies in the padding is nowhere on the frame
        ]

    def yolox_rows(self, output, frame_size, conf, iou):
        """By the authors' functions; each cell stands for its best class, as in their own evaluation."""
        code = yolox_code()
        decoded = code.demo_postprocess(output.copy(), (self.height, self.width))[0]
        scores = decoded[:, 4:5] * decoded[:, 5:]
        scores *= scores == scores.max(1, keepdims=True)
        centre, half = decoded[:, :2], decoded[:, 2:4] / 2
        # Their areas count pixels (side + 1); in thousandths of a pixel that makes no difference.
        boxes = np.concatenate([centre - half, centre + half], 1) * 1000
        kept = code.multiclass_nms(boxes, scores, iou, conf, class_agnostic=False)
        if kept is None:
            return []
        ratio = min(self.height / frame_size[1], self.width / frame_size[0])
        kept[:, :4] /= 1000 * ratio
        return kept.tolist()

    def ssd_rows(self, outputs, frame_size, conf, iou):
        """Best class of each prior that is not background; suppression by torchvision."""
        scores, boxes = outputs[0][0, :, 1:], outputs[1][0]
        best = scores.max(1)
        rows = np.concatenate([boxes * (frame_size * 2), best[:, None], scores.argmax(1)[:, None]], 1)
        return self.ultralytics.ask(rows[best > conf].astype(np.float32), do="suppress", iou=iou)
