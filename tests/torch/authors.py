"""Functions of authors' packages without the packages: taken from their sources, which `tools/assets.py --test` puts into .assets/authors/.

Those packages want hundreds of megabytes of others to be so much as imported, while what they make of a model's outputs takes PyTorch or
NumPy alone.
"""

import __future__

import ast
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).resolve().parent.parent.parent / ".assets" / "authors"


def source(name: str) -> Path:
    path = (SOURCES / name).resolve()
    if not path.exists():
        pytest.skip(f"{name} is missing (tools/assets.py --test gets it)")
    return path


def take(name: str, *wanted: str, **given: Any) -> list[Any]:
    """Functions and classes of a source file, `Class.method` being a function as well, as they stand there; `given` is what they use beside
    each other."""
    tree = ast.parse(source(name).read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            methods = (inner for inner in node.body if isinstance(inner, ast.FunctionDef))
            found |= {f"{node.name}.{method.name}": method for method in methods}
    space = dict(given)
    result = []
    for one in wanted:
        # Annotations name types that nobody imported here.
        module = ast.Module([found[one]], [])
        flags = __future__.annotations.compiler_flag
        exec(compile(module, name, "exec", flags=flags, dont_inherit=True), space)
        result.append(space[one.rpartition(".")[2]])
    return result
