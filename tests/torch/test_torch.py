"""Models of PyTorch's, against plain PyTorch."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pages
import pytest
import torch
import vidmill
import vidmill.torch
from vidmill.torch import ExportedProgram, TorchScript


def load(path):
    return ExportedProgram(path) if path.suffix == ".pt2" else TorchScript(path, device="cpu")


@pytest.fixture
def batch():
    return np.random.default_rng(3).random((2, 3, 160, 160), np.float32)


@pytest.mark.parametrize("name", ["scripted.pt", "traced.torchscript", "exported.pt2"])
def test_outputs_are_plain_pytorchs(files, detector, batch, name):
    model = load(files / name)
    assert isinstance(model, vidmill.Predictor)
    with torch.inference_mode():
        plain = detector(torch.from_numpy(batch)).numpy()
    [(key, output)] = model.predict(batch).items()
    assert key == "output0" and output.dtype == np.float32
    np.testing.assert_allclose(output, plain, rtol=1e-5, atol=1e-5)
    assert np.array_equal(model(batch)["output0"], output), "nothing is left to chance: no dropout"


def test_the_batch_is_read_where_it_lies(files):
    """Without a copy, without a warning that it cannot be written to, and without a gradient."""

    class Looks(torch.nn.Module):
        def forward(self, x):
            return x

    model = load(files / "traced.torchscript")
    model._module = Looks()
    batch = np.ones((1, 3, 8, 8), np.float32)
    batch.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.shares_memory(model.predict(batch)["output0"], batch)
    seen = []
    model._module = lambda x: seen.append((torch.is_inference_mode_enabled(), x.requires_grad)) or x
    model.predict(batch)
    assert seen == [(True, False)]


def test_outputs_of_every_form_have_names(files):
    model = load(files / "traced.torchscript")
    ones = torch.ones(1, 2)
    forms = [
        (lambda x: (ones, [ones, (ones,)]), ["output0", "output1", "output2"]),
        (lambda x: {"boxes": ones, "more": [ones, ones]}, ["boxes", "more.output0", "more.output1"]),
        (lambda x: ones.to(torch.int64), ["output0"]),
    ]
    for module, names in forms:
        model._module = module
        assert list(model.predict(np.ones((1, 3, 8, 8), np.float32))) == names
    assert model.predict(np.ones((1, 3, 8, 8), np.float32))["output0"].dtype == np.int64
    model._module = lambda x: "text"
    with pytest.raises(TypeError, match="gave a str"):
        model.predict(np.ones((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize("name", ["scripted.pt", "traced.torchscript", "exported.pt2", "fixed.pt2"])
def test_a_run_gives_what_plain_pytorch_gives(files, detector, clip, command, tmp_path, name):
    """Raw outputs of every frame, against the module on the tensors that vidmill makes."""
    tensors = [result.outputs for result in run_of_inputs(clip, tmp_path)]
    with vidmill.run(clip, files / name, task="outputs", imgsz=160, every=5) as run:
        results = list(run)
    assert run.manifest["runtime"]["name"] == "torch" and run.manifest["runtime"]["version"] == torch.__version__
    assert run.manifest["runtime"]["provider"] in ("cpu", "cuda:0")
    assert run.manifest["model"]["path"] == str(files / name)
    for tensor, result in zip(tensors, results, strict=True):
        with torch.inference_mode():
            plain = detector(torch.tensor(tensor, dtype=torch.float32)[None]).numpy()[0]
        np.testing.assert_allclose(np.array(result.outputs["output0"]), plain, rtol=1e-4, atol=1e-3)
    done = command("run", clip, "--model", files / name, "--task", "outputs", "--imgsz", 160, "--every", 5)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["outputs"] for line in done.stdout.splitlines()] == [result.outputs for result in results]


def run_of_inputs(clip, folder):
    """The tensors themselves, by a predictor that gives them back."""
    (folder / "echo.py").write_text(
        "import vidmill\nclass Echo:\n    input = vidmill.Input(size=(160, 160))\n"
        "    def predict(self, batch):\n        return batch\n"
    )
    with vidmill.run(clip, folder / "echo.py:Echo", every=5) as run:
        yield from run


@pytest.mark.parametrize("name", ["traced.torchscript", "exported.pt2", "fixed.pt2"])
def test_ultralytics_metadata_is_read(files, clip, name):
    with vidmill.run(clip, files / name, every=5, conf=0.3) as run:
        results = list(run)
    assert run.manifest["model"]["task"] == "yolov8" and run.manifest["model"]["input"]["size"] == {"width": 160, "height": 160}
    names = {str(name) for result in results for name in result.detections.class_name}
    assert names and names <= {f"thing {n}" for n in range(5)}


def test_the_three_forms_find_the_same(files, clip):
    found = []
    for name in ["scripted.pt", "traced.torchscript", "exported.pt2"]:
        with vidmill.run(clip, files / name, every=5, conf=0.3, imgsz=160) as run:
            found.append([result.detections for result in run])
    assert any(len(detections) for detections in found[0])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_allclose(one.xyxy, two.xyxy, atol=1e-2)
            np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-4)
    with vidmill.run(clip, files / "scripted.pt", every=5, conf=0.3, imgsz=160) as run:
        assert {str(name) for result in run for name in result.detections.class_name} <= set("abcde")


def test_batches_and_workers_do_not_change_results(files, clip, tmp_path):
    for number, options in enumerate([{}, {"batch": 4, "workers": 1}, {"workers": 3, "threads": 2}]):
        with vidmill.run(clip, files / "exported.pt2", conf=0.3, out=tmp_path / f"{number}.jsonl", **options) as run:
            results = [result.detections for result in run]
        if number == 0:
            first = results
        for one, two in zip(first, results, strict=True):
            np.testing.assert_allclose(one.xyxy, two.xyxy, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("checkpoint.pt", "no TorchScript archive.*exported first"),
        ("nonsense.pt", "no TorchScript archive"),
        ("nonsense.pt2", "no program of torch.export"),
        ("training.pt2", "exported in training mode.*model.eval"),
    ],
)
def test_what_is_no_model_is_refused_with_the_remedy(files, clip, command, name, error):
    with pytest.raises(vidmill.ModelError, match=error):
        load(files / name)
    done = command("run", clip, "--model", files / name)
    assert done.returncode != 0 and done.stderr.startswith("vidmill: ") and "Traceback" not in done.stderr
    assert str(files / name) in done.stderr


def test_what_is_asked_for_is_used_or_refused(files, clip, command):
    with pytest.raises(FileNotFoundError, match="there is no model"):
        TorchScript(files / "none.pt")
    with pytest.raises(vidmill.ModelError, match="cpu, cuda or cuda:N"):
        TorchScript(files / "scripted.pt", device="tensorrt:0")
    with pytest.raises(ValueError, match="choose one of"):
        TorchScript(files / "scripted.pt", precision="f8")
    if not torch.cuda.is_available():
        with pytest.raises(vidmill.ModelError, match="no CUDA device"):
            TorchScript(files / "scripted.pt", device="cuda:0")
        done = command("run", clip, "--model", files / "scripted.pt", "--device", "cuda:0")
        assert done.returncode != 0 and "no CUDA device" in done.stderr
        assert "CUDA" in TorchScript(files / "scripted.pt").fallback
    assert TorchScript(files / "scripted.pt", device="cpu").fallback is None
    done = command("run", clip, "--model", files / "exported.pt2", "--precision", "f16")
    assert done.returncode != 0 and "precision" in done.stderr


def test_lower_precision_is_near(files, detector, batch):
    with torch.inference_mode():
        plain = detector(torch.from_numpy(batch)).numpy()
    model = TorchScript(files / "scripted.pt", device="cpu", precision="bf16")
    assert model.precision == "bf16"
    output = model.predict(batch)["output0"]
    assert output.dtype == np.float32 and np.abs(output - plain).max() < 5


def test_without_pytorch_the_remedy_is_named(files, clip, command, tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}", "VIDMILL_PYTHON": sys.executable}
    done = subprocess.run(
        [os.environ["VIDMILL_BIN"], "run", clip, "--model", files / "scripted.pt"],
        capture_output=True, text=True, env=environment, timeout=100, check=False,
    )
    assert done.returncode != 0 and "pip install 'vidmill[torch]'" in done.stderr and "Traceback" not in done.stderr


def test_on_cuda(files, detector, batch):
    if not torch.cuda.is_available():
        pytest.skip("CUDA: this machine has no device that PyTorch can use")
    with torch.inference_mode():
        plain = detector(torch.from_numpy(batch)).numpy()
    for name in ["scripted.pt", "exported.pt2"]:
        model = load(files / name) if name.endswith("2") else TorchScript(files / name, device="cuda:0")
        for _ in range(3):
            np.testing.assert_allclose(model.predict(batch)["output0"], plain, rtol=1e-3, atol=1e-2)
        assert np.allclose(model.predict(batch[:1])["output0"], plain[:1], rtol=1e-3, atol=1e-2)
        assert model.device == "cuda:0"
        before = torch.cuda.memory_allocated()
        for _ in range(5):
            model.predict(batch)
        assert torch.cuda.memory_allocated() == before


@pytest.mark.parametrize("title", pages.titles(needs_torch=True))
def test_the_programs_of_the_page_print_the_same(title, files, clip, tmp_path):
    """docs/FROM_CV2.md."""
    (tmp_path / "street.mp4").symlink_to(clip)
    (tmp_path / "model.pt").symlink_to(files / "scripted.pt")
    usual, own = pages.outputs(title, tmp_path, **os.environ)
    assert usual.strip() and own == usual
