"""The README's Python runs as it stands there (one epoch of it), and its commands exist."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code.replace("epochs=4", "epochs=1"), names)
    before = (tmp_path / "runs" / "bag" / "recipe.json").stat().st_mtime_ns
    exec(code.replace("epochs=4", "epochs=1"), names)  # the second time it loads the finished run
    assert (tmp_path / "runs" / "bag" / "recipe.json").stat().st_mtime_ns == before
    assert len(names["model"].label_texts) == 4044
    assert (tmp_path / "runs" / "bag" / "model" / "manifest.json").exists()


def test_the_commands_of_the_readme_exist():
    from typer.main import get_command

    from megalabel.cli.main import app

    commands = get_command(app).commands
    code = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", README, re.DOTALL))
    named = re.findall(r"^megalabel (\w+)(?: (\w+))?", code, re.MULTILINE)
    assert len(named) >= 4
    for first, second in named:
        assert first in commands
        if first in ("data", "train", "tree"):
            assert second in commands[first].list_commands(None)
