"""Several sources at the same time: they take turns, and what comes out of each is what comes out of it alone."""

import collections
import itertools
import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
import support
from test_cascade import mean_model
from test_resume import CODES, Stopping, assert_same, encode, manifest_of, total

FRAMES = 120


@pytest.fixture(scope="module")
def films(bikes, tmp_path_factory):
    """Clips of several codecs and lengths, and pictures."""
    folder = tmp_path_factory.mktemp("films")
    x264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", 3, "-g", 25)
    encode(bikes, folder / "long.mp4", *x264, "-frames:v", FRAMES)
    encode(bikes, folder / "short.mkv", *x264, "-frames:v", 13)
    encode(bikes, folder / "vp8.webm", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", 8, "-frames:v", 50)
    encode(bikes, folder / "mjpeg.avi", "-c:v", "mjpeg", "-frames:v", 31)
    encode(bikes, folder / "twin.mp4", *x264, "-frames:v", FRAMES, "-vf", "scale=160:68,hflip")
    data = (folder / "long.mp4").read_bytes()
    middle = data.index(b"mdat") + len(data) // 2
    (folder / "damaged.mp4").write_bytes(data[:middle] + bytes(range(60)) + data[middle + 60 :])
    (folder / "no_video.mp4").write_bytes(b"nothing that anybody could play" * 100)
    pictures = folder / "pictures"
    pictures.mkdir()
    support.tool("ffmpeg", "-v", "error", "-i", folder / "long.mp4", "-frames:v", 12, pictures / "%03d.png")
    return folder


@pytest.fixture(scope="module")
def sources(films):
    return [films / name for name in ("short.mkv", "long.mp4", "vp8.webm", "pictures", "damaged.mp4", "mjpeg.avi")]


@pytest.fixture
def run(vidmill, models, tmp_path):
    """run(sources, options...) runs to the end; returns the output's path."""

    def run(sources, *options, out="out.jsonl", model="yolov8.onnx", code=0):
        done = vidmill("run", *sources, "--model", models / model, "--out", tmp_path / out, *options)
        assert done.code == code, done.err
        return tmp_path / out

    return run


def source_of(record):
    """What the user named: of a picture, its folder."""
    path = Path(record["source"])
    return str(path.parent if path.suffix == ".png" else path)


def by_source(records):
    lists = collections.defaultdict(list)
    for record in records:
        lists[source_of(record)].append(record)
    return lists


def turns(lengths, at_once):
    """The order that is promised, worked out with places that are numbered."""
    waiting = list(range(len(lengths)))
    places = [waiting.pop(0) for _ in range(min(at_once, len(lengths)))]
    left, order = list(lengths), []
    while any(place is not None for place in places):
        for at, source in enumerate(places):
            if source is None:
                continue
            if left[source]:
                left[source] -= 1
                order.append(source)
            else:
                places[at] = waiting.pop(0) if waiting else None
    return order


@pytest.mark.parametrize("options", [(), ("--track", "bytetrack", "--every", 2)], ids=["all", "tracked"])
@pytest.mark.parametrize("at_once", [2, 9])
def test_each_source_gives_what_it_gives_alone(run, sources, at_once, options):
    folder = run(sources, *options, out="alone/")
    alone = [support.read_jsonl(folder / f"{source.stem}.jsonl") for source in sources]
    path = run(sources, *options, "--at-once", at_once)
    records = support.read_jsonl(path)
    assert by_source(records) == {str(source): own for source, own in zip(sources, alone, strict=True)}
    order = turns([len(own) for own in alone], at_once)
    assert [source_of(record) for record in records] == [str(sources[number]) for number in order]
    for source, own in zip(manifest_of(path)["sources"], alone, strict=True):
        support.assert_balanced(source["ledger"])
        assert source["ledger"]["ok"] == len(own) and source["complete"]
    assert manifest_of(path)["at_once"] == min(at_once, len(sources))


@pytest.mark.parametrize("options", [("--workers", 1), ("--workers", 3, "--batch", 4), ("--isolate", "--batch", 2)], ids=str)
def test_the_same_bytes_for_any_number_of_workers(run, sources, options):
    command = (sources, "--at-once", 3, "--every", 3)
    whole, other = (run(*command, *given, out=out, model="yolov8_dynamic_batch.onnx") for given, out in [((), "out.jsonl"), (options, "other.jsonl")])
    assert other.read_bytes() == whole.read_bytes()


def test_one_at_a_time_is_the_default(run, sources):
    path = run(sources, "--every", 9)
    assert run(sources, "--every", 9, "--at-once", 1, out="other.jsonl").read_bytes() == path.read_bytes()
    assert [source for source, _ in itertools.groupby(support.read_jsonl(path), source_of)] == [str(source) for source in sources]
    assert manifest_of(path)["at_once"] == 1 and manifest_of(path)["further_checkpoints"] == []


def test_sources_come_on_side_by_side(run, films):
    """With as many frames each, whoever looks at the output at any moment sees as many of one as of the other."""
    counts = collections.Counter()
    path = run([films / "long.mp4", films / "twin.mp4"], "--at-once", 2)
    for record in support.read_jsonl(path):
        counts[record["source"]] += 1
        assert max(counts.values()) - counts[str(films / "twin.mp4")] <= 1
    assert set(counts.values()) == {FRAMES}


def test_what_cannot_be_read_ends_alone(run, films, vidmill, models, tmp_path):
    sources = [films / name for name in ("long.mp4", "no_video.mp4", "damaged.mp4", "no_video.mp4", "short.mkv", "vp8.webm")]
    done = vidmill("run", *sources, "--model", models / "yolov8.onnx", "--out", tmp_path / "one.jsonl")
    one = manifest_of(tmp_path / "one.jsonl")
    for at_once in (2, 6):
        path = run(sources, "--at-once", at_once, code=done.code)
        told = manifest_of(path)
        assert told["sources"] == one["sources"] and told["ledger"] == one["ledger"] and told["checkpoint"] is None
        assert by_source(support.read_jsonl(path)) == by_source(support.read_jsonl(tmp_path / "one.jsonl"))


@pytest.mark.parametrize("style", ["jsonl", "csv", "parquet", "coco", "mot"])
def test_a_folder_is_the_same_as_one_after_the_other(run, sources, style):
    options = ("--format", style, "--track", "sort", "--every", 2)
    one, path = run(sources, *options, out="one/"), run(sources, *options, "--at-once", 4, out="four/")
    names = sorted(file.name for file in one.iterdir())
    assert names == sorted(file.name for file in path.iterdir()) and len(names) == 2 * len(sources)
    for name in names:
        if not name.endswith(".manifest.json"):
            assert_same(path / name, one / name)


def test_each_has_its_own_annotated_video(run, sources, tmp_path):
    for at_once in (1, 3):
        run(sources, "--every", 4, "--at-once", at_once, "--annotate", tmp_path / f"drawn{at_once}/", out=f"{at_once}.jsonl")
    one, three = tmp_path / "drawn1", tmp_path / "drawn3"
    names = sorted(file.relative_to(one) for file in one.rglob("*.*"))
    assert names == sorted(file.relative_to(three) for file in three.rglob("*.*")) and len(names) == 5 + 3
    for name in names:
        assert (three / name).read_bytes() == (one / name).read_bytes(), name


def test_a_cascade(run, sources, tmp_path):
    options = ("--every", 5, "--then", mean_model(tmp_path / "means.onnx"), "--max-det", 3)
    one, three = run(sources, *options), run(sources, *options, "--at-once", 3, out="three.jsonl")
    assert by_source(support.read_jsonl(three)) == by_source(support.read_jsonl(one))
    assert all("outputs" in detection for record in support.read_jsonl(one) for detection in record["detections"])


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_tables_have_the_same_order(run, sources, out):
    import pandas

    lines = support.read_jsonl(run(sources, "--every", 6, "--at-once", 3))
    path = run(sources, "--every", 6, "--at-once", 3, out=out)
    table = pandas.read_csv(path) if out.endswith(".csv") else pandas.read_parquet(path)
    frames = list(zip(table["source"], table["frame"], strict=True))
    assert list(dict.fromkeys(frames)) == [(record["source"], record["frame"]) for record in lines]


@pytest.mark.parametrize("place", ["one.jsonl", "each/"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_leaves_all_sources_accounted_for(vidmill, films, models, tmp_path, number, place):
    sources = [films / "long.mp4", films / "twin.mp4", films / "short.mkv", films / "vp8.webm"]
    out = f"{tmp_path}/{place}"
    process = vidmill.start("run", *sources, "--model", models / "yolov8.onnx", "--out", out, "--at-once", 3)
    deadline = time.monotonic() + 20
    while total(Path(out).rglob("*.jsonl") if place == "each/" else [Path(out)]) < 40_000 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == CODES[number]
    files = [Path(out)] if place != "each/" else sorted(Path(out).glob("*.jsonl"))
    for file in files:
        lists, manifest = by_source(support.read_jsonl(file)), manifest_of(file)
        assert manifest["interrupted"] or manifest["complete"]
        for source in manifest["sources"]:
            support.assert_balanced(source["ledger"])
            assert source["ledger"]["ok"] == len(lists[source["source"]])
            assert [record["frame"] for record in lists[source["source"]]] == list(range(source["ledger"]["ok"]))
        assert manifest["ledger"]["ok"] == sum(map(len, lists.values())) > 0
    assert sum(manifest_of(file)["interrupted"] for file in files) >= min(2, len(files))


def test_a_source_that_waits_for_its_input_can_be_interrupted(vidmill, films, models, tmp_path):
    """Its frames are waited for, as turns are kept; the signal is not."""
    pipe, out = tmp_path / "pipe", tmp_path / "out.jsonl"
    os.mkfifo(pipe)
    process = vidmill.start("run", pipe, films / "long.mp4", "--model", models / "yolov8.onnx", "--out", out, "--at-once", 2)
    with pipe.open("wb") as writer:
        # The beginning of a stream: several frames of it come.
        writer.write((films / "mjpeg.avi").read_bytes()[:60_000])
        writer.flush()
        deadline = time.monotonic() + 20
        while total([out]) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        process.communicate(timeout=20)
        assert time.monotonic() - begin < 5
    assert process.returncode == 130
    lists, manifest = by_source(support.read_jsonl(out)), manifest_of(out)
    assert abs(len(lists[str(pipe)]) - len(lists[str(films / "long.mp4")])) <= 1
    for source in manifest["sources"]:
        support.assert_balanced(source["ledger"])
        assert source["ledger"]["ok"] == len(lists[source["source"]]) > 0
        assert not source["complete"]


def test_a_slow_source_among_others(run, films, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write():
        data = (films / "mjpeg.avi").read_bytes()
        with pipe.open("wb") as writer:
            for at in range(0, len(data), len(data) // 7):
                writer.write(data[at : at + len(data) // 7])
                writer.flush()
                time.sleep(0.1)

    thread = threading.Thread(target=write)
    thread.start()
    path = run([pipe, films / "long.mp4", films / "short.mkv"], "--at-once", 2)
    thread.join()
    assert {name: len(own) for name, own in by_source(support.read_jsonl(path)).items()} == {
        str(pipe): 31,
        str(films / "long.mp4"): FRAMES,
        str(films / "short.mkv"): 13,
    }


def test_memory_is_that_of_the_decoders(run, films, tmp_path):
    """Whatever the length of the clips, and however many wait."""
    long = tmp_path / "long.mkv"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 7, "-i", films / "long.mp4", "-c", "copy", long)
    peak = lambda sources: manifest_of(run(sources, "--at-once", 3, "--every", 2))["peak_memory_bytes"]
    few = peak([films / "short.mkv"] * 3)
    many = peak([long] * 3 + [films / "short.mkv"] * 20)
    assert many < few + (24 << 20), f"{few >> 20} MB, then {many >> 20} MB"


def test_progress_is_the_sum_of_all(vidmill, films, models, tmp_path):
    sources = [films / "long.mp4", films / "twin.mp4"]
    command = ("run", *sources, "--model", models / "yolov8.onnx", "--out", tmp_path / "out.jsonl", "--at-once", 2)
    done = vidmill(*command, "--progress", "json")
    shown = [json.loads(line)["progress"] for line in done.err.splitlines() if line.startswith('{"progress"')]
    assert shown[-1]["decoded"] == shown[-1]["expected"] == shown[-1]["settled"] == 2 * FRAMES
    assert shown[-1]["open"] == 0 and max(now["open"] for now in shown) <= 2


@pytest.mark.parametrize("given", ["0", "-1", "many", "2000"])
def test_other_numbers_are_refused(vidmill, films, models, given):
    done = vidmill("run", films / "long.mp4", "--model", models / "yolov8.onnx", f"--at-once={given}")
    assert done.code == 2 and "1 to 1024" in done.err


# With --resume


@pytest.fixture
def compare(vidmill, models, tmp_path, request):
    """compare(sources, options...) runs undisturbed and disturbed, and compares outputs, manifests and what was drawn."""

    def compare(sources, *options, out="out.jsonl", most=5, model="yolov8.onnx", code=0, draws=False):
        stopping = Stopping(vidmill, request.node.name + os.environ.get("VIDMILL_SEED", ""))

        def command(name):
            drawing = ("--annotate", f"{tmp_path / name}/drawn/") if draws else ()
            return (*sources, "--model", models / model, "--out", f"{tmp_path / name}/{out}", *options, *drawing)

        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        done = vidmill("run", *command("whole"))
        assert done.code == code, done.err
        names = [file.relative_to(whole) for file in whole.rglob("*.*") if file.is_file()]
        files = [name for name in names if not name.name.endswith(".manifest.json")]
        manifests = [name for name in names if name.name.endswith(".manifest.json")]
        records = [Path(str(name).removesuffix(".manifest.json")) for name in manifests]
        grows = [stopped / f"{name}{ending}" for name in records for ending in ("", ".partial.jsonl")]
        size = total(whole / name for name in records)
        assert stopping(*command("stopped"), grows=grows, size=size, most=most) == code
        assert sorted(file.relative_to(stopped) for file in stopped.rglob("*.*") if file.is_file()) == sorted(names)
        for name in files:
            assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name
        for name in records:
            assert_same(stopped / name, whole / name)
            assert manifest_of(stopped / name)["further_checkpoints"] == []
        return stopping.stops

    return compare


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_interleaved_records_come_out_the_same(compare, sources, number, monkeypatch):
    monkeypatch.setitem(Stopping.__call__.__kwdefaults__, "signals", (number,))
    assert compare(sources, "--at-once", 3) >= 2, "the run should have been stopped"


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_other_formats_go_on(compare, sources, out):
    assert compare(sources, "--at-once", 2, out=out) >= 2, "the run should have been stopped"


@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
def test_tracks_go_on(compare, sources, tracker):
    videos = [source for source in sources if source.suffix]
    stops = compare(videos, "--at-once", 4, "--conf", 0.6, "--track", tracker, "--fps", 20)
    assert stops >= 2, "the run should have been stopped"


@pytest.mark.parametrize("style", ["jsonl", "csv", "parquet", "coco", "mot"])
def test_a_folder_goes_on(compare, sources, style):
    tracked = ("--track", "sort") if style == "mot" else ()
    assert compare(sources, "--at-once", 3, "--format", style, *tracked, out="each/") >= 2, "the run should have been stopped"


def test_journals_of_sources_that_are_done_do_not_stay(run, films):
    """A run that was killed between the manifest and the removal leaves one."""
    sources, options = [films / "short.mkv", films / "mjpeg.avi"], ("--format", "parquet", "--at-once", 2)
    folder = run(sources, *options, out="each/")
    before = sorted(folder.iterdir())
    (folder / "short.parquet.partial.jsonl").touch()
    for file in folder.glob("mjpeg*"):
        file.unlink()
    run(sources, *options, "--resume", out="each/")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet", "each/"])
def test_drawings_come_out_the_same(compare, films, out):
    """Also of one file named twice."""
    sources = [films / name for name in ("long.mp4", "pictures", "long.mp4", "vp8.webm")]
    assert compare(sources, "--at-once", 3, "--every", 4, out=out, draws=True, most=4) >= 1


def test_drawings_without_records_to_read_begin_anew(compare, films):
    compare([films / "long.mp4", films / "vp8.webm"], "--at-once", 2, "--every", 3, out="out.csv", draws=True, most=1)


def test_what_cannot_be_read_is_so_after_going_on(compare, films):
    sources = [films / name for name in ("no_video.mp4", "long.mp4", "no_video.mp4", "damaged.mp4", "twin.mp4", "no_video.mp4")]
    compare(sources, "--at-once", 2, "--every", 2, code=3)


@pytest.fixture
def stopped(vidmill, films, models, tmp_path):
    """stopped(options...) is a run of three sources that was killed; returns a command that goes on with it."""

    def stopped(*options, out="out.jsonl"):
        sources = [films / "long.mp4", films / "twin.mp4", films / "short.mkv"]
        command = ("run", *sources, "--model", models / "yolov8.onnx", "--out", f"{tmp_path}/{out}")
        process = vidmill.start(*command, *options)
        deadline = time.monotonic() + 20
        while total(tmp_path.rglob("*.jsonl")) < 100_000 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 143
        return command

    return stopped


@pytest.mark.parametrize(("then", "now"), [(2, 1), (1, 2), (2, 3)])
def test_another_order_of_records_is_refused(stopped, vidmill, tmp_path, then, now):
    command = stopped("--at-once", then)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    done = vidmill(*command, "--resume", "--at-once", now)
    assert done.code == 2 and "leave --resume out" in done.err
    word = {1: "none"}
    assert f"at_once: {word.get(then, then)} then, {word.get(now, now)} now" in done.err
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_in_a_folder_the_order_does_not_matter(stopped, vidmill, films, models, tmp_path):
    command = stopped("--at-once", 3, out="each/")
    whole = tmp_path / "whole"
    assert vidmill(*command[:-1], f"{whole}/").code == 0
    assert vidmill(*command, "--resume").code == 0
    for file in sorted(whole.glob("*.jsonl")):
        assert_same(tmp_path / "each" / file.name, file)


def test_an_output_that_lost_its_end_is_done_again(stopped, vidmill, tmp_path):
    command, path = stopped("--at-once", 2), tmp_path / "out.jsonl"
    path.write_bytes(path.read_bytes()[:1000])
    assert vidmill(*command, "--resume", "--at-once", 2).code == 0
    assert vidmill(*command[:-1], tmp_path / "whole.jsonl", "--at-once", 2).code == 0
    assert_same(path, tmp_path / "whole.jsonl")


def test_manifests_from_before_there_were_turns_are_gone_on_with(stopped, vidmill, tmp_path):
    command, path = stopped(), tmp_path / "out.jsonl"
    manifest = manifest_of(path)
    for key in ("at_once", "further_checkpoints"):
        del manifest[key]
    assert not re.search("at_once", json.dumps(manifest["resume_key"]))
    Path(f"{path}.manifest.json").write_text(json.dumps(manifest))
    assert vidmill(*command, "--resume").code == 0
    assert vidmill(*command[:-1], tmp_path / "whole.jsonl").code == 0
    assert_same(path, tmp_path / "whole.jsonl")


@pytest.mark.parametrize("change", ["a source that does not exist", "one without its checkpoint"])
def test_a_manifest_that_does_not_fit_together_is_told(stopped, vidmill, tmp_path, change):
    command, path = stopped("--at-once", 2), tmp_path / "out.jsonl"
    manifest = manifest_of(path)
    if change == "one without its checkpoint":
        manifest["further_checkpoints"] = []
    else:
        manifest["checkpoint"]["source"] = 7
    Path(f"{path}.manifest.json").write_text(json.dumps(manifest))
    before = path.read_bytes()
    done = vidmill(*command, "--resume", "--at-once", 2)
    assert done.code == 2 and "does not tell how far its run came" in done.err
    assert path.read_bytes() == before
