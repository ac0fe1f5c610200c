"""What the documentation shows is run: the examples of all docstrings, and the pages' blocks of Python."""

import asyncio
import doctest
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import support
import vidmill
from onnx_graph import Graph

PAGES = ["README.md", "docs/PYTHON.md", "crates/vidmill-python/README.md"]
BLOCK = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
COCO = {0: "person", 1: "bicycle", 2: "car"} | {number: f"thing {number}" for number in range(3, 80)}
# Where each picture's person and car are, in pixels of the 640x640 input; a street of 640x272 lies in its middle.
FOUND = [((12, 224, 88, 394), 0, 0.91), ((300, 304, 420, 384), 2, 0.66)]



def has_examples(name):
    """Exceptions, and what nobody makes by hand, need none."""
    found = getattr(vidmill, name)
    return not (isinstance(found, type) and issubclass(found, Exception)) and name not in ("SharedArrayHandle", "__version__")


DOCUMENTED = [name for name in vidmill.__all__ if has_examples(name)]


def write_detector(path):
    """A detector of YOLOv8n's shapes that finds the same in all pictures, so that examples can tell what comes out."""
    output = np.zeros((1, 84, 8400), np.float32)
    for column, ((x1, y1, x2, y2), class_id, confidence) in enumerate(FOUND):
        output[0, :4, column] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        output[0, 4 + class_id, column] = confidence
    graph = Graph()
    images = graph.input("images", [1, 3, 640, 640])
    nothing = graph.emit("Mul", [graph.emit("ReduceMean", [images], keepdims=0), graph.float(0)])
    graph.output("output0", graph.emit("Add", [nothing, graph.constant(output)]), [1, 84, 8400])
    about = {"task": "detect", "stride": "32", "names": repr(COCO), "description": "Ultralytics YOLOv8n model"}
    path.write_bytes(graph.model("yolov8n", "test_docs", about).SerializeToString())


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "yolov8n.onnx"
    write_detector(path)
    return path


@pytest.fixture(autouse=True)
def folder(bikes, detector, tmp_path, monkeypatch):
    """A folder with the files that the documentation speaks of."""
    (tmp_path / "street.mp4").symlink_to(bikes)
    (tmp_path / "yolov8n.onnx").symlink_to(detector)
    monkeypatch.chdir(tmp_path)


def examples(name):
    """The examples of a public name's own docstring and of its methods'."""
    found = getattr(vidmill, name)
    names = {"vidmill": vidmill, "np": np}
    return [test for test in doctest.DocTestFinder(recurse=inspect.isclass(found)).find(found, name, module=False, globs=names) if test.examples]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstrings(name):
    tests = examples(name)
    assert any(test.name == name for test in tests), f"vidmill.{name} has no example"
    told = []
    for test in tests:
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert not told, "".join(told)


def run_blocks(page):
    """Runs a page's blocks in order, each after the one before; returns what they leave behind."""
    text = (support.ROOT / page).read_text()
    blocks = list(BLOCK.finditer(text))
    assert blocks
    names = {}
    for block in blocks:
        # Tracebacks tell the line of the page.
        above = "\n" * text.count("\n", 0, block.start("code"))
        if block["file"]:
            Path(block["file"]).write_text(block["code"])
            continue
        exec(compile(above + block["code"], page, "exec"), names)  # noqa: S102
    return names


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_pages(page):
    names = run_blocks(page)
    assert names["run"].manifest["complete"] and names["run"].manifest["ledger"]["failed"] == 0
    assert names["found"].class_name.tolist() == ["person", "car"]
    if page == "docs/PYTHON.md":
        asyncio.run(names["look"]())
        assert len(names["table"]) == 100
