"""`--trust` makes a package of the working folder importable, for each form of the command and each verb."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from planted import planted
from support.programs import MODULE, SCRIPT, ran

from megalabel.data.convert import convert

PACKAGE = "their_package"
CODE = '''
"""Renée with a head of this package."""

from megalabel.heads.dense import DenseHead
from megalabel.recipes import shared
from megalabel.recipes.options import NeuralOptions
from megalabel.training.optim.groups import Optimizers, adamw, lazy_adam
from megalabel.training.optim.schedule import WarmupCosine
from megalabel.training.recipe import Recipe, recipe


class Theirs(DenseHead):
    pass


@recipe
def mine(corpus, options: NeuralOptions) -> Recipe:
    """A recipe of another package."""
    kept, held = shared.held_out(corpus, options)
    encoder, _, batches = shared.text_side(corpus, kept, options, bag={}, transformer={})
    head = Theirs(corpus.n_labels, encoder.dim)
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(encoder, options),
        tokens=lazy_adam(encoder, options.token_lr),
        head=adamw(head, options.head_lr),
    )
    schedule = WarmupCosine(batches.steps, 0)
    return Recipe(corpus, encoder, head, batches, optimizers, schedule, **shared.run_fields(options, held))
'''
SMALL = (
    "--encoder bag --tokenizer words --max-length 16 --epochs 1 --batch-size 64 --validation-fraction 0.2".split()
)


def package_in(folder: Path) -> str:
    """Writes the package into a folder; the address of its recipe."""
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "mine.py").write_text(CODE)
    return f"{PACKAGE}.mine:mine"


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
def test_each_form_of_the_command_finds_the_package_with_trust_alone(program, tmp_path):
    address = package_in(tmp_path)
    (tmp_path / "typer.py").write_text(
        "raise RuntimeError('a file of the working folder in place of a package')\n"
    )
    status, out, err = ran(program, "train", address, "--help", "--trust", PACKAGE, folder=tmp_path)
    assert status == 0, err
    assert "A recipe of another package" in out
    status, _, err = ran(program, "train", address, "--help", folder=tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert f"--trust {PACKAGE}" in err


def test_every_verb_finds_the_package(command, tmp_path, monkeypatch):
    convert(planted(), tmp_path / "data", "raw")
    address, trust, before = package_in(tmp_path), ("--trust", PACKAGE), list(sys.path)
    (tmp_path / "texts.txt").write_text("a text\n")
    monkeypatch.chdir(tmp_path)
    verbs = [
        ("train", address, "data", "--out", "run", *SMALL),
        ("recipes", address),
        ("predict", "run", "texts.txt"),
        ("evaluate", "run"),
        ("train", "hybrid", "run", "--out", "with-words", "--trees", "1", "--joint-trees", "1", "--quiet"),
        ("ensemble", "run", "run", "--out", "merged"),
    ]
    for verb in verbs:
        forget()
        status, _, err = command(*verb)
        assert (status, err.count("\n")) == (2, 1), err
        assert f"--trust {PACKAGE}" in err
        assert PACKAGE not in sys.modules
        status, _, err = command(*verb, *trust)
        assert status == 0, err
        assert sys.path == before
    forget()


def test_code_that_cannot_be_imported_is_one_line(command, tmp_path, monkeypatch):
    address = package_in(tmp_path)
    convert(planted(), tmp_path / "data", "raw")
    monkeypatch.chdir(tmp_path)
    assert command("train", address, "data", "--out", "run", *SMALL, "--trust", PACKAGE)[0] == 0
    forget()
    (tmp_path / PACKAGE / "mine.py").write_text("this is no Python\n")
    for verb in (["evaluate", "run"], ["train", address, "data"]):
        status, _, err = command(*verb, "--trust", PACKAGE)
        assert (status, err.count("\n")) == (2, 1), err
        assert "SyntaxError" in err
        assert "command in the folder that" in err


def test_options_before_the_recipe_are_refused(command):
    status, _, err = command("train", "--trust", PACKAGE, "--quiet", f"{PACKAGE}.mine:mine", "data")
    assert (status, err.count("\n")) == (2, 1)
    assert "--trust" in err and "--quiet" in err and "after the name" in err
