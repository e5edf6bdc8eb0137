"""The commands of README and docs exist with their options, also those that no test runs."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.name not in ("log.md",) and "notes" not in page.parts]


def commands_of(page: Path) -> list[list[str]]:
    """The words of each command line of megalabel in the code blocks of a page."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("megalabel ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_the_pages_exist_with_their_options(page):
    import click
    from typer.main import get_command

    from megalabel.cli.main import app
    from megalabel.cli.plan import PlanCommand, plan_command, recipe_in

    top = get_command(app)
    for words in commands_of(page):
        command, rest = top, list(words)
        while rest and hasattr(command, "get_command") and not rest[0].startswith("-"):
            if ":" in rest[0] or rest[0].isupper():  # a recipe of one's own, or a placeholder
                break
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, words
            command = found
        if isinstance(command, PlanCommand):  # its options are those of the recipe that is planned
            command = plan_command(recipe_in(rest))
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for word in rest:
            if word.startswith("-") and word != "-" and not hasattr(command, "get_command"):
                assert word.split("=")[0] in known, f"{word} of {' '.join(words)}"


def test_the_readme_names_commands():
    assert len(commands_of(ROOT / "README.md")) >= 6
