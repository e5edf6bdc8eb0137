"""Every block of README.md and the pages is run in the order of its page, or `blocks.toml` says why not."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path

import pytest
from filelock import FileLock
from support.page_blocks import SHOWN, Block, blocks_of, lines_missing, name_of, pages
from support.page_files import GivenFiles
from support.page_shell import Shell

SETTINGS = tomllib.loads(Path(__file__).with_name("blocks.toml").read_text(encoding="utf-8"))
ELSEWHERE = SETTINGS.pop("elsewhere")  # pages whose blocks another test runs
PAGES = {name_of(page): page for page in pages()}
WITH_BLOCKS = {name: page for name, page in PAGES.items() if blocks_of(page) and name not in ELSEWHERE}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> GivenFiles:
    """The files that pages take as given, made once for all processes of this test run."""
    base = tmp_path_factory.getbasetemp()
    return GivenFiles((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "given")


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: GivenFiles):
    """The folder of a page as its reader has it, which is the working folder."""
    settings = SETTINGS.get(request.param, {})
    monkeypatch.chdir(tmp_path)
    given.folder.mkdir(exist_ok=True)
    with FileLock(given.folder / "lock"):
        for place, what in settings.get("given", {}).items():
            given.put(what, tmp_path / place)
    names: dict[str, object] = {}
    shell = Shell(tmp_path, names, settings.get("replaced", {}))
    exec(settings.get("python", ""), names)
    yield request.param, shell
    shell.close()


@pytest.mark.slow
@pytest.mark.parametrize("desk", WITH_BLOCKS, indirect=True)
def test_every_block_of_the_page_runs_and_prints_what_the_page_shows(desk):
    name, shell = desk
    left_out = SETTINGS.get(name, {}).get("not_run", {})
    printed = ""
    for block in blocks_of(PAGES[name]):
        where = f"{name}, line {block.line}"
        if block.file:
            (shell.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (shell.folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "text" and not reason(block.text, left_out):
            missing = lines_missing(block.text, printed, SETTINGS.get(name, {}).get("within", math.inf))
            assert not missing, f"{where}: {missing} not in:\n{printed}"
        elif block.language == "python" and not reason(block.text, left_out):
            printed = shell.python(block.text, where)
        elif not block.language:
            lines = [line for line in block.commands if not reason(line, left_out)]
            printed = "\n".join(shell.command(line).rstrip("\n") for line in lines)


def reason(text: str, left_out: dict[str, str]) -> str:
    """Why a command or a block is not run; empty if it is."""
    return next((why for part, why in left_out.items() if part in text), "")


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_the_page_are_of_a_known_kind(name):
    kinds = {block.language for block in blocks_of(PAGES[name]) if not block.file}
    assert kinds <= {"", "python", "text", *SHOWN}


def test_what_is_not_run_or_replaced_still_stands_on_the_pages():
    assert set(SETTINGS) | set(ELSEWHERE) <= set(WITH_BLOCKS) | set(ELSEWHERE)
    runnable = {name: [_runnable(block) for block in blocks_of(page)] for name, page in PAGES.items()}
    for name, settings in SETTINGS.items():
        for part, why in settings.get("not_run", {}).items():
            assert any(part in text for text in runnable[name]), f"{name}: {part}"
            assert len(why.split()) > 2, f"{name}: {part} needs a reason"
        for part in settings.get("replaced", {}):
            assert any(part in text for text in runnable[name]), f"{name}: {part}"
    for file in ELSEWHERE.values():
        assert (Path(__file__).parents[1] / file).is_file()


def _runnable(block: Block) -> str:
    """What is run or compared of a block, as `not_run` and `replaced` see it."""
    if not block.language:
        return "\n".join(block.commands)
    return block.text if block.language in ("python", "text") else ""
