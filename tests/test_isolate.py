"""Worker processes: whatever befalls them, what comes out is what an undisturbed run in one process gives."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest
import support

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WORKERS = 2
WHITE = [5, 6, 17]
ISOLATE = ("--isolate", "--workers", WORKERS, "--progress", "off")
MIB = 1 << 20


def workers_of(run):
    """The worker processes that a run has started and that still live, also when the run itself does not."""

    def belongs(process):
        try:
            return process.environ().get("VIDMILL_POOL_WORKER") == str(run.pid)
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if process.pid != run.pid and belongs(process)]


def send(number, processes):
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def children_of(run):
    """The same of a run that has not been waited for, quickly; some may be dead."""
    return psutil.Process(run.pid).children() if run.poll() is None else []


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.005)


def assert_nothing_left(run, shared_before, seconds=2):
    assert run.returncode is not None
    wait_for(lambda: not workers_of(run), seconds)
    assert support.shared_memory() <= shared_before


def limited(what, most):
    """What a child process does before it begins, so that it may have no more."""
    return lambda: resource.setrlimit(what, (most, most))


def size(path):
    return path.stat().st_size if path.exists() else 0


def loop(clip, times, path):
    support.tool("ffmpeg", "-v", "error", "-stream_loop", times - 1, "-i", clip, "-c", "copy", path)
    return path


def whiten(clip, frames, path):
    white = "+".join(f"eq(n\\,{frame})" for frame in frames)
    white = f"drawbox=c=white:t=fill:enable='{white}'"
    support.tool("ffmpeg", "-v", "error", "-i", clip, "-vf", white, "-c:v", "ffv1", path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("isolate")


@pytest.fixture(scope="module")
def film(clips, made):
    """240 frames."""
    return loop(clips / "h264.mp4", 10, made / "film.mkv")


@pytest.fixture(scope="module")
def long_film(clips, made):
    """4800 frames."""
    return loop(clips / "h264.mp4", 200, made / "long.mkv")


@pytest.fixture(scope="module")
def flashes(clips, made):
    """24 frames, three of which are white."""
    return whiten(clips / "h264.mp4", WHITE, made / "flashes.mkv")


@pytest.fixture(scope="module")
def plain(vidmill, made):
    """plain(arguments...) is the output of an undisturbed run in one process: records, and lines of JSON."""
    known = {}

    def run(*arguments, out="out.jsonl"):
        key = (*map(str, arguments), out)
        if key not in known:
            path = made / f"plain{len(known)}" / out
            done = vidmill("run", *arguments, "--out", path)
            assert done.code == 0, done.err
            known[key] = path
        return known[key]

    return run


@pytest.fixture
def start(vidmill):
    """start(arguments...) starts a run with worker processes; it is ended with the test."""
    runs = []

    def begin(*arguments, **options):
        runs.append(vidmill.start("run", *arguments, *ISOLATE, **options))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()
        run.wait()
        run.stdout.close()
        run.stderr.close()


def manifest_of(path):
    return json.loads(Path(f"{path}.manifest.json").read_text())


def assert_same(path, whole):
    """The same records; a balanced ledger, which counts the same."""
    if path.suffix == ".parquet":
        assert pyarrow.parquet.read_table(path).equals(pyarrow.parquet.read_table(whole))
    else:
        assert path.read_bytes() == whole.read_bytes()
    manifest = manifest_of(path)
    support.assert_balanced(manifest["ledger"])
    assert manifest["ledger"] == manifest_of(whole)["ledger"]
    assert manifest["complete"] and not manifest["interrupted"] and manifest["error"] is None


# --- the same results ---


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.json", "out.parquet"])
def test_every_format_is_the_same(vidmill, plain, film, models, tmp_path, out):
    run = (film, "--model", models / "yolov8.onnx")
    done = vidmill("run", *run, *ISOLATE, "--out", tmp_path / out)
    assert done.code == 0, done.err
    assert_same(tmp_path / out, plain(*run, out=out))
    manifest = manifest_of(tmp_path / out)
    assert manifest["parallelism"]["isolated"] and manifest["worker_processes"]["started"] == WORKERS


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("yolov8_dynamic_batch", ("--batch", 4)),
        ("yolov8_dynamic_batch", ("--batch", 7, "--every", 3)),
        ("yolov8_batch4", ("--every", 5)),
        ("yolov8_u8_nhwc", ()),
        ("yolov8_dynamic", ("--batch", 2, "--imgsz", 96)),
        # Results of more than a message holds.
        ("yolov8_dynamic_batch", ("--batch", 8, "--conf", 0, "--iou", 1, "--max-det", 5000)),
        ("yolov8", ("--recycle", 3)),
    ],
)
def test_every_batch_size_is_the_same(vidmill, plain, clips, models, tmp_path, model, options):
    run = (clips / "h264.mp4", "--model", models / f"{model}.onnx")
    done = vidmill("run", *run, *ISOLATE, *options, "--out", tmp_path / "out.jsonl")
    assert done.code == 0, done.err
    assert_same(tmp_path / "out.jsonl", plain(*run, *(options if "--recycle" not in options else ())))


def test_several_sources_and_pictures_are_the_same(vidmill, plain, clips, models, tmp_path):
    sources = (clips / "vfr.mp4", clips / "images_png", clips / "hevc.mp4", clips / "rotate90.mp4")
    run = (*sources, "--model", models / "yolov8_dynamic_batch.onnx", "--batch", 4)
    done = vidmill("run", *run, *ISOLATE, "--out", tmp_path / "out.jsonl")
    assert done.code == 0, done.err
    assert_same(tmp_path / "out.jsonl", plain(*run))
    one_each = tmp_path / "one_each"
    assert vidmill("run", *run, *ISOLATE, "--out", one_each).code == 0
    assert vidmill("run", *run, "--out", tmp_path / "plain").code == 0
    files = sorted(path.name for path in one_each.glob("*.jsonl"))
    assert len(files) == len(sources)
    for name in files:
        assert_same(one_each / name, tmp_path / "plain" / name)


def test_annotated_frames_are_the_same(vidmill, plain, clips, models, made, tmp_path):
    run = (clips / "vfr.mp4", "--model", models / "yolov8.onnx")
    whole = plain(*run, "--annotate", made / "boxes.mp4")
    done = vidmill("run", *run, *ISOLATE, "--out", tmp_path / "out.jsonl", "--annotate", tmp_path / "boxes.mp4")
    assert done.code == 0, done.err
    assert_same(tmp_path / "out.jsonl", whole)
    hashes = ("-f", "framemd5", "-")  # each with its timestamp
    before, after = (support.tool("ffmpeg", "-v", "error", "-i", path / "boxes.mp4", *hashes) for path in (made, tmp_path))
    assert before == after


# --- killed workers ---


class Resources:
    """What a process holds, looked at again and again."""

    def __init__(self, run):
        self.folder, self.seen = Path("/proc") / str(run.pid), []

    def look(self):
        try:
            maps = (self.folder / "maps").read_text().count("memfd:")
            counts = [len(os.listdir(self.folder / name)) for name in ("fd", "task")]
        except OSError:
            return
        self.seen.append((*counts, maps))

    def assert_steady(self):
        """Descriptors, threads and mappings: in the second half no more than in the first."""
        half = len(self.seen) // 2
        assert half > 3
        first, second = (list(map(max, zip(*part))) for part in (self.seen[:half], self.seen[half:]))
        # A worker that is being started takes a few descriptors for a moment.
        assert all(after <= before + 6 for before, after in zip(first, second)), (first, second)


def kill_often(run, chance, pause, most):
    """Kills `most` workers, at random, one after each pause, and waits for the run's end.

    Returns how many it killed before that end, and what the run held meanwhile.
    """
    kills, held = 0, Resources(run)
    while run.poll() is None:
        time.sleep(chance.uniform(*pause))
        children = children_of(run) if kills < most else []
        if children:
            send(signal.SIGKILL, [chance.choice(children)])
            kills += 1
            held.look()
    return kills, held


@pytest.fixture
def chance(request):
    # VIDMILL_SEED picks other moments.
    return random.Random(request.node.name + os.environ.get("VIDMILL_SEED", ""))


def test_killed_workers_cost_nothing(start, plain, chance, long_film, models, tmp_path):
    before, out = support.shared_memory(), tmp_path / "out.jsonl"
    command = (long_film, "--model", models / "yolov8_dynamic.onnx", "--imgsz", 320, "--conf", 0.6)
    whole = plain(*command)
    run = start(*command, "--out", out)
    kills, held = kill_often(run, chance, (0.05, 0.3), most=40)
    assert run.returncode == 0, run.stderr.read()
    assert kills > 24, "the run was too short"
    assert_same(out, whole)
    assert manifest_of(out)["worker_processes"]["started"] > WORKERS + kills / 2
    held.assert_steady()
    assert_nothing_left(run, before)


def test_workers_killed_one_after_the_other_cost_nothing(start, plain, chance, film, models, tmp_path):
    """No pause at all, as long as that lasts: also while they start."""
    out = tmp_path / "out.jsonl"
    command = (film, "--model", models / "yolov8_dynamic_batch.onnx", "--batch", 4)
    run = start(*command, "--out", out)
    kills, _ = kill_often(run, chance, (0, 0.02), most=60)
    assert run.returncode == 0, run.stderr.read()
    assert kills == 60, "the run was too short"
    assert_same(out, plain(*command))


def test_workers_that_are_always_killed_end_the_run(start, film, models, tmp_path):
    """When no worker ever lives to its first result, that is told."""
    before, out = support.shared_memory(), tmp_path / "out.jsonl"
    run = start(film, "--model", models / "yolov8.onnx", "--out", out)
    while run.poll() is None:
        send(signal.SIGKILL, children_of(run))
        time.sleep(0.001)
    message = run.stderr.read()
    assert run.returncode == 1 and "SIGKILL" in message and "200 times" in message, message
    assert_nothing_left(run, before)


def test_signals_to_workers_alone_change_nothing(start, plain, film, models, tmp_path):
    """The run decides when a worker ends."""
    out = tmp_path / "out.jsonl"
    command = (film, "--model", models / "yolov8.onnx")
    run = start(*command, "--out", out)
    while run.poll() is None:
        if size(out):  # by now they listen
            send(signal.SIGINT, children_of(run))
            send(signal.SIGTERM, children_of(run))
        time.sleep(0.05)
    assert run.returncode == 0, run.stderr.read()
    assert_same(out, plain(*command))
    assert manifest_of(out)["worker_processes"]["started"] == WORKERS


def test_replacing_workers_leaks_nothing(start, plain, film, models, tmp_path):
    out = tmp_path / "out.jsonl"
    command = (film, "--model", models / "yolov8.onnx")
    run = start(*command, "--recycle", 6, "--out", out)
    held = Resources(run)
    while run.poll() is None:
        held.look()
        time.sleep(0.02)
    assert run.returncode == 0, run.stderr.read()
    assert_same(out, plain(*command))
    assert manifest_of(out)["worker_processes"]["started"] >= 240 / 6
    held.assert_steady()


# --- hung and greedy workers ---


def test_a_stopped_worker_is_replaced(start, plain, long_film, models, tmp_path):
    out = tmp_path / "out.jsonl"
    command = (long_film, "--model", models / "yolov8_dynamic.onnx", "--imgsz", 320, "--conf", 0.6, "--every", 2)
    run = start(*command, "--timeout", 1, "--out", out)
    wait_for(lambda: size(out) > 1000)
    first, second = children_of(run)
    first.suspend()
    wait_for(lambda: not first.is_running())
    second.suspend()
    run.wait(60)
    assert run.returncode == 0, run.stderr.read()
    assert_same(out, plain(*command))
    assert manifest_of(out)["worker_processes"]["started"] == WORKERS + 2


def test_a_stopped_run_goes_on(start, plain, long_film, models, tmp_path):
    """As after Ctrl-Z: time that passes meanwhile is nobody's fault."""
    out = tmp_path / "out.jsonl"
    command = (long_film, "--model", models / "yolov8_dynamic.onnx", "--imgsz", 320, "--conf", 0.6, "--every", 2)
    run = start(*command, "--timeout", 1, "--out", out)
    wait_for(lambda: size(out) > 1000)
    for _ in range(2):
        run.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        run.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    run.wait(60)
    assert run.returncode == 0, run.stderr.read()
    assert_same(out, plain(*command))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(
    ("model", "option", "cause"),
    [
        ("yolov8_hangs", ("--timeout", 1), "more than 1.000 s"),
        ("yolov8_grows", ("--worker-memory", "200M"), "200 are allowed"),
    ],
    ids=["hangs", "grows"],
)
def test_a_frame_that_takes_its_worker_with_it_fails_alone(
    start, plain, flashes, models, tmp_path, model, option, cause, batch
):
    out = tmp_path / "out.jsonl"
    command = (flashes, "--model", models / f"{model}.onnx", "--batch", batch)
    # Should nobody watch its memory, the machine's is not at stake.
    run = start(*command, *option, "--out", out, preexec_fn=limited(resource.RLIMIT_AS, 4 << 30))
    run.wait(60)
    assert run.returncode == 3, run.stderr.read()
    expected = support.read_jsonl(plain(flashes, "--model", models / "yolov8_dynamic_batch.onnx", "--batch", batch))
    records = support.read_jsonl(out)
    assert [r["frame"] for r in records] == [r["frame"] for r in expected]
    failed = [r for r in records if r["status"] == "failed"]
    assert [r["frame"] for r in failed] == WHITE
    assert all(cause in r["error"] and r["attempts"] == 3 for r in failed), failed
    others = [r for r in records if r["status"] == "ok"]
    assert others == [r for r in expected if r["frame"] not in WHITE]
    manifest = manifest_of(out)
    support.assert_balanced(manifest["ledger"])
    assert manifest["ledger"]["failed"] == len(WHITE) and manifest["complete"]
    assert [failure["frame"] for failure in manifest["failures"]] == WHITE


def test_a_whole_scene_of_such_frames_does_not_end_the_run(vidmill, plain, clips, models, tmp_path):
    white = list(range(5, 12))
    scene, out = whiten(clips / "h264.mp4", white, tmp_path / "scene.mkv"), tmp_path / "out.jsonl"
    done = vidmill("run", scene, "--model", models / "yolov8_hangs.onnx", *ISOLATE, "--timeout", 0.5, "--out", out)
    assert done.code == 3, done.err
    expected = support.read_jsonl(plain(scene, "--model", models / "yolov8_dynamic_batch.onnx"))
    records = support.read_jsonl(out)
    assert [r["frame"] for r in records if r["status"] == "failed"] == white
    assert [r for r in records if r["status"] == "ok"] == [r for r in expected if r["frame"] not in white]
    support.assert_balanced(manifest_of(out)["ledger"])


def test_a_model_that_takes_every_worker_with_it_ends_the_run(vidmill, clips, models, tmp_path):
    scene, out = whiten(clips / "h264.mp4", range(24), tmp_path / "white.mkv"), tmp_path / "out.jsonl"
    done = vidmill("run", scene, "--model", models / "yolov8_hangs.onnx", *ISOLATE, "--timeout", 0.3, "--out", out)
    assert done.code == 1 and "20 items in a row were given up" in done.err, done.err
    records = support.read_jsonl(out)
    assert [r["frame"] for r in records] == list(range(len(records)))
    assert all(r["status"] == "failed" and r["attempts"] == 3 for r in records)
    support.assert_balanced(manifest_of(out)["ledger"])


def test_a_memory_limit_that_no_worker_can_keep_is_told(vidmill, film, centernet, tmp_path):
    done = vidmill("run", film, "--model", centernet, *ISOLATE, "--worker-memory", "2M", "--out", tmp_path / "out.jsonl")
    assert done.code == 1 and "2 are allowed" in done.err, done.err


# --- the end of the run itself ---


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_killing_the_run_leaves_nothing_and_it_can_go_on(vidmill, start, plain, long_film, models, tmp_path, name):
    before, out = support.shared_memory(), tmp_path / name
    command = (long_film, "--model", models / "yolov8.onnx", "--every", 4)
    whole = plain(*command, out=name)
    written = Path(f"{out}.partial.jsonl") if name.endswith(".parquet") else out
    run = start(*command, "--out", out)
    wait_for(lambda: size(written) > 1000)
    workers = workers_of(run)
    assert len(workers) == WORKERS
    workers[0].suspend()
    run.kill()
    run.wait()
    assert_nothing_left(run, before)
    # In one process, or in several.
    done = vidmill("run", *command, *(ISOLATE if name == "out.jsonl" else ()), "--resume", "--out", out)
    assert done.code == 0, done.err
    assert_same(out, whole)


def test_ending_the_run_while_workers_start_leaves_nothing(start, chance, long_film, models, tmp_path):
    before = support.shared_memory()
    for number in 12 * (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        run = start(long_film, "--model", models / "yolov8.onnx", "--out", tmp_path / "out.jsonl", start_new_session=True)
        time.sleep(chance.uniform(0, 0.1))
        os.killpg(run.pid, number)
        run.wait(20)
        # Before it listens, a signal ends it as it ends any program.
        assert run.returncode in (CODES.get(number), -number), run.stderr.read()
        assert_nothing_left(run, before)


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_interrupted_at_any_moment_it_can_go_on(vidmill, start, plain, chance, long_film, models, tmp_path, number):
    """The signal goes to the whole group, as a terminal sends it."""
    before, out = support.shared_memory(), tmp_path / "out.jsonl"
    command = (long_film, "--model", models / "yolov8.onnx", "--out", out)
    whole = plain(*command[:-2])
    for turn in range(6):
        run = start(*command, *(("--resume",) if turn else ()), start_new_session=True)
        if turn < 3:
            time.sleep(chance.uniform(0, 0.4))
        else:
            begun = size(out)
            wait_for(lambda: size(out) > begun + 500 or run.poll() is not None)
        if run.poll() is None:
            os.killpg(run.pid, number)
        run.wait(20)
        message = run.stderr.read()
        # Before it listens, a signal ends it as it ends any program.
        assert run.returncode in (CODES[number], -number, 0), message
        assert "panicked" not in message, message
        assert_nothing_left(run, before)
        if out.exists():
            assert all(json.loads(line) for line in out.read_text().splitlines())
    assert vidmill("run", *command, *ISOLATE, "--resume").code == 0
    assert_same(out, whole)


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_second_signal_ends_it_at_once(start, flashes, models, tmp_path, number):
    """The first waits for what is in flight: here for a frame that never ends."""
    before, out = support.shared_memory(), tmp_path / "out.jsonl"
    run = start(flashes, "--model", models / "yolov8_hangs.onnx", "--out", out, start_new_session=True)
    wait_for(lambda: out.exists() and len(workers_of(run)) == WORKERS)
    time.sleep(1)
    os.killpg(run.pid, number)
    time.sleep(0.5)
    assert run.poll() is None
    begun = time.monotonic()
    os.killpg(run.pid, number)
    run.wait(5)
    assert time.monotonic() - begun < 1
    assert run.returncode == CODES[number]
    assert_nothing_left(run, before)


def test_a_reader_that_goes_away_leaves_nothing(start, long_film, models):
    """`vidmill run --isolate ... | head -1`"""
    before = support.shared_memory()
    run = start(long_film, "--model", models / "yolov8.onnx")
    assert json.loads(run.stdout.readline())["frame"] == 0
    run.stdout.close()
    run.wait(10)
    assert run.returncode == 1 and "panicked" not in run.stderr.read()
    assert_nothing_left(run, before)


# --- what cannot be used, and what there is too little of ---


@pytest.mark.parametrize("what", ["missing", "folder", "empty", "text", "no detector", "runtime", "device", "batch"])
def test_what_cannot_be_used_is_told_as_in_one_process(vidmill, film, models, tmp_path, what):
    model, options = models / "yolov8.onnx", ()
    if what in ("missing", "folder", "empty", "text"):
        model = tmp_path / "model.onnx"
    if what == "folder":
        model.mkdir()
    elif what in ("empty", "text"):
        model.write_text("" if what == "empty" else "This is no model.\n" * 100)
    elif what == "no detector":
        model = models / "embedding.onnx"
    elif what == "runtime":
        options = ("--onnxruntime", "/nonexistent")
    elif what == "device":
        options = ("--device", "cuda:99")
    elif what == "batch":
        options = ("--batch", 3)
    command = ("run", film, "--model", model, *options, "--progress", "off", "--out", tmp_path / "out.jsonl")
    threads, processes = vidmill(*command), vidmill(*command, "--isolate", timeout=20)
    assert (processes.code, processes.err) == (threads.code, threads.err)
    assert processes.code == 2 and not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("kills", [1, 7])
def test_workers_killed_at_their_start_are_replaced(start, plain, film, models, tmp_path, kills):
    out = tmp_path / "out.jsonl"
    command = (film, "--model", models / "yolov8.onnx")
    run = start(*command, "--out", out)
    for _ in range(kills):
        wait_for(lambda: children_of(run))
        send(signal.SIGKILL, children_of(run)[-1:])
    run.wait(30)
    assert run.returncode == 0, run.stderr.read()
    assert_same(out, plain(*command))


def test_few_descriptors_are_enough_or_it_is_told(start, plain, film, models, tmp_path):
    before, out = support.shared_memory(), tmp_path / "out.jsonl"
    command = (film, "--model", models / "yolov8.onnx")
    codes = []
    for limit in range(12, 28, 3):
        run = start(*command, "--out", out, preexec_fn=limited(resource.RLIMIT_NOFILE, limit))
        _, message = run.communicate(timeout=30)
        codes.append(run.returncode)
        assert "panicked" not in message, message
        assert_nothing_left(run, before)
        if run.returncode == 0:
            assert_same(out, plain(*command))
        else:
            assert run.returncode in (1, 2) and "Too many open files" in message, (limit, message)
    assert codes[0] != 0 and codes[-1] == 0


def test_slots_that_memory_is_too_small_for_are_told(vidmill, film, models, tmp_path):
    before, out = support.shared_memory(), tmp_path / "out.jsonl"
    many = ("--batch", 1024, "--imgsz", 4096)
    done = vidmill("run", film, "--model", models / "yolov8_dynamic.onnx", *many, *ISOLATE, "--out", out, timeout=20)
    assert done.code in (1, 2), done.err
    mib = (2 * WORKERS + 2) * 1024 * 3 * 4096 * 4096 * 4 // MIB
    assert f"{mib} MiB" in done.err and len(done.err.splitlines()) == 1, done.err
    assert not out.exists() and support.shared_memory() <= before


def test_a_limit_on_file_size_is_told(start, film, models, tmp_path):
    """It holds for shared memory, too."""
    before, out = support.shared_memory(), tmp_path / "out.jsonl"
    limit = limited(resource.RLIMIT_FSIZE, 100 << 10)
    run = start(film, "--model", models / "yolov8.onnx", "--out", out, preexec_fn=limit)
    _, message = run.communicate(timeout=20)
    assert run.returncode == 1 and "File too large" in message and "MiB" in message, message
    assert_nothing_left(run, before)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a full disk: this user may not mount file systems")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_the_run_with_whole_records(start, plain, long_film, models, small_disk):
    before, out = support.shared_memory(), small_disk / "out.jsonl"
    command = (long_film, "--model", models / "yolov8.onnx", "--every", 4)
    run = start(*command, "--out", out)
    _, message = run.communicate(timeout=30)
    assert run.returncode == 1 and "No space left" in message and str(out) in message, message
    assert_nothing_left(run, before)
    lines = out.read_bytes().splitlines(keepends=True)
    whole = plain(*command).read_bytes().splitlines(keepends=True)
    assert 10 < len(lines) < len(whole) and lines == whole[: len(lines)]
