"""Says which files are over 250 lines and which functions over 60: python scripts/file_sizes.py.

Files of `megalabel`, `benchmarks`, `scripts` and `tests` are counted whole, functions (not those of `tests`) from
`def` to their last line, docstring included. A comment `# long: <reason>` on the line of `def` exempts a function.
Exits with 1 if there is anything over that `ALLOWED` does not name.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDERS = ("megalabel", "benchmarks", "scripts", "tests")
FILE_LINES, FUNCTION_LINES = 250, 60
EXEMPT = re.compile(r"#\s*long:\s*\S")

# What is over and still to be split, "path" or "path::function": the list may only become shorter.
ALLOWED: frozenset[str] = frozenset()


class Over(NamedTuple):
    """A file, or a function as path::name, with too many lines."""

    where: str
    lines: int
    limit: int


def over(root: Path) -> Iterator[Over]:
    """Everything below `root` that has too many lines."""
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            where = file.relative_to(root).as_posix()
            if len(text.splitlines()) > FILE_LINES:
                yield Over(where, len(text.splitlines()), FILE_LINES)
            if folder != "tests":
                yield from _functions(text, where)


def _functions(text: str, where: str) -> Iterator[Over]:
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES and not EXEMPT.search(lines[node.lineno - 1]):
                yield Over(f"{where}::{node.name}", length, FUNCTION_LINES)


def main(root: Path) -> int:
    found = list(over(root))
    new = [one for one in found if one.where not in ALLOWED]
    for one in found:
        note = " (allowed for now)" if one.where in ALLOWED else ""
        print(f"{one.where}: {one.lines} lines, at most {one.limit}{note}")
    for where in sorted(ALLOWED - {one.where for one in found}):
        print(f"{where}: no longer over, take it out of ALLOWED")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parent.parent))
