"""Model cards: what is said in TOML of how a model is fed and read."""

import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path

import make_models
import onnx
import pytest
import support

# Those that hang or grow are no models to look at. What cannot be recognised is named.
CARDED = [name for name, spec in make_models.MODELS.items() if spec.white is None]
NAMED = {"embedding": ("--task", "outputs"), "yolov8_dynamic": ("--imgsz", 96)}


@pytest.fixture
def model(models, tmp_path):
    """model(name, card) is a copy of a generated model in a folder of its own, with a card of this text beside it."""

    def copy(name, card=None, to=None):
        path = tmp_path / f"{to or name}.onnx"
        shutil.copy(models / f"{name}.onnx", path)
        if card is not None:
            path.with_suffix(".toml").write_text(card)
        return path

    return copy


@pytest.fixture
def clip(clips):
    return clips / "h264.mp4"


def test_a_saved_card_changes_no_byte(detect, vidmill, model, clip):
    for name in CARDED:
        path, options, named = model(name), ("--every", 5), NAMED.get(name, ())
        plain = detect(clip, path, *options, *named, out=f"{name}.jsonl")
        saved = vidmill("inspect", path, *named, "--write-card")
        assert saved.code == 0, saved.err
        card = path.with_suffix(".toml")
        carded = detect(clip, path, *options, out=f"{name}_carded.jsonl")
        assert carded.path.read_bytes() == plain.path.read_bytes(), name
        told = carded.manifest["model"]["card"]
        assert told == {"path": str(card), "sha256": hashlib.sha256(card.read_bytes()).hexdigest()}
        assert plain.manifest["model"]["card"] is None
        assert carded.manifest["model"]["input"] == plain.manifest["model"]["input"]
        # What is inferred now is what the card says, for another reason.
        again = vidmill("inspect", path, "--json")
        values = {line["key"]: line["value"] for line in json.loads(again.out)["plan"]["card"]}
        assert values == {key: value for key, value in tomllib.loads(card.read_text()).items() if key != "vidmill"}


def test_the_card_is_printed_with_reasons(vidmill, model):
    done = vidmill("inspect", model("ssd"))
    _, card = done.out.split("--write-card saves\n")
    table = tomllib.loads(card)
    assert table["task"] == "ssd" and table["mean"] == 127 and table["names"] == list(make_models.NAMES)
    lines = card.strip().splitlines()
    keys = [n for n, line in enumerate(lines) if " = " in line and not line.startswith("#") and "vidmill" not in line]
    assert len(keys) >= 12
    assert all(lines[n - 1].startswith("# ") and len(lines[n - 1]) > 8 for n in keys), card


def test_a_card_overrides_and_the_command_line_overrides_it(detect, model, clip):
    card = 'vidmill = 1\nconf = 0.6\nmax_det = 2\nnames = ["a", "b", "c", "d", "e"]\n'
    path = model("yolov8", card)
    found = [d for record in detect(clip, path).records for d in record["detections"]]
    assert found and min(d["confidence"] for d in found) > 0.6
    assert {d["class"] for d in found} <= set("abcde")
    more = detect(clip, path, "--conf", 0.1, "--max-det", 100, out="more.jsonl").records
    assert max(len(record["detections"]) for record in more) > 2
    assert min(d["confidence"] for record in more for d in record["detections"]) <= 0.6


def test_a_card_reaches_worker_processes_wherever_they_are(detect, vidmill, models, clip, tmp_path):
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "mine.toml").write_text('vidmill = 1\nresize = "stretch"\nconf = 0.4\n')
    command = ("run", clip, "--model", models / "yolov8.onnx", "--card", "cards/mine.toml", "--every", 5)
    outputs = []
    for name, options in (("threads", ()), ("processes", ("--isolate", "--workers", 2))):
        out = tmp_path / f"{name}.jsonl"
        done = vidmill(*command, *options, "--out", out, cwd=tmp_path)
        assert done.code == 0, done.err
        manifest = json.loads(Path(f"{out}.manifest.json").read_text())
        assert manifest["model"]["input"]["resize"] == "stretch"
        assert manifest["model"]["card"]["path"] == "cards/mine.toml"
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1]
    plain = detect(clip, models / "yolov8.onnx", "--every", 5, "--conf", 0.4, out="plain.jsonl")
    assert plain.path.read_bytes() != outputs[0]


@pytest.mark.parametrize(
    "card, parts",
    [
        ("vidmill = 1\npad = 300", ["yolov8.toml", "pad = '300'", "0 to 255"]),
        ("vidmill = 1\nresize = 'fit'", ["resize = 'fit'", "letterbox, letterbox-top-left"]),
        ("vidmill = 1\nclor = 'bgr'", ["clor = 'bgr'", "did you mean 'color'?"]),
        ("vidmill = 1\nimgsz = 320", ["imgsz = '320'", "height 160 and width 160"]),
        ("vidmill = 1\ntask = 'yolo99'", ["task = 'yolo99'", "yolov8"]),
        ("vidmill = 1\nlayout = 'nhwc'", ["'images'", "Nhwc"]),
        ("vidmill = 1\nconf = 2", ["conf = '2'", "0 to 1"]),
        ("vidmill = 1\ninputs = { other = 1 }", ["'other'"]),
        ("vidmill = 1\ncolor = [", ["yolov8.toml", "line 2"]),
        ("vidmill = 2", ["version 2", "update vidmill"]),
    ],
)
def test_a_card_that_makes_no_sense_is_an_error_that_says_where(vidmill, model, clip, card, parts):
    path = model("yolov8", card)
    for command in (("run", clip, "--model", path), ("inspect", path), ("run", clip, "--model", path, "--isolate")):
        done = vidmill(*command)
        assert done.code == 2, done.err
        assert all(part in done.err for part in parts), done.err
        assert "panicked" not in done.err


def test_a_named_card_must_be_one(vidmill, model, clip, tmp_path):
    path = model("yolov8")
    (tmp_path / "other.toml").write_text("[package]\nname = 'x'\n")
    for name, parts in (("missing.toml", ["missing.toml", "No such file"]), ("other.toml", ["other.toml", "vidmill = 1"])):
        done = vidmill("run", clip, "--model", path, "--card", tmp_path / name)
        assert done.code == 2 and all(part in done.err for part in parts), done.err


@pytest.mark.parametrize("text", ["[package]\nname = 'x'\n", "not toml", "\udc80"])
def test_a_file_that_is_no_card_does_no_harm(detect, model, clip, text):
    path = model("yolov8")
    path.with_suffix(".toml").write_bytes(text.encode(errors="surrogateescape"))
    run = detect(clip, path, "--every", 10)
    assert run.manifest["model"]["card"] is None


def test_a_card_is_not_written_over(vidmill, model, tmp_path):
    path = model("yolov8", "vidmill = 1\n")
    done = vidmill("inspect", path, "--write-card")
    assert done.code == 2 and "yolov8.toml is there already" in done.err and "--write-card PATH" in done.err
    assert path.with_suffix(".toml").read_text() == "vidmill = 1\n"
    assert vidmill("inspect", path, "--write-card", tmp_path / "new.toml").code == 0
    assert tomllib.loads((tmp_path / "new.toml").read_text())["task"] == "yolov8"


def test_resume_asks_for_the_same_card(detect, vidmill, model, clip):
    path = model("yolov8", "vidmill = 1\nconf = 0.5\n")
    run = detect(clip, path)
    path.with_suffix(".toml").write_text("vidmill = 1\nconf = 0.5\n# changed\n")
    again = vidmill("run", clip, "--model", path, "--out", run.path, "--resume")
    assert again.code == 2 and "card" in again.err, again.err


def test_an_output_never_lies_where_the_card_does(vidmill, model, clip):
    path = model("yolov8", "vidmill = 1\n")
    card = path.with_suffix(".toml")
    done = vidmill("run", clip, "--model", path, "--annotate", card, "--out", "-")
    assert done.code == 2, done.err
    assert card.read_text() == "vidmill = 1\n"


def test_what_hugging_face_leaves_beside_a_model_is_read(detect, vidmill, model, clip, tmp_path):
    path = model("yolov8_dynamic", to="model")
    told = onnx.load(path)
    del told.metadata_props[:]
    onnx.save(told, path)
    mean = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    size = {"size": {"height": 96, "width": 160}, "image_processor_type": "X"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, **mean, **size}))
    labels = dict(enumerate("abcde"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "yolo", "id2label": labels}))
    run = detect(clip, path, "--task", "yolov8", "--every", 5)
    entry = run.manifest["model"]
    assert entry["input"]["size"] == {"width": 160, "height": 96}
    assert (entry["input"]["mean"], entry["input"]["std"], entry["input"]["resize"]) == ([0.5] * 3, [0.25] * 3, "stretch")
    assert [Path(beside["path"]).name for beside in entry["beside"]] == ["preprocessor_config.json", "config.json"]
    assert {d["class"] for record in run.records for d in record["detections"]} <= set("abcde")
    why = vidmill("inspect", path, "--task", "yolov8").out
    assert "from preprocessor_config.json beside it" in why and "from config.json beside it" in why
    # Under another name it is anybody's model.
    other = model("yolov8_dynamic", to="yolo")
    assert detect(clip, other, "--imgsz", 96, "--every", 10, out="other.jsonl").manifest["model"]["beside"] == []
    # Names that are too many are another model's.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "yolo", "id2label": dict(enumerate("abcdefg"))}))
    why = vidmill("inspect", path, "--task", "yolov8", "--json")
    plan = json.loads(why.out)["plan"]
    assert plan["classes"] == [] or len(plan["classes"]) == 5
    support.assert_balanced(run.ledger)


def test_the_page_tells_all_keys_and_its_card_is_one(vidmill, model):
    page = (support.ROOT / "docs" / "MODEL_CARD.md").read_text()
    done = vidmill("inspect", model("yolov8_dynamic", "vidmill = 1\nxxxxxxxxxxxxxxxx = 1\n"))
    keys = done.err.split("the keys are ")[1].strip().split(", ")
    table = page.split("## Keys")[1].split("##")[0]
    assert len(keys) > 20 and all(f"`{key}`" in table for key in keys), keys
    [card, sides] = re.findall("^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    told = json.loads(vidmill("inspect", model("yolov8_dynamic", card), "--json").out)["plan"]
    assert told["input"]["size"] == {"width": 640, "height": 384} and told["classes"] == list(make_models.NAMES)
    assert "'orig_size'" in vidmill("inspect", model("yolov8_dynamic", sides)).err  # which this one has not
