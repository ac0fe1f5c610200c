"""How far a run has come: one line in a terminal, one output in a notebook.

It is drawn where results are taken: before each, and some ten times a second while one is waited for. A thread would move the
line also while the caller works on a result, but just then the terminal is the caller's: a thread would write into a debugger's
prompt. So between results the line stands still, and makes room for whatever is printed.
"""

import html
import io
import os
import sys
import time
import unicodedata
import weakref
from pathlib import PurePath
from threading import RLock
from typing import Any, Literal, NamedTuple, Protocol, TextIO

Progress = Literal["auto"] | bool
"""Whether to show how far a run has come."""

_EVERY = 0.1
_EVERY_LINE = 10.0
_NEVER = float("inf")
"""Seconds between two drawings; where each takes a line of a log, more."""
_BAR = 30
_UNITS = (
    (365 * 24 * 3600, "y"),
    (7 * 24 * 3600, "w"),
    (24 * 3600, "d"),
    (3600, "h"),
    (60, "m"),
    (1, "s"),
)

# Two bars have no room in one line: while one is shown, others wait.
_shown: "weakref.ref[Bar] | None" = None


class State(NamedTuple):
    """What is told of a run at one moment."""

    name: str
    numbers: str
    fraction: float | None
    """How much is done, from 0 to 1; None where sources do not say how long they are."""

    def __str__(self) -> str:
        if self.fraction is None:
            return f"{self.name} {self.numbers}".lstrip()
        full = int(self.fraction * _BAR)
        bar = ("=" * full + ">" * (0 < self.fraction < 1)).ljust(_BAR)
        return f"{self.name} [{bar}] {self.numbers}"


class _Screen(Protocol):
    """Where a bar is shown."""

    every: float
    stays: bool
    """Whether what was shown last can be seen ever after."""

    def show(self, state: State) -> None:
        """Shows a state in place of the last one."""

    def end(self) -> None:
        """Shows no more."""


class Bar:
    """Shows how far one run has come, until `end`."""

    def __init__(self, screen: _Screen) -> None:
        self._screen = screen
        self._begin = time.monotonic()
        self._due = self._begin
        self._first: dict[str, Any] | None = None
        self._lock = RLock()  # one that a signal's handler may enter again

    def due(self) -> bool:
        """Whether it is time to draw."""
        return time.monotonic() >= self._due

    def draw(self, progress: dict[str, Any]) -> None:
        """Shows this `Run.progress`, unless another bar is being shown."""
        global _shown
        with self._lock:
            now = time.monotonic()
            self._due = now + self._screen.every
            other = _shown() if _shown is not None else None
            if other is not None and other is not self:
                return
            _shown = weakref.ref(self)
            self._first = self._first or progress
            try:
                self._screen.show(state_of(progress, self._first, now - self._begin))
            except (OSError, ValueError):
                # A terminal that has gone away, a stream that was closed: no reason for a run to fail.
                self.end()

    def end(self, progress: dict[str, Any] | None = None) -> None:
        """Leaves the terminal clean; more is not shown. `progress` is how far the run came."""
        global _shown
        with self._lock:
            if self._due == _NEVER:
                return
            if progress is not None and self._screen.stays:
                self.draw(progress)
            if _shown is not None and _shown() is self:
                _shown = None
            try:
                self._screen.end()
            except (OSError, ValueError):
                pass
            # Not before: an end that was interrupted is made again.
            self._due = _NEVER

    def __del__(self) -> None:
        # The run was let go of before its end.
        self.end()


def bar_for(progress: Progress) -> Bar | None:
    """What shows a run's progress here; None for nothing."""
    if progress != "auto" and not isinstance(progress, bool):
        raise ValueError(f'progress={progress!r}: give "auto", True or False')
    if progress is False:
        return None
    notebook = _notebook()
    if notebook is not None:
        return Bar(notebook)
    if sys.stderr is not None and sys.stderr.isatty():
        return Bar(_Terminal())
    return Bar(_Log()) if progress is True and sys.stderr is not None else None


def state_of(progress: dict[str, Any], first: dict[str, Any], seconds: float) -> State:
    """What is told of a `Run.progress`, of which `first` was the one `seconds` before: what the command tells."""
    decoded, expected, failed = progress["decoded"], progress["expected"], progress["failed"]
    name = _printable(PurePath(progress["source"]).name or progress["source"])
    if progress.get("open", 0) > 1:
        name += f" and {progress['open'] - 1} more"
    if expected == 0:
        return State(name, f"{decoded} frames", None)
    length = max(expected, decoded)
    rate = (progress["settled"] - first["settled"]) / max(seconds, 1e-3)
    speed = (decoded - first["decoded"]) / max(seconds, 1e-3)
    left = _duration((length - decoded) / speed) if speed > 0 else "0s"
    failures = f", {failed} failed" if failed else ""
    return State(name, f"{decoded}/{length} {rate:.1f}/s{failures} left {left}", decoded / length)


def _duration(seconds: float) -> str:
    """In the largest unit of which it is at least one and a half."""
    for (unit, sign), (below, _) in zip(_UNITS, _UNITS[1:], strict=False):
        if seconds + below / 2 >= unit * 1.5:
            return f"{max(round(seconds / unit), 2)}{sign}"
    return f"{round(seconds)}s"


def _printable(text: str) -> str:
    """What would move the cursor is not written."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


class _Terminal:
    """The last line of the terminal that standard error is."""

    every = _EVERY
    stays = False

    def __init__(self) -> None:
        stream = sys.stderr
        self._stream: TextIO = stream.stream if isinstance(stream, _Guard) else stream
        self._drawn = 0
        self._midline = False
        self._guards: list[tuple[str, _Guard]] = []
        self._lock = RLock()

    def show(self, state: State) -> None:
        with self._lock:
            if self._midline:
                return  # something was printed without a line's end: a prompt, perhaps
            self._guard()
            room = _columns(self._stream) - 1
            line = _cut(str(state), room)
            width = _width(line)
            before = self._drawn
            # Said first: an interrupt may come at any moment. And wide enough for its ^C.
            self._drawn = max(before, min(width + 2, room))
            # No escape sequences: every terminal knows the carriage return.
            self._stream.write("\r" + line + " " * (before - width))
            self._stream.flush()
            self._drawn = min(width + 2, room)

    def hide(self) -> None:
        """Makes room for what somebody is about to write."""
        with self._lock:
            if self._drawn:
                self._stream.write("\r" + " " * self._drawn + "\r")
                self._stream.flush()
                self._drawn = 0

    def written(self, text: str) -> None:
        """Something was written where the line would be."""
        if text:
            self._midline = not text.endswith(("\n", "\r"))

    def end(self) -> None:
        with self._lock:
            for name, guard in self._guards:
                # Somebody may have put a stream of their own there meanwhile, over ours.
                if getattr(sys, name) is guard:
                    setattr(sys, name, guard.stream)
            self._guards.clear()
            self.hide()

    def _guard(self) -> None:
        """From now on, what is printed goes above the line."""
        if self._guards:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Guard) and stream.isatty():
                guard = _Guard(stream, weakref.ref(self))
                self._guards.append((name, guard))
                setattr(sys, name, guard)


class _Guard(io.TextIOBase):
    """Standard output or error while a line is shown: the line goes before anything is written."""

    def __init__(self, stream: TextIO, terminal: "weakref.ref[_Terminal]") -> None:
        self.stream = stream
        # Else the streams would keep alive what a forgotten run has drawn.
        self._terminal = terminal

    def _hide(self) -> None:
        terminal = self._terminal()
        if terminal is not None:
            terminal.hide()

    def write(self, text: str) -> int:
        self._hide()
        written = self.stream.write(text)
        terminal = self._terminal()
        if terminal is not None:
            terminal.written(text)
        return written

    def flush(self) -> None:
        self._hide()  # what follows may go past us, as input() does with its prompt
        self.stream.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        self._hide()
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def __getattr__(self, name: str) -> Any:
        self._hide()
        return getattr(self.stream, name)


class _Log:
    """Standard error that is no terminal: lines, and few of them."""

    every = _EVERY_LINE
    stays = True

    def show(self, state: State) -> None:
        print(state, file=sys.stderr, flush=True)

    def end(self) -> None:
        pass


class _Notebook:
    """An output of a Jupyter notebook's, which stays."""

    every = _EVERY
    stays = True

    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None

    def show(self, state: State) -> None:
        value = "" if state.fraction is None else f' value="{state.fraction:.4f}"'
        told = html.escape(f"{state.name} {state.numbers}")
        data = {"text/plain": str(state), "text/html": f'<progress max="1"{value}></progress> <code>{told}</code>'}
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def end(self) -> None:
        pass


def _notebook() -> _Notebook | None:
    """A notebook's output, where this is one: IPython is there, and talks to a kernel."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    return _Notebook(display)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _width(text: str) -> int:
    """Columns that a text takes."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text if not unicodedata.combining(sign))


def _cut(text: str, columns: int) -> str:
    while _width(text) > max(columns, 0):
        text = text[:-1]
    return text
