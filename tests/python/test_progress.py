"""How far a run has come, as a person sees it: in a terminal that is a pseudo-terminal, in a notebook, and nowhere else."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import types

import pytest
import support
import vidmill
from vidmill import _progress

BAR = re.compile(r"(\S+) \[(=*)(>?)( *)\] (\d+)/(\d+) (\d+\.\d)/s(?:, (\d+) failed)? left (\d+[ywdhms])")


class Screen:
    """What a terminal of so many columns shows of what was written to it: all lines, the last one perhaps unfinished."""

    def __init__(self, columns):
        self.columns, self.lines, self.column, self.bars = columns, [""], 0, []

    def write(self, text):
        for sign in text:
            if sign == "\n":
                self.lines.append("")
                self.column = 0
            elif sign == "\r":
                self._remember()
                self.column = 0
            else:
                assert sign.isprintable(), f"{sign!r} would not be understood everywhere"
                assert self.column < self.columns, "a line was longer than the terminal is wide"
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[: self.column] + sign + line[self.column + 1 :]
                self.column += 1

    def _remember(self):
        if BAR.match(self.lines[-1]):
            self.bars.append(self.lines[-1].rstrip())

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.lines)


def in_terminal(*command, columns=250, interrupt_at=None, timeout=60, stdin=b""):
    """Runs a command whose terminal this is; returns its exit code and what the terminal shows in the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST  # line feeds come as they were written
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    process = subprocess.Popen(list(map(str, command)), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.write(ours, stdin)
    screen, end, data = Screen(columns), time.monotonic() + timeout, b""
    try:
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # nobody has it open any more
                break
            data += chunk
            screen.write(chunk.decode())
            if interrupt_at is not None and interrupt_at in data:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
            assert time.monotonic() < end, screen.text
        return process.wait(timeout), screen
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture(scope="module")
def clip(clips, tmp_path_factory):
    """The real clip some times over: it is shown several times before it is done."""
    path = tmp_path_factory.mktemp("some") / "some.mp4"
    support.tool("ffmpeg", "-v", "error", "-stream_loop", 11, "-i", clips / "h264.mp4", "-c", "copy", path)
    return path


@pytest.fixture
def script(clip, models, tmp_path):
    """script(body) runs a program in a terminal: `run` is a run, `stdout` is what was there."""

    def start(body, model="yolov8", options="", source=clip, **settings):
        lines = ["import sys, time, vidmill"]
        lines += [f"run = vidmill.run({str(source)!r}, {str(models / f'{model}.onnx')!r}, workers=1, {options})", body]
        path = tmp_path / "program.py"
        path.write_text("\n".join(lines))
        return in_terminal(sys.executable, path, **settings)

    return start


def test_a_terminal_shows_what_the_command_shows(script, clip, models, binary, tmp_path):
    code, ours = script("for result in run: time.sleep(0.005)")
    assert code == 0 and ours.text == ""
    code, theirs = in_command(binary, clip, models, tmp_path)
    assert code == 0
    for bars in (ours.bars, theirs):
        parts = [BAR.fullmatch(bar) for bar in bars]
        assert len(parts) > 2 and all(parts), bars
        for match in parts:
            name, full, head, rest, decoded, length, *_ = match.groups()
            assert name == "some.mp4" and len(full + head + rest) == 30
            done = int(decoded) / int(length)
            assert len(full) == int(done * 30) and bool(head) == (0 < done < 1)
        counts = [int(match[5]) for match in parts]
        assert counts == sorted(counts) and counts[-1] > counts[0]


def in_command(binary, clip, models, folder):
    """The command's own bar, without the escape sequences that it moves the cursor with."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [binary, "run", clip, "-m", models / "yolov8.onnx", "-o", folder / "out.jsonl", "--workers", 1, "--threads", 1]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        data = b""
        try:
            while chunk := os.read(ours, 4096):
                data += chunk
        except OSError:
            pass
        os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", data.decode())
    return process.returncode, [part.rstrip() for part in re.split(r"[\r\n]+", text) if BAR.match(part)]


def test_what_is_printed_goes_above_it(script):
    code, screen = script(
        "for number, result in enumerate(run):\n"
        "    time.sleep(0.005)\n"
        "    if number % 20 == 0: print('frame', result.frame)\n"
        "    if number % 50 == 0: print('note', result.frame, file=sys.stderr)\n"
        "print('done')"
    )
    assert code == 0 and len(screen.bars) > 2
    lines = screen.text.split("\n")
    frames = [line for line in lines if line.startswith("frame")]
    assert frames == [f"frame {number}" for number in range(0, 20 * len(frames), 20)] and len(frames) > 10
    assert all(re.fullmatch(r"(frame|note) \d+|done|", line) for line in lines), lines
    assert lines[-2:] == ["done", ""]


def test_a_line_that_is_not_ended_is_left_alone(script):
    code, screen = script(
        "for number, result in enumerate(run):\n"
        "    if number == 5: time.sleep(0.2)\n"
        "    if number == 6: answer = input('go on? '); print('answer', answer)\n"
        "    if number == 10: print('half', end='', flush=True)\n"
        "    if number == 20: time.sleep(0.3)\n"
        "    if number == 30: print(' a line')\n"
        "    time.sleep(0.005)\n",
        stdin=b"yes\n",
    )
    assert code == 0 and screen.bars
    assert screen.text == "go on? answer yes\nhalf a line\n"


def test_exceptions_find_a_clean_line(script):
    loop = "for result in run: time.sleep(0.01); 1 / (result.frame - 40)"
    for body in (loop, f"with run:\n    {loop}"):
        code, screen = script(body)
        assert code == 1 and screen.bars
        lines = screen.text.split("\n")
        assert lines[0] == "Traceback (most recent call last):" and lines[-2].startswith("ZeroDivisionError"), lines


def test_ctrl_c_finds_a_clean_line(script):
    code, screen = script("for result in run:\n    time.sleep(0.005)", interrupt_at=b"=>")
    assert code == -signal.SIGINT and screen.bars
    lines = screen.text.split("\n")
    assert lines[0] == "Traceback (most recent call last):" and lines[-2] == "KeyboardInterrupt", lines


def test_a_run_that_is_let_go_of_leaves_a_clean_line(script):
    body = "for result in run:\n    time.sleep(0.01)\n    if result.frame == 60: break\n"
    for rest in ("del run, result\nassert sys.stdout is sys.__stdout__\nprint('done')", "run.close()\nprint('done')", "sys.exit('done')"):
        code, screen = script(body + rest)
        assert code == (1 if "exit" in rest else 0) and screen.bars
        assert screen.text == "done\n"


def test_streams_are_as_they_were(script):
    code, screen = script(
        "before = sys.stdout, sys.stderr\n"
        "for result in run:\n"
        "    time.sleep(0.005)\n"
        "    during = sys.stdout\n"
        "    if result.frame == 60:\n"
        "        assert during.isatty() and during.fileno() == 1 and during.writable() and during.encoding == 'utf-8', during\n"
        "        during.buffer.write(b'bytes\\n'); during.buffer.flush()\n"
        "assert (sys.stdout, sys.stderr) == before\n"
        "print('kept', file=during)\n"
    )
    assert code == 0 and screen.text == "bytes\nkept\n"


def test_failed_frames_are_counted(script, dark):
    code, screen = script("for result in run: time.sleep(0.05)", model="yolov8_nan", source=dark)
    assert code == 0 and re.search(r"/s, [1-9]\d* failed left", screen.bars[-1])


def test_narrow_terminals_and_odd_names(script, clip, tmp_path):
    wide = tmp_path / "街道\x1b[2J.mp4"
    wide.symlink_to(clip)
    for columns in (200, 60, 12):
        code, screen = script("for result in run: time.sleep(0.005)", source=wide, columns=columns)
        assert code == 0 and screen.text == ""


def test_two_runs_share_the_line(script, clip, models):
    other = f"vidmill.run({str(clip)!r}, {str(models / 'yolov8.onnx')!r}, workers=1)"
    code, screen = script(f"for pair in zip(run, {other}): time.sleep(0.005)\nprint('done')")
    assert code == 0 and screen.bars and screen.text == "done\n"


def test_it_is_shown_nowhere_else(clips, models, capfd, script):
    list(vidmill.run(clips / "h264.mp4", models / "yolov8.onnx"))
    list(vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", progress=False))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    code, screen = script("for result in run: time.sleep(0.005)", options="progress=False")
    assert code == 0 and not screen.bars and screen.text == ""
    with pytest.raises(ValueError, match="progress='yes': give"):
        vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", progress="yes")


def test_where_it_is_asked_for_it_is_lines(clips, models, capfd):
    list(vidmill.run(clips / "h264.mp4", models / "yolov8.onnx", progress=True))
    lines = capfd.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    last = BAR.fullmatch(lines[-1])
    assert last and last[1] == "h264.mp4" and last[5] == last[6]


def test_a_notebook_has_an_output_that_is_updated(clips, models, monkeypatch, capfd):
    shown = []

    class Handle:
        def update(self, data, raw):
            assert raw
            shown.append(data)

    def display(data, raw, display_id):
        assert raw and display_id is True and not shown
        shown.append(data)
        return Handle()

    notebook = types.ModuleType("IPython")
    notebook.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    notebook.display = types.ModuleType("IPython.display")
    notebook.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook.display)
    for result in vidmill.run(clips / "h264.mp4", models / "yolov8.onnx"):
        time.sleep(0.02)
    assert len(shown) > 2
    assert BAR.fullmatch(shown[-1]["text/plain"])[5] == BAR.fullmatch(shown[-1]["text/plain"])[6]
    assert shown[-1]["text/html"].startswith('<progress max="1" value="1.0000"></progress> <code>h264.mp4 ')
    assert capfd.readouterr().err == ""
    # IPython in a terminal is no notebook.
    notebook.get_ipython = lambda: types.SimpleNamespace()
    count = len(shown)
    list(vidmill.run(clips / "h264.mp4", models / "yolov8.onnx"))
    assert len(shown) == count


def test_a_terminal_that_goes_away_does_not_fail_the_run(clips, models, monkeypatch):
    class Gone(io.StringIO):
        def isatty(self):
            return True

        def write(self, text):
            raise OSError("gone")

    monkeypatch.setattr(sys, "stderr", Gone())
    assert len(list(vidmill.run(clips / "h264.mp4", models / "yolov8.onnx"))) > 10


@pytest.mark.parametrize("seconds, text", [(0.2, "0s"), (7, "7s"), (89, "89s"), (90, "2m"), (3600, "60m"), (5400, "2h"), (1e5, "28h"), (3e5, "3d")])
def test_durations_are_as_the_command_tells_them(seconds, text):
    assert _progress._duration(seconds) == text
