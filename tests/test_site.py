"""The pages of the documentation are in the site's navigation, and in the index for language models."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
GUIDES = {page.name for page in (ROOT / "docs").glob("*.md")}


def pages_of(entry) -> set[str]:
    """The files in a part of the navigation."""
    if isinstance(entry, str):
        return {entry}
    parts = entry.values() if isinstance(entry, dict) else entry
    return set().union(*(pages_of(part) for part in parts))


def test_every_page_is_in_the_navigation():
    settings = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    there = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    shown = {page for page in there if not page.startswith("notes/")}
    assert pages_of(settings["project"]["nav"]) == shown


def test_every_guide_is_in_the_index_for_language_models():
    linked = set(re.findall(r"\]\(([\w./-]+)\)", (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")))
    assert GUIDES - linked <= {"log.md", "SECURITY.md"}
    assert all((ROOT / "docs" / page).is_file() for page in linked)
