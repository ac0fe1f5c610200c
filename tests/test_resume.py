"""Runs that are stopped again and again, and gone on with: what they leave behind is what an undisturbed run leaves."""

import json
import os
import random
import re
import resource
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet
import pytest
import support

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
FRAMES = 240


def encode(source, target, *options):
    filters = ("-vf", "scale=160:68", "-an", "-frames:v", FRAMES)
    support.tool("ffmpeg", "-v", "error", "-y", "-i", source, *filters, *options, target)
    return target


@pytest.fixture(scope="module")
def films(bikes, tmp_path_factory):
    """Longer clips than those of other tests, with several groups of pictures each."""
    folder = tmp_path_factory.mktemp("films")
    x264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", 3, "-g", 25)
    encode(bikes, folder / "b.mp4", *x264, "-movflags", "faststart")
    encode(bikes, folder / "b.mkv", *x264)
    encode(bikes, folder / "hevc.mp4", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=30:open-gop=0")
    encode(bikes, folder / "vp9.webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8, "-g", 30)
    dark = "scale=160:68,eq=brightness='-0.9*between(mod(n,40),8,11)':eval=frame"
    encode(bikes, folder / "dark.mp4", *x264, "-vf", dark)
    data = bytearray((folder / "b.mp4").read_bytes())
    begin = data.index(b"mdat")
    for share in (0.4, 0.7):
        at = begin + int((len(data) - begin) * share)
        data[at : at + 30] = random.Random(share).randbytes(30)
    (folder / "damaged.mp4").write_bytes(data)
    (folder / "cut.mp4").write_bytes((folder / "b.mp4").read_bytes()[: len(data) * 4 // 5])
    pictures = folder / "pictures"
    pictures.mkdir()
    support.tool("ffmpeg", "-v", "error", "-i", folder / "b.mp4", "-frames:v", 60, pictures / "%03d.png")
    return folder


def total(files):
    """Bytes of the files that are there; they may go at any moment."""

    def size(path):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0

    return sum(map(size, files))


class Stopping:
    """Runs a command, stops it at moments that a seeded chance chooses, and goes on until it ends by itself."""

    def __init__(self, vidmill, seed):
        self.vidmill, self.chance, self.stops = vidmill, random.Random(seed), 0

    def __call__(self, *command, grows, size, signals=tuple(CODES), most=5):
        """`grows` lists files in which progress shows, `size` is how long they become. Returns the last exit code."""
        for turn in range(most + 1):
            process = self.vidmill.start("run", *command, *(("--resume",) if turn else ()))
            number = self.chance.choice(signals) if turn < most else None
            stopped = number is not None and self.stop(process, grows, size, number)
            _, err = process.communicate(timeout=60)
            assert "panicked" not in err, err
            if not stopped or process.returncode in (0, 3):
                return process.returncode
            # Before it listens, a signal ends it as it ends any program.
            assert process.returncode in (CODES[number], -number), err
            self.stops += 1
        raise AssertionError("unreachable")

    def stop(self, process, grows, size, number):
        """Sends the signal once the output has grown by some share of it all, or after some time."""
        begin, target = total(grows), self.chance.randrange(1, max(size // 3, 2))
        deadline = time.monotonic() + (self.chance.uniform(0, 0.4) if self.chance.random() < 0.2 else 20)
        while process.poll() is None and total(grows) - begin < target and time.monotonic() < deadline:
            time.sleep(0.001)
        if process.poll() is not None:
            return False
        process.send_signal(number)
        return True


@pytest.fixture
def stopping(vidmill, request):
    # VIDMILL_SEED picks other moments.
    return Stopping(vidmill, request.node.name + os.environ.get("VIDMILL_SEED", ""))


def manifest_of(path):
    return json.loads(Path(f"{path}.manifest.json").read_text())


def told(path):
    """What the manifest tells of frames, which must not depend on how often a run was stopped."""
    manifest = manifest_of(path)
    return {key: manifest[key] for key in ("sources", "ledger", "failures", "complete", "interrupted", "error", "bytes")}


def assert_same(path, whole):
    assert path.read_bytes() == whole.read_bytes()
    assert told(path) == told(whole)
    assert manifest_of(path)["checkpoint"] is None
    assert not Path(f"{path}.partial.jsonl").exists()


@pytest.fixture
def compare(vidmill, stopping, tmp_path):
    """compare(sources, model, options...) runs undisturbed and disturbed, and compares; returns both outputs."""

    def run(sources, model, *options, out="out.jsonl", code=0, **how):
        whole, path = tmp_path / "whole" / out, tmp_path / "stopped" / out
        command = (*sources, "--model", model, *options)
        done = vidmill("run", *command, "--out", whole)
        assert done.code == code, done.err
        grows, size = [path, Path(f"{path}.partial.jsonl")], whole.stat().st_size
        assert stopping(*command, "--out", path, grows=grows, size=size, **how) == code
        assert_same(path, whole)
        return path, whole

    return run


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.json", "out.parquet"])
def test_every_format_comes_out_the_same(compare, stopping, films, models, out, number):
    path, whole = compare([films / "b.mp4"], models / "yolov8.onnx", out=out, signals=(number,))
    assert stopping.stops >= 2, "the run should have been stopped"
    if out.endswith(".parquet"):
        assert pyarrow.parquet.read_table(path).equals(pyarrow.parquet.read_table(whole))


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.txt", "out.parquet"])
@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
def test_tracks_go_on_where_they_were(compare, stopping, films, models, tracker, out):
    """Ids, and what of weak detections is told, depend on all frames before."""
    compare([films / "b.mp4"], models / "yolov8.onnx", "--conf", 0.6, "--track", tracker, out=out)
    assert stopping.stops >= 2, "the run should have been stopped"


def test_tracks_of_several_sources_go_on(compare, films, clips, models):
    sources = [clips / "h264.mp4", films / "b.mp4", films / "damaged.mp4", films / "pictures"]
    compare(sources, models / "yolov8.onnx", "--every", 2, "--track", "bytetrack", most=6)


def test_failed_frames_are_empty_ones_to_a_tracker_that_goes_on(compare, films, models):
    compare([films / "dark.mp4"], models / "yolov8_nan.onnx", "--track", "bytetrack", code=3)


SAMPLINGS = {
    "every": ("--every", 3),
    "fps": ("--fps", "7.3"),
    "range": ("--start", "1.5", "--end", "8.1"),
    "fps in a range": ("--start", "2.02", "--end", "9", "--fps", 11),
}


@pytest.mark.parametrize("name", ["b.mkv", "vp9.webm"])
@pytest.mark.parametrize("options", SAMPLINGS.values(), ids=SAMPLINGS)
def test_sampling_goes_on_where_it_was(compare, films, models, name, options):
    compare([films / name], models / "yolov8.onnx", *options, signals=(signal.SIGKILL, signal.SIGINT))


@pytest.mark.parametrize("name", ["hevc.mp4", "vp9.webm", "damaged.mp4", "cut.mp4"])
def test_every_kind_of_file(compare, films, models, name):
    compare([films / name], models / "yolov8.onnx")


@pytest.mark.parametrize("name", ["vfr.mp4", "open_gop.mp4", "stream.ts", "corrupted_stream.ts", "fragmented.mp4", "mjpeg.avi"])
def test_short_clips_of_many_kinds(compare, clips, models, name):
    compare([clips / name], models / "yolov8.onnx", most=3)


def test_failures_are_counted_once(compare, films, models):
    path, _ = compare([films / "dark.mp4"], models / "yolov8_nan.onnx", code=3)
    manifest = manifest_of(path)
    failed = [r["frame"] for r in support.read_jsonl(path) if r["status"] == "failed"]
    assert len(failed) == manifest["ledger"]["failed"] == len(manifest["failures"]) > 10


def test_pictures(compare, films, models):
    compare([films / "pictures"], models / "yolov8.onnx", most=3)


@pytest.mark.parametrize("out", ["out.csv", "out.json"])
def test_pictures_in_formats_that_cannot_be_read_back(compare, films, models, out):
    compare([films / "pictures"], models / "yolov8.onnx", out=out, most=3)


def test_several_sources_in_one_file(compare, films, clips, models):
    sources = [clips / "h264.mp4", films / "b.mp4", films / "b.mp4", films / "pictures", clips / "vp9.webm"]
    compare(sources, models / "yolov8.onnx", "--every", 2, most=7)
    compare(sources, models / "yolov8.onnx", "--every", 2, out="out.csv", most=7)


@pytest.mark.parametrize("style", ["jsonl", "csv", "parquet", "coco"])
def test_a_folder_with_one_file_for_each_source(vidmill, stopping, films, clips, models, tmp_path, style):
    sources = [clips / "hevc.mp4", films / "b.mp4", films / "hevc.mp4", clips / "h264.mp4", films / "pictures"]
    command = (*sources, "--model", models / "yolov8.onnx", "--format", style)
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    assert vidmill("run", *command, "--out", f"{whole}/").code == 0
    names = sorted(path.name for path in whole.iterdir() if not path.name.endswith(".manifest.json"))
    assert len(names) == len(sources)
    grows = [folder / name for name in names] + [folder / f"{name}.partial.jsonl" for name in names]
    assert stopping(*command, "--out", f"{folder}/", grows=grows, size=total(whole.iterdir()), most=6) == 0
    assert stopping.stops >= 2
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in whole.iterdir())
    for name in names:
        assert_same(folder / name, whole / name)


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.parquet"])
def test_the_annotated_video_comes_out_the_same(vidmill, stopping, films, models, tmp_path, out):
    """Also where the records cannot be read back (CSV), so that the source must be done again."""
    path, video = tmp_path / out, tmp_path / "boxes.mp4"
    tracked = ("--track", "bytetrack") if out.endswith(".parquet") else ()
    command = (films / "dark.mp4", "--model", models / "yolov8_nan.onnx", "--every", 2, "--annotate", video, *tracked)
    assert vidmill("run", *command, "--out", path).code == 3
    whole = tmp_path / "whole"
    whole.mkdir()
    for file in (path, video, Path(f"{path}.manifest.json")):
        file.rename(whole / file.name)
    # Stopped seldom enough for CSV to come to its end.
    most = 2 if out.endswith(".csv") else 4
    grows, size = [path, Path(f"{path}.partial.jsonl")], (whole / out).stat().st_size
    assert stopping(*command, "--out", path, grows=grows, size=size, most=most) == 3
    assert stopping.stops > 0
    assert_same(path, whole / out)
    ours, theirs = support.ffprobe_frames(video), support.ffprobe_frames(whole / "boxes.mp4")
    assert [f["pts"] for f in ours] == [f["pts"] for f in theirs]
    assert (support.rgb_frames(video) == support.rgb_frames(whole / "boxes.mp4")).all()
    assert video.read_bytes() == (whole / "boxes.mp4").read_bytes()


def test_annotated_pictures_come_out_the_same(vidmill, stopping, films, models, tmp_path):
    """And one of several sources has its own video beside them."""
    sources = [films / "pictures", films / "b.mp4"]
    command = (*sources, "--model", models / "yolov8.onnx")
    whole, drawn, folder = tmp_path / "whole", tmp_path / "drawn", tmp_path / "records"
    command = (*command, "--out", f"{folder}/", "--annotate", f"{drawn}/")
    assert vidmill("run", *command).code == 0
    whole.mkdir()
    shutil.move(drawn, whole / "drawn")
    shutil.move(folder, whole / "records")
    grows, size = [folder / "pictures.jsonl", folder / "b.jsonl"], total((whole / "records").iterdir())
    assert stopping(*command, grows=grows, size=size, most=5) == 0
    assert stopping.stops > 0
    names = lambda top: sorted(path.relative_to(top) for path in top.rglob("*") if path.is_file())
    assert names(drawn) == names(whole / "drawn") and len(names(drawn)) == 61
    for name in names(drawn):
        assert (drawn / name).read_bytes() == (whole / "drawn" / name).read_bytes(), name
    for name in ("pictures.jsonl", "b.jsonl"):
        assert_same(folder / name, whole / "records" / name)


@pytest.fixture
def stopped(vidmill, stopping, films, models, tmp_path):
    """stopped(options...) is a run that was interrupted once; returns its output."""

    def run(*options, out="out.jsonl", number=signal.SIGTERM, source="b.mp4"):
        path = tmp_path / out
        process = vidmill.start("run", films / source, "--model", models / "yolov8.onnx", "--out", path, *options)
        grows = [path, Path(f"{path}.partial.jsonl")]
        while process.poll() is None and total(grows) < 15_000:
            time.sleep(0.001)
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == CODES[number]
        return path

    return run


@pytest.fixture
def go_on(vidmill, films, models):
    def run(path, *options, source="b.mp4", model="yolov8.onnx", **settings):
        command = (films / source, "--model", models / model, "--out", path, "--resume")
        return vidmill("run", *command, *options, **settings)

    return run


def test_a_torn_last_line_is_written_anew(stopped, go_on, vidmill, films, models, tmp_path):
    path, whole = stopped(number=signal.SIGKILL), tmp_path / "whole.jsonl"
    assert vidmill("run", films / "b.mp4", "--model", models / "yolov8.onnx", "--out", whole).code == 0
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    assert go_on(path).code == 0
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("left", [0, 100])
def test_an_output_that_lost_its_end_is_done_again(stopped, go_on, vidmill, films, models, tmp_path, left):
    """As a power cut may leave it: shorter than its manifest knows."""
    path, whole = stopped(), tmp_path / "whole.jsonl"
    assert vidmill("run", films / "b.mp4", "--model", models / "yolov8.onnx", "--out", whole).code == 0
    path.write_bytes(path.read_bytes()[:left])
    assert go_on(path).code == 0
    assert_same(path, whole)


def test_an_interrupted_parquet_run_is_valid_and_keeps_its_journal(stopped, go_on):
    path = stopped(out="out.parquet")
    journal = Path(f"{path}.partial.jsonl")
    assert pyarrow.parquet.read_table(path).num_rows == len(support.read_jsonl(journal)) > 0
    assert go_on(path).code == 0
    assert pyarrow.parquet.read_table(path).num_rows == FRAMES
    assert not journal.exists()


def test_nothing_is_decoded_twice_where_key_frames_allow(stopped, go_on):
    """Decoding begins at the key frame before the last record, and the ledger is that of the whole."""
    path = stopped()
    done = len(support.read_jsonl(path))
    again = go_on(path, env={"VIDMILL_LOG": "vidmill_video=debug,vidmill=debug"})
    assert again.code == 0
    assert re.search(rf"going on from a key frame.* frame={done}\b", again.err), again.err
    assert "beginning" not in again.err and "starting over" not in again.err
    assert f"ran {FRAMES - done} frames ({done} were done before)" in again.err
    manifest = manifest_of(path)
    assert manifest["resumed"] == done
    assert manifest["ledger"]["decoded"] == manifest["ledger"]["ok"] == FRAMES


def test_other_streams_are_read_from_their_beginning(stopped, go_on):
    path = stopped(source="vp9.webm")
    again = go_on(path, source="vp9.webm", env={"VIDMILL_LOG": "vidmill_video=debug,vidmill=debug"})
    assert again.code == 0 and "by way of the beginning" in again.err


DIFFERENT = {
    "conf": (("--conf", "0.5"), {}),
    "every": (("--every", "2"), {}),
    "fps": (("--fps", "3"), {}),
    "start": (("--start", "1"), {}),
    "classes": (("--classes", "car"), {}),
    "annotate": (("--annotate", "boxes.mp4"), {}),
    "track": (("--track", "sort"), {}),
    "model": ((), {"model": "yolov8_end2end.onnx"}),
    "source": ((), {"source": "b.mkv"}),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_run_is_refused(stopped, go_on, tmp_path, name):
    options, settings = DIFFERENT[name]
    path = stopped()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    done = go_on(path, *options, cwd=tmp_path, **settings)
    assert done.code == 2
    assert re.search(rf"\(.*{name}[_:].* then, .* now", done.err), done.err
    assert "leave --resume out" in done.err
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_changed_source_is_refused(vidmill, films, models, tmp_path):
    source, path = tmp_path / "clip.mp4", tmp_path / "out.jsonl"
    shutil.copy(films / "b.mp4", source)
    command = ("run", source, "--model", models / "yolov8.onnx", "--out", path, "--every", 20)
    assert vidmill(*command).code == 0
    shutil.copy(films / "b.mkv", source)
    done = vidmill(*command, "--resume")
    assert done.code == 2 and "clip.mp4" in done.err and "bytes" in done.err


def test_workers_may_differ(stopped, go_on, vidmill, films, models, tmp_path):
    path, whole = stopped("--workers", 1), tmp_path / "whole.jsonl"
    assert vidmill("run", films / "b.mp4", "--model", models / "yolov8.onnx", "--out", whole).code == 0
    assert go_on(path, "--workers", 3).code == 0
    assert path.read_bytes() == whole.read_bytes()


def limited(size):
    """As on a full disk: no file may grow beyond `size` bytes."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))}


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.json", "out.parquet"])
def test_a_run_that_a_full_disk_ended_goes_on(vidmill, films, models, tmp_path, out):
    path, whole = tmp_path / out, tmp_path / "whole" / out
    command = ("run", films / "b.mp4", "--model", models / "yolov8.onnx")
    assert vidmill(*command, "--out", whole).code == 0
    process = vidmill.start(*command, "--out", path, **limited(600_000))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "space" in err
    assert manifest_of(path)["checkpoint"]["ok"] > 0
    assert vidmill(*command, "--out", path, "--resume").code == 0
    assert_same(path, whole)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_video_that_could_not_be_drawn_to_its_end_is_drawn_again(vidmill, films, clips, models, tmp_path, place):
    """Though all its records are there. In a folder, the sources after it are done."""
    sources, drawn, records = [films / "b.mp4", clips / "vfr.mp4"], tmp_path / "drawn", tmp_path / "records"
    command = ["run", *sources, "--model", models / "yolov8.onnx", "--every", 6, "--max-det", 2]
    command += ["--annotate", f"{drawn}/", "--out", records / "all.jsonl" if place == "file" else f"{records}/"]
    assert vidmill(*command).code == 0
    wholes = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file()}
    shutil.rmtree(drawn)
    shutil.rmtree(records)
    limit = len(wholes[Path("drawn/b.mp4")]) * 3 // 4
    process = vidmill.start(*command, **limited(limit))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    for file in records.glob("*.jsonl"):
        assert file.read_bytes() == wholes[file.relative_to(tmp_path)]
    again = vidmill(*command, "--resume")
    assert again.code == 0, again.err
    for name, whole in wholes.items():
        if name.name.endswith(".manifest.json"):
            assert json.loads((tmp_path / name).read_text())["complete"] is True
        else:
            assert (tmp_path / name).read_bytes() == whole, name
    assert "nothing left to do" in vidmill(*command, "--resume").err


def test_what_is_complete_is_left_alone(vidmill, films, models, tmp_path):
    path = tmp_path / "out.jsonl"
    command = ("run", films / "dark.mp4", "--model", models / "yolov8_nan.onnx", "--out", path, "--every", 4)
    assert vidmill(*command).code == 3
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    done = vidmill(*command, "--resume")
    assert done.code == 3 and "nothing left to do" in done.err
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before
    path.write_text("something else\n")
    done = vidmill(*command, "--resume")
    assert done.code == 2 and "bytes" in done.err and path.read_text() == "something else\n"


def test_where_nothing_was_begun_it_begins(go_on, tmp_path):
    path = tmp_path / "new" / "out.csv"
    assert go_on(path, "--every", 20).code == 0
    assert manifest_of(path)["complete"] is True and manifest_of(path)["resumed"] == 0


def test_records_without_a_manifest_are_not_overwritten(go_on, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    done = go_on(path)
    assert done.code == 2 and "manifest.json" in done.err
    assert path.read_text() == "precious\n"


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"sources": [], "failures": [], "checkpoint": null}'])
def test_a_manifest_that_cannot_be_understood_is_told(go_on, tmp_path, text):
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    Path(f"{path}.manifest.json").write_text(text)
    done = go_on(path)
    assert done.code == 2 and "manifest.json" in done.err and "leave --resume out" in done.err
    assert path.read_text() == "precious\n"


def test_standard_output_is_refused(vidmill, films, models, tmp_path):
    drawn = tmp_path / "drawn"
    command = ("run", films / "b.mp4", "--model", models / "yolov8.onnx", "--resume")
    for options in ((), ("--out", "-"), ("--annotate", drawn / "boxes.mp4")):
        done = vidmill(*command, *options)
        assert done.code == 2 and "standard output" in done.err and done.out == ""
    assert vidmill(*command, "--out", "/dev/null").code == 2
    assert not drawn.exists()


def test_sources_that_cannot_be_read_again_are_refused(vidmill, models, tmp_path):
    path = tmp_path / "out.jsonl"
    for source in ("-", "http://127.0.0.1:9/clip.mp4"):
        done = vidmill("run", source, "--model", models / "yolov8.onnx", "--out", path, "--resume")
        assert done.code == 2 and source in done.err
    assert not path.exists()


def test_another_run_that_still_goes_on_is_left_alone(vidmill, films, models, tmp_path):
    path, long = tmp_path / "out.jsonl", tmp_path / "long.mkv"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 60, "-i", films / "b.mkv", "-c", "copy", long)
    command = ("run", long, "--model", models / "yolov8.onnx", "--out", path)
    process = vidmill.start(*command)
    try:
        while not path.exists() or path.stat().st_size < 1000:
            assert process.poll() is None
            time.sleep(0.01)
        done = vidmill(*command, "--resume")
        assert process.poll() is None, "the test is about a run that goes on"
        assert done.code == 1 and "another run" in done.err
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    frames = [record["frame"] for record in support.read_jsonl(path)]
    assert frames == list(range(len(frames)))
