"""`vidmill tune`: what is fastest is found by trying, kept for this model on this machine, and used; results stay the same."""

import json
import os
import signal
import subprocess
import time

import pytest
import support

MODEL = "yolov8.onnx"


@pytest.fixture(scope="module")
def short(bikes, tmp_path_factory):
    """Two seconds of the street."""
    path = tmp_path_factory.mktemp("tune") / "short.mp4"
    support.tool("ffmpeg", "-v", "error", "-i", bikes, "-frames:v", 50, "-c:v", "libx264", path)
    return path


@pytest.fixture(scope="module")
def tuned(vidmill, models, short, tmp_path_factory):
    """A model that has been tuned: the cache, and what was told as JSON."""
    cache = tmp_path_factory.mktemp("cache")
    done = tune(vidmill, models / MODEL, short, cache)
    assert done.code == 0, done.err
    return cache, json.loads(done.out), done.err


def tune(vidmill, model, clip, cache, *options):
    return vidmill("tune", model, clip, "--seconds", 3, "--json", *options, env={"VIDMILL_CACHE": str(cache)})


def kept(cache):
    return list(cache.glob("tune/*"))


def test_every_setting_is_measured_and_compared(tuned):
    cache, told, err = tuned
    report = told["tuned"]["report"]
    assert report["samples"] == 32
    first = report["trials"][0]
    assert (first["setting"]["device"], first["setting"]["threads"], first["setting"]["batch"]) == ("cpu", 1, 1)
    usable = [trial for trial in report["trials"] if trial["refused"] is None]
    assert len(usable) >= 4, report
    ways = [json.dumps(trial["setting"], sort_keys=True) for trial in report["trials"]]
    assert len(set(ways)) == len(ways)
    for trial in usable:
        agreement = trial["agreement"]
        assert trial["frames_per_second"] > 0 and trial["cpu_ms_per_frame"] > 0
        assert agreement["results"] >= 100 and agreement["same"] == agreement["results"], trial
        assert agreement["error"] < 1e-4
    best = report["trials"][report["best"]]
    assert best["refused"] is None
    assert best["frames_per_second"] >= max(trial["frames_per_second"] for trial in usable) / 1.03
    (file,) = kept(cache)
    assert told["kept"] == str(file)
    assert json.loads(file.read_text()) == told["tuned"]
    assert file.stem == told["tuned"]["key"]["model_sha256"]
    assert err.count("frames/s") >= len(usable), err


def test_lower_precision_is_not_tried_unless_asked_for(tuned):
    _, told, _ = tuned
    assert {trial["setting"]["precision"] for trial in told["tuned"]["report"]["trials"]} == {"auto"}


def test_a_run_uses_what_was_found(tuned, detect, models, short):
    cache, told, _ = tuned
    report = told["tuned"]["report"]
    best = report["trials"][report["best"]]
    env = {"VIDMILL_CACHE": str(cache)}
    run = detect(short, models / MODEL, env=env)
    assert run.manifest["tuned"] is True
    chosen = run.manifest["parallelism"]
    for name in ("workers", "threads", "batch"):
        assert chosen[name] == best["setting"][name]
    assert run.manifest["runtime"]["device_asked"] == best["setting"]["device"]
    assert "as tuned" in run.done.err
    plain = detect(short, models / MODEL, "--no-tune", out="plain.jsonl", env=env)
    assert plain.manifest["tuned"] is False and "as tuned" not in plain.done.err
    for one, other in zip(run.records, plain.records, strict=True):
        assert [d["class_id"] for d in one["detections"]] == [d["class_id"] for d in other["detections"]]


def test_inspect_tells_what_was_found(tuned, vidmill, models):
    cache, told, _ = tuned
    report = told["tuned"]["report"]
    best = report["trials"][report["best"]]
    env = {"VIDMILL_CACHE": str(cache)}
    assert f"found by tuning: {best['runtime']}" in vidmill("inspect", models / MODEL, env=env).out
    assert json.loads(vidmill("inspect", models / MODEL, "--json", env=env).out)["tuned"] == best
    assert json.loads(vidmill("inspect", models / MODEL, "--json").out)["tuned"] is None


@pytest.mark.parametrize("option", [("--workers", 1), ("--threads", 1), ("--batch", 1), ("--device", "cpu"), ("--precision", "f32")])
def test_what_is_said_comes_before_what_was_found(tuned, vidmill, models, short, tmp_path, option):
    """Of the options that tuning decides, one that is given leaves all to the user."""
    out = tmp_path / "out.jsonl"
    done = vidmill("run", short, "--model", models / MODEL, "--out", out, "--every", 10, *option, env={"VIDMILL_CACHE": str(tuned[0])})
    assert done.code == 0, done.err
    assert support.Run(out, done).manifest["tuned"] is False


@pytest.mark.parametrize("change", ["machine", "version", "nonsense", "cut"])
def test_what_is_valid_elsewhere_is_not_used(tuned, vidmill, models, short, tmp_path, change):
    _, told, _ = tuned
    text = json.dumps(told["tuned"])
    if change == "machine":
        value = json.loads(text)
        value["key"]["machine"]["cpu"] = "another"
        text = json.dumps(value)
    elif change == "version":
        value = json.loads(text)
        value["key"]["vidmill"] = "0.0.1"
        text = json.dumps(value)
    elif change == "nonsense":
        text = '{"key": 3}'
    else:
        text = text[: len(text) // 2]
    cache = tmp_path / "cache" / "tune"
    cache.mkdir(parents=True)
    (cache / f"{told['tuned']['key']['model_sha256']}.json").write_text(text)
    out = tmp_path / "out.jsonl"
    env = {"VIDMILL_CACHE": str(cache.parent)}
    done = vidmill("run", short, "--model", models / MODEL, "--out", out, "--every", 10, env=env)
    assert done.code == 0, done.err
    assert support.Run(out, done).manifest["tuned"] is False
    assert ("tune again" in done.err) == (change in ("nonsense", "cut")), done.err


def test_another_runtime_than_was_measured_is_told(tuned, vidmill, models, short, tmp_path):
    _, told, _ = tuned
    value = json.loads(json.dumps(told["tuned"]))
    for trial in value["report"]["trials"]:
        trial["runtime"] = "onnxruntime 1.0.0"
    cache = tmp_path / "cache" / "tune"
    cache.mkdir(parents=True)
    (cache / f"{value['key']['model_sha256']}.json").write_text(json.dumps(value))
    done = vidmill("run", short, "--model", models / MODEL, env={"VIDMILL_CACHE": str(cache.parent)})
    assert done.code == 2
    assert "tuned with onnxruntime 1.0.0" in done.err and "--no-tune" in done.err


def test_a_run_can_tune_first(vidmill, models, short, tmp_path):
    cache, out = tmp_path / "cache", tmp_path / "out.jsonl"
    value = ("run", short, "--model", models / MODEL, "--out", out, "--tune")
    process = vidmill.start(*value, env={**os.environ, "VIDMILL_CACHE": str(cache)})
    # A minute is too long for a test: that it begins, and that it can be stopped, must do.
    begun = process.stderr.readline()
    while "cpu" not in (line := process.stderr.readline()):
        assert process.poll() is None, line
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "tuning" in begun and process.returncode == 130, err
    assert not out.exists() and not kept(cache)


def test_a_dry_run_keeps_nothing(vidmill, models, short, tmp_path):
    done = tune(vidmill, models / MODEL, short, tmp_path, "--dry-run")
    assert done.code == 0 and not kept(tmp_path)
    assert json.loads(done.out)["kept"] is None


def test_a_model_of_fixed_batch_is_tuned_in_it(vidmill, models, short, tmp_path):
    done = tune(vidmill, models / "yolov8_batch4.onnx", short, tmp_path)
    assert done.code == 0, done.err
    trials = json.loads(done.out)["tuned"]["report"]["trials"]
    assert {trial["setting"]["batch"] for trial in trials} == {4}


def test_frames_on_which_the_model_fails_anyway_are_left_out(vidmill, models, bikes, tmp_path):
    """The model gives NaN for dark pictures."""
    for name, brightness in [("some", "eq=brightness=-0.6:enable='lt(mod(n,8),2)'"), ("all", "eq=brightness=-0.9")]:
        clip = tmp_path / f"{name}.mp4"
        support.tool("ffmpeg", "-v", "error", "-i", bikes, "-frames:v", 40, "-vf", brightness, "-c:v", "libx264", clip)
        done = tune(vidmill, models / "yolov8_nan.onnx", clip, tmp_path / name)
        if name == "some":
            assert done.code == 0, done.err
            assert 5 < json.loads(done.out)["tuned"]["report"]["samples"] < 32
        else:
            assert done.code == 2 and "fails on all frames" in done.err and not kept(tmp_path / name), done.err


def test_bad_input_is_named(vidmill, models, short, tmp_path):
    cases = [
        ((tmp_path / "no.onnx", short), "no.onnx"),
        ((models / MODEL, tmp_path / "no.mp4"), "no.mp4"),
        ((short, short), "short.mp4"),
        ((models / MODEL, models / MODEL), MODEL),
    ]
    for (model, clip), name in cases:
        done = tune(vidmill, model, clip, tmp_path)
        assert done.code == 2, (model, clip, done.err)
        assert name in done.err.splitlines()[-1] or name in done.err, done.err
    done = tune(vidmill, "a.py:Detector", short, tmp_path)
    assert done.code == 2 and "Python" in done.err


def test_a_cache_that_cannot_be_written_is_told_with_the_result(vidmill, models, short, tmp_path):
    (tmp_path / "cache").write_text("a file")
    done = tune(vidmill, models / MODEL, short, tmp_path / "cache")
    assert done.code == 1 and "cannot be kept" in done.err
    assert json.loads(done.out)["tuned"]["report"]["best"] is not None


def test_a_signal_ends_it_at_once(vidmill, models, bikes, tmp_path):
    process = vidmill.start("tune", models / MODEL, bikes, "--seconds", 60, env={**os.environ, "VIDMILL_CACHE": str(tmp_path)})
    process.stderr.readline()
    time.sleep(1)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 143 and time.monotonic() - started < 5
    assert not kept(tmp_path)
