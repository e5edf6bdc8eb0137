"""Functions of kernels have argument lists that a reader can check: named tuples hold what belongs together."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import megalabel.kernels

MOST = 12


def long_argument_lists(root: Path) -> Iterator[str]:
    """Functions with more than MOST parameters; Triton's kernels take no tuples in every supported version."""
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                arguments = node.args
                n = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
                jitted = any(ast.unparse(decorator).startswith("triton.jit") for decorator in node.decorator_list)
                if n > MOST and not jitted:
                    yield f"{file.relative_to(root).as_posix()}::{node.name} has {n}"


def test_no_function_of_kernels_has_more_than_twelve_parameters():
    assert list(long_argument_lists(Path(megalabel.kernels.__file__).parent)) == []


def test_a_long_argument_list_is_found(tmp_path):
    names = ", ".join(f"a{i}" for i in range(13))
    (tmp_path / "one.py").write_text(f"def long({names}): pass\n@triton.jit\ndef kernel({names}): pass\n")
    assert list(long_argument_lists(tmp_path)) == ["one.py::long has 13"]
