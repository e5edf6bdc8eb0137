"""`megalabel tune` and `megalabel train auto` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planted import planted

from megalabel.data.convert import convert
from megalabel.tuning import candidates

PLAIN = "--token-pattern letters --bigrams no --char-ngrams no --c 1 --clusters 4".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted corpus as a folder."""
    path = tmp_path_factory.mktemp("data") / "planted"
    convert(planted(), path, "raw")
    return path


def test_a_search_is_a_run_that_evaluates_and_its_values_train(
    command: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "VARIED", {"trees": candidates.Varied(choices=(1, 2))})
    out = tmp_path / "s"
    status, _, err = command("tune", "linear", folder, "--out", out, "--minutes", 5, *PLAIN)
    assert status == 0, err
    assert "chosen: trial" in err and f"megalabel evaluate {out}" in err
    assert command("evaluate", out)[0] == 0
    chosen = json.loads((out / "recipe.json").read_text())["arguments"]
    status, _, err = command("train", "linear", folder, "--out", tmp_path / "r", "--config", out / "chosen.toml")
    assert status == 0, err
    assert json.loads((tmp_path / "r/recipe.json").read_text())["arguments"] == chosen
    status, _, err = command("tune", "linear", folder, "--out", out, "--minutes", 5, *PLAIN)
    assert status == 0 and "is finished" in err
    status, _, err = command("tune", "linear", folder, "--out", out, "--minutes", 5, *PLAIN, "--overwrite")
    assert status == 0 and "trial 0" in err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["tune", "linear", "DATA"], "--out OUT"),
        (["tune", "linear", "DATA", "--out", "s", "--minutes", "0"], "--minutes"),
        (["tune", "linear", "DATA", "--out", "s", "--max-size", "big"], "--max-size"),
        (["tune", "linear", "DATA", "--out", "s", "--metric", "F1"], "F1"),
        (["tune", "linaer", "DATA", "--out", "s"], "did you mean linear"),
        (["train", "auto", "DATA", "--out", "s", "--epochs", "3"], "--epochs"),
        (["train", "auto", "nowhere", "--out", "s"], "nowhere"),
    ],
)
def test_mistakes_get_one_line(
    typed: list[str], said: str, command: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = command(*[str(folder) if part == "DATA" else part for part in typed])
    assert (status, out) == (2, "")
    assert said.lower() in err.splitlines()[-1].lower()
    assert not list(tmp_path.glob("s/trials*"))
