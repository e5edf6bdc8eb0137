"""Names of Python and files of megalabel that the pages mention exist."""

from __future__ import annotations

import dataclasses
import importlib
import re

import pytest
from support.page_blocks import ROOT, name_of, pages

DOTTED = re.compile(r"`(megalabel(?:\.\w+)+)")
FILES = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|toml|md|sh))`")
FOLDERS = [ROOT, ROOT / "megalabel", ROOT / "docs"]
# Files of the authors' repositories, and of readers.
FOREIGN = {"src/main.py", "src/model.py", "src/cluster.py", "libs/loss.py", "libs/shortlist.py"}
OF_A_READER = ("my_package/", "runs/", "data/", "tags/", "requests/", "subjects/", "offers/", "many/")
PAGES = {name_of(page): page.read_text(encoding="utf-8") for page in pages()}


@pytest.mark.parametrize("page", PAGES)
def test_the_names_of_python_on_the_page_exist(page):
    wrong = [name for name in sorted(set(DOTTED.findall(PAGES[page]))) if not exists(name)]
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_the_files_of_megalabel_on_the_page_exist(page):
    found = set(FILES.findall(PAGES[page])) - FOREIGN
    named = sorted(file for file in found if not file.startswith(OF_A_READER))
    assert not [file for file in named if not any((folder / file).exists() for folder in FOLDERS)]


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("papers/")])
def test_each_page_on_a_paper_says_where_its_formulas_are(page):
    section = PAGES[page].split("## Formulas and their code")[1].split("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 4
    assert all("`megalabel." in row.split("|")[-2] for row in rows)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in a module or class, also a field without a default."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            known = (
                {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
            )
            if part in known or part in getattr(found, "__annotations__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
