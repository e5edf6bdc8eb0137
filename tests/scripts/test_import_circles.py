"""Circles of imports are found wherever the import stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scripts import load_script

script = load_script("import_circles")


def package(folder: Path, files: dict[str, str]) -> Path:
    root = folder / "planted"
    for name, text in {"__init__.py": "", **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    return root


WAYS = {
    "at the top": "from planted.inner.b import x\n",
    "of a module": "from planted.inner import b\n",
    "by its whole name": "import planted.inner.b\n",
    "relative": "from .b import x\n",
    "relative, from above": "from ..inner.b import x\n",
    "inside a function": "def f():\n    from planted.inner.b import x\n    return x\n",
    "for types alone": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from planted.inner.b import x\n"
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_planted_circle_is_found(way, tmp_path, capsys) -> None:
    root = package(tmp_path, {"inner/a.py": WAYS[way], "inner/b.py": "from planted.inner.a import f\nx = 1\n"})
    assert script.circles(script.import_graph(root)) == [["planted.inner.a", "planted.inner.b", "planted.inner.a"]]
    assert script.main(root) == 1
    assert "planted.inner.b, line 1, imports planted.inner.a" in capsys.readouterr().out


def test_a_circle_through_what_dispatch_loads_is_found(tmp_path) -> None:
    code = 'from planted.dispatch import Operation\n_FAST = Operation(__package__, "a", ("cpu", "triton"))\n'
    files = {
        "inner/a.py": code,
        "inner/_triton/a.py": "from planted.inner.a import plain\n",
        "dispatch.py": "",
    }
    found = script.circles(script.import_graph(package(tmp_path, files)))
    assert found == [["planted.inner._triton.a", "planted.inner.a", "planted.inner._triton.a"]]


def test_a_long_circle_is_told_once_by_its_shortest_form(tmp_path) -> None:
    files = {
        "a.py": "from planted import b, c\n",
        "b.py": "from planted import c\n",
        "c.py": "from planted import a\n",
        "d.py": "from planted import a\n",
    }
    assert script.circles(script.import_graph(package(tmp_path, files))) == [
        ["planted.a", "planted.c", "planted.a"]
    ]


def test_modules_that_only_share_what_is_below_them_are_fine(tmp_path, capsys) -> None:
    files = {"a.py": "from planted import c\n", "b.py": "from planted import a, c\nimport os\n", "c.py": ""}
    assert script.main(package(tmp_path, files)) == 0
    assert "4 modules, 0 groups" in capsys.readouterr().out
