"""Model cards from Python."""

import json
import shutil

import pytest
import vidmill


@pytest.fixture
def model(models, tmp_path):
    path = tmp_path / "yolov8.onnx"
    shutil.copy(models / "yolov8.onnx", path)
    return path


def test_load_and_run_read_the_card_beside_a_model(model, clips):
    plain = vidmill.load(model, device="cpu")
    model.with_suffix(".toml").write_text('vidmill = 1\nconf = 0.6\nnames = ["a", "b", "c", "d", "e"]\n')
    carded = vidmill.load(model, device="cpu")
    assert plain.names[0] == "person" and carded.names[0] == "a"
    frame = vidmill.frames(clips / "h264.mp4")[0]
    [few], [many] = carded.detect([frame]), plain.detect([frame])
    assert 0 < len(few) < len(many) and few.confidence.min() > 0.6
    [more] = vidmill.load(model, device="cpu", conf=0.25).detect([frame])
    assert len(more) == len(many)
    with vidmill.run(clips / "h264.mp4", model, every=10) as run:
        names = {name for result in run for name in result.detections.class_name}
    assert names <= set("abcde") and run.manifest["model"]["card"]["path"] == str(model.with_suffix(".toml"))


def test_a_card_can_be_named(model, clips, tmp_path):
    card = tmp_path / "other.toml"
    card.write_text('vidmill = 1\nresize = "stretch"\n')
    assert vidmill.load(model, card=card).info["cards"]["card"]["entries"] == {"vidmill.resize": "stretch"}
    with vidmill.run(clips / "h264.mp4", model, card=card, every=10) as run:
        list(run)
    assert run.manifest["model"]["input"]["resize"] == "stretch"


def test_a_card_that_makes_no_sense_is_an_error(model, clips):
    model.with_suffix(".toml").write_text("vidmill = 1\npad = 300\n")
    with pytest.raises(vidmill.ModelError, match="yolov8.toml: pad = '300'"):
        vidmill.load(model)
    with pytest.raises(vidmill.ModelError, match="yolov8.toml: pad = '300'"):
        list(vidmill.run(clips / "h264.mp4", model))
    with pytest.raises(FileNotFoundError, match=r"missing\.toml"):
        vidmill.load(model, card="missing.toml")


def test_a_card_tells_how_a_model_in_python_is_read(clips, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nimport vidmill\n\n"
        "class Boxes:\n"
        "    input = vidmill.Input(size=(64, 64))\n"
        "    def predict(self, batch):\n"
        "        row = [8, 8, 40, 40, 0.9, 1]\n"
        "        return np.tile(np.array(row, np.float32), (len(batch), 1, 1))\n"
    )
    card = tmp_path / "mine.toml"
    card.write_text('vidmill = 1\ntask = "end-to-end"\nresize = "stretch"\nnames = ["x", "y"]\n')
    with vidmill.run(clips / "h264.mp4", f"{file}:Boxes", every=12, workers=1) as run:
        results = list(run)
    assert [result.detections.class_name.tolist() for result in results] == [["y"]] * len(results)
    assert run.manifest["model"]["card"]["path"] == str(card)
    assert json.loads(json.dumps(run.manifest))["model"]["input"]["resize"] == "stretch"
