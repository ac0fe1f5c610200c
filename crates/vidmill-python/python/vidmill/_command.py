"""The `vidmill` command."""

import os
import signal
import sys

from vidmill import _vidmill


def main() -> int:
    """Runs the command with the arguments of this process; returns its exit code."""
    # The command listens for signals itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Also for worker processes, which do not look at Python's packages.
    for name, library in (
        ("VIDMILL_ONNXRUNTIME", _vidmill.runtime_library()),
        ("VIDMILL_OPENVINO", _vidmill.openvino_library()),
    ):
        if library is not None:
            os.environ[name] = str(library)
    return _vidmill.command(sys.argv)
