"""The page `docs/your-own.md`: its package is written outside the repository, and every block of it is run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from support import programs

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "your-own.md"
FENCE = re.compile(r"^```(\w*)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    file: str
    text: str


def blocks() -> list[Block]:
    """The fenced blocks of the page, in order."""
    return [Block(*found) for found in FENCE.findall(PAGE.read_text(encoding="utf-8"))]


def test_the_page_names_each_file_that_it_shows():
    text = PAGE.read_text(encoding="utf-8")
    files = [block.file for block in blocks() if block.file]
    assert len(files) == 5
    assert all(f"`{file}`:" in text for file in files)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside the repository with the page's package, which is the working directory."""
    for block in blocks():
        if block.file:
            path = tmp_path / block.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


def started(command: str, folder: Path, *more: str) -> subprocess.Popen[str]:
    """A command of the page in a process of its own."""
    program, *arguments = shlex.split(command)
    assert program == "megalabel"
    return programs.started(programs.SCRIPT, *arguments, *more, folder=folder)


def killed_after_a_checkpoint(command: str, folder: Path) -> None:
    """Begins a training and kills it once it has written a checkpoint."""
    process = started(command, folder, "--checkpoint-seconds", "0")
    out = folder / shlex.split(command)[shlex.split(command).index("--out") + 1]
    deadline = time.monotonic() + 300
    while process.poll() is None and not list((out / "last").glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    _, errors = process.communicate()
    assert list((out / "last").glob("step-*")), errors
    assert json.loads((out / "recipe.json").read_text())["finished"] is None


def test_the_entry_point_of_the_page_is_its_recipe(elsewhere):
    from megalabel.recipes import find, get

    described = tomllib.loads((elsewhere / "pyproject.toml").read_text(encoding="utf-8"))
    (address,) = described["project"]["entry-points"][find.GROUP].values()
    assert get(address, trust=["my_package"]).address == address


@pytest.mark.slow
def test_every_block_of_the_page_runs(elsewhere, capsys):
    namespace: dict[str, object] = {}
    answers = {}
    for block in blocks():
        if block.file:
            continue
        if block.language == "python":
            exec(compile(block.text, str(PAGE), "exec"), namespace)
            continue
        for command in block.text.strip().splitlines():
            if " train " in command:
                killed_after_a_checkpoint(command, elsewhere)
            process = started(command, elsewhere)
            answers[shlex.split(command)[1]] = process.communicate()
            assert process.returncode == 0, answers
    assert set(answers) == {"train", "evaluate", "predict"}
    assert "resuming at step" in answers["train"][1]
    facts = json.loads((elsewhere / "runs" / "low-rank" / "recipe.json").read_text())
    assert facts["recipe"] == "my_package.low_rank:low_rank"
    assert facts["arguments"]["bigram_min_count"] == 2  # of the preset beside the module
    assert facts["finished"]
    assert json.loads((elsewhere / "runs" / "low-rank" / "metrics.json").read_text())["P@1"] > 30
    printed = capsys.readouterr().out
    assert float(printed.split()[0]) > 20
    assert "cat" in printed
    assert "cat" in answers["predict"][0]
