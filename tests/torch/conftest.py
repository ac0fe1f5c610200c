"""What the tests of PyTorch's models share. They run in an interpreter that has PyTorch, on small modules made here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))

CLASSES = 5
# The cells of a detector of strides 8, 16 and 32 over 160 x 160 pixels.
ANCHORS = 20 * 20 + 10 * 10 + 5 * 5


class Detector(torch.nn.Module):
    """A tiny network whose output is laid out as YOLOv8's, [n, 4 + classes, anchors], and depends on the picture; in training, its
    dropout and batch norm would show."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.conv = torch.nn.Conv2d(3, 4 + CLASSES, 3, padding=1)
        self.drop = torch.nn.Dropout(0.5)
        self.pool = torch.nn.AdaptiveAvgPool2d((25, 21))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.drop(self.conv(self.norm(x)))).flatten(2)
        return torch.cat([80 + 70 * torch.tanh(x[:, :4]), torch.sigmoid(2 * x[:, 4:])], 1)


@pytest.fixture(scope="session")
def detector():
    torch.manual_seed(5)
    return Detector().eval()


METADATA = {"names": {n: f"thing {n}" for n in range(CLASSES)}, "imgsz": [160, 160], "stride": 32, "task": "detect", "batch": 1}


@pytest.fixture(scope="session")
def files(detector, tmp_path_factory):
    """The same module scripted (and saved in training mode), traced as Ultralytics does, and exported for any batch and for one."""
    folder = tmp_path_factory.mktemp("models")
    example = torch.zeros(1, 3, 160, 160)
    extra = {"config.txt": json.dumps(METADATA)}
    scripted = torch.jit.script(detector)
    scripted.train()
    scripted.save(folder / "scripted.pt", _extra_files={"vidmill.json": json.dumps({"vidmill.names": ["a", "b", "c", "d", "e"]})})
    detector.eval()
    torch.jit.trace(detector, example).save(folder / "traced.torchscript", _extra_files=extra)
    shapes = {"x": {0: torch.export.Dim("batch", min=1, max=64)}}
    torch.export.save(
        torch.export.export(detector, (torch.zeros(2, 3, 160, 160),), dynamic_shapes=shapes),
        folder / "exported.pt2", extra_files=extra,
    )
    torch.export.save(torch.export.export(detector, (example,)), folder / "fixed.pt2", extra_files=extra)
    detector.train()
    torch.export.save(torch.export.export(detector, (example,)), folder / "training.pt2")
    detector.eval()
    torch.save(detector.state_dict(), folder / "checkpoint.pt")
    (folder / "nonsense.pt").write_bytes(b"not a model")
    (folder / "nonsense.pt2").write_bytes(b"not a model")
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Two dozen frames that differ."""
    path = tmp_path_factory.mktemp("clip") / "test.mp4"
    source = "testsrc2=size=320x240:rate=25:duration=1"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", path], check=True)
    return path


@pytest.fixture(scope="session")
def command():
    """command(arguments...) runs `vidmill`, whose workers are this Python."""
    def run(*arguments):
        words = [os.environ["VIDMILL_BIN"], *map(str, arguments)]
        environment = {**os.environ, "VIDMILL_PYTHON": sys.executable}
        return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=False)

    return run
