"""docs/FROM_CV2.md: in every section, the usual program and vidmill's print the same."""

import os

import pages
import pytest
from test_docs import write_detector


@pytest.mark.parametrize("title", pages.titles(needs_torch=False))
def test_both_programs_print_the_same(title, bikes, tmp_path):
    (tmp_path / "street.mp4").symlink_to(bikes)
    write_detector(tmp_path / "yolov8n.onnx")
    usual, own = pages.outputs(title, tmp_path, **os.environ)
    assert usual.strip() and own == usual
