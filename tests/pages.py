"""The programs of docs/FROM_CV2.md."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "FROM_CV2.md"
BLOCK = re.compile(r"^(?:<!-- (?P<marker>.*?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def sections():
    """Each section's title and its blocks: (marker, code)."""
    for section in PAGE.read_text().split("\n## ")[1:]:
        title, text = section.split("\n", 1)
        blocks = [(block["marker"] or "", block["code"]) for block in BLOCK.finditer(text) if block["language"] == "python"]
        yield title, blocks


def titles(needs_torch):
    return [title for title, blocks in sections() if any(marker == "torch" for marker, _ in blocks) == needs_torch]


def outputs(title, folder, **environment):
    """What the section's programs print, each run by itself in `folder`."""
    [blocks] = [blocks for name, blocks in sections() if name == title]
    printed = []
    for number, (marker, code) in enumerate(blocks):
        if marker.startswith("file: "):
            (folder / marker.removeprefix("file: ")).write_text(code)
            continue
        script = folder / f"program_{number}.py"
        script.write_text(code)
        command = [sys.executable, script.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert done.returncode == 0, f"program {number + 1} of {title}:\n{done.stderr}"
        printed.append(done.stdout)
    return printed
