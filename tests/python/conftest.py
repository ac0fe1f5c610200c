"""What the tests of the Python package share. They run in the interpreter that it is installed in."""

import os
import sys

import pytest
import support

try:
    import vidmill  # noqa: F401
except ImportError as error:
    raise pytest.UsageError(f"the Python package is not installed in {sys.prefix}: run make python ({error})") from None


@pytest.fixture(scope="session")
def bunny(assets):
    """A film: 1280x720, 132 frames."""
    return assets / "bigbuckbunny.mp4"


@pytest.fixture(scope="session")
def dark(bikes, tmp_path_factory):
    """The street with half of its frames darkened: for those the model `yolov8_nan` gives NaN."""
    path = tmp_path_factory.mktemp("dark") / "dark.mp4"
    support.tool(
        *("ffmpeg", "-v", "error", "-i", bikes, "-frames:v", 12),
        *("-vf", "eq=brightness=-0.6:enable='eq(mod(floor(n/3),2),1)'", "-c:v", "libx264", path),
    )
    return path


@pytest.fixture
def descriptors():
    """descriptors(path) tells how many of this process's descriptors are open on a file."""
    def count(path):
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        real = os.path.realpath(path)
        return sum(os.path.exists(link) and os.path.realpath(link) == real for link in links)

    return count
