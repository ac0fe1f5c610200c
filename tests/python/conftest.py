"""What the tests of the Python package share. They run in the interpreter that it is installed in."""

import pytest

try:
    import vidmill as package
except ImportError as error:
    pytest.fail(f"the package is not installed: run tools/python_package.py ({error})", pytrace=False)


@pytest.fixture(scope="session")
def bunny(assets):
    """A film: 1280x720, 132 frames."""
    return assets / "bigbuckbunny.mp4"


@pytest.fixture
def descriptors():
    """descriptors(path) tells how many of this process's descriptors are open on a file."""
    import os

    def count(path):
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        real = os.path.realpath(path)
        return sum(os.path.exists(link) and os.path.realpath(link) == real for link in links)

    return count
