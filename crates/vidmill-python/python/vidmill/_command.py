"""The `vidmill` command."""

import signal
import sys

from vidmill import _vidmill


def main() -> int:
    """Runs the command with the arguments of this process; returns its exit code."""
    # The command listens for signals itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _vidmill.command(sys.argv)
