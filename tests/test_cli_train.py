"""`megalabel train`: values from a file, finished runs, runs repeated or replaced, recipes that build on a run."""

import json
import tomllib

import pytest
from planted import planted

import megalabel
from megalabel.data.convert import convert
from megalabel.models.hybrid import HybridClassifier
from megalabel.recipes import get
from megalabel.recipes.renee import Renee

BAG = (
    "--encoder bag --tokenizer words --max-length 16 --epochs 2 --batch-size 64 --warmup 0.1 --head-init-std 0 "
    "--bias --head-optimizer adamw --head-lr 0.02 --encoder-lr 0.002 --token-lr 0.02 --validation-fraction 0.1"
).split()
LINEAR = "--trees 1 --clusters 4".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The planted corpus as a folder."""
    path = tmp_path_factory.mktemp("data") / "planted"
    convert(planted(), path, "raw")
    return path


def recorded(run):
    return json.loads((run / "recipe.json").read_text())


def test_a_finished_run_given_again_is_loaded_and_another_is_refused_or_replaced(command, folder, tmp_path):
    run = tmp_path / "r"
    again = ["train", "renee", folder, "-o", run, *BAG]
    status, _, err = command(*again)
    assert status == 0, err
    for part in ("trained in", "best validation nDCG@5", "MB", f"megalabel evaluate {run}"):
        assert part in err
    before = recorded(run)
    status, _, err = command(*again)
    assert status == 0
    assert "is finished" in err
    assert recorded(run) == before
    status, _, err = command(*again, "--epochs", 1)
    assert (status, err.count("\n")) == (2, 1)
    assert "--epochs 2, not 1" in err and "--overwrite" in err
    assert recorded(run) == before
    status, _, err = command(*again, "--epochs", 1, "--overwrite")
    assert status == 0, err
    assert recorded(run)["arguments"]["epochs"] == 1
    status, _, err = command("train", "linear", folder, "-o", run, *LINEAR)
    assert status == 2
    assert command("train", "linear", folder, "-o", run, *LINEAR, "--overwrite")[0] == 0
    assert recorded(run)["recipe"] == "linear"


def test_overwrite_leaves_a_folder_of_other_things_alone(command, folder, tmp_path):
    (tmp_path / "notes").write_text("mine")
    status, _, err = command("train", "linear", folder, "-o", tmp_path, *LINEAR, "--overwrite")
    assert (status, err.count("\n")) == (2, 1)
    assert (tmp_path / "notes").read_text() == "mine"


def test_nothing_is_replaced_by_a_job_that_cannot_run(command, folder, tmp_path):
    assert command("train", "linear", folder, "-o", tmp_path / "r", *LINEAR)[0] == 0
    before = recorded(tmp_path / "r")
    for wrong in (["--clusters", "512"], ["--trees", "0"], ["--clusters", "8,4"]):
        status, _, _ = command("train", "linear", folder, "-o", tmp_path / "r", *wrong, "--overwrite")
        assert status == 2
        assert recorded(tmp_path / "r") == before


def test_data_may_be_left_out_where_the_run_says_it(command, folder, tmp_path):
    assert command("train", "linear", folder, "-o", tmp_path / "r", *LINEAR)[0] == 0
    for run in (tmp_path / "r", tmp_path / "r" / "model"):
        status, out, err = command("evaluate", run)
        assert status == 0, err
        assert "P@1" in out
    megalabel.train(get("linear")(planted(), trees=1, clusters=(4,)), tmp_path / "memory", quiet=True)
    status, _, err = command("evaluate", tmp_path / "memory")
    assert (status, err.count("\n")) == (2, 1)
    assert command("evaluate", tmp_path / "memory", folder)[0] == 0


def test_a_printed_configuration_is_one_that_can_be_given(command, folder, tmp_path):
    status, out, err = command("train", "renee", folder, "--print-config", *BAG)
    assert status == 0, err
    assert not list(tmp_path.iterdir())
    values = tomllib.loads(out)
    assert Renee.from_values(values).values() == Renee.from_values(values).values()
    assert values["head_lr"] == 0.02 and values["bias"] is True
    (tmp_path / "c.toml").write_text(out)
    status, again, _ = command("train", "renee", folder, "--print-config", "--config", tmp_path / "c.toml")
    assert (status, again) == (0, out)
    _, other, _ = command(
        "train", "renee", folder, "--print-config", "--config", tmp_path / "c.toml", "--epochs", 7, "--no-bias"
    )
    assert tomllib.loads(other) == {**values, "epochs": 7, "bias": False}


@pytest.mark.parametrize("recipe", ["cascadexml", "spartex", "linear", "renee"])
def test_every_configuration_reads_back(recipe, command, folder, tmp_path):
    status, out, err = command("train", recipe, folder, "--print-config")
    assert status == 0, err
    options = get(recipe).options
    (tmp_path / "c.toml").write_text(out)
    _, again, _ = command("train", recipe, folder, "--print-config", "--config", tmp_path / "c.toml")
    assert again == out
    assert set(tomllib.loads(out)) <= set(options.declared)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3\n", "epochs"),
        ("depths = [10]\n", "expected"),
        ("epochs = 0\n", "c.toml, epochs: 0 is not"),
        ('epochs = "3"\n', "c.toml, epochs: '3' is not"),
        ("epochs = \n", "is not TOML"),
        ("[epochs]\nx = 3\n", "Remove the line [epochs]"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(text, said, command, folder, tmp_path):
    (tmp_path / "c.toml").write_text(text)
    status, _, err = command("train", "renee", folder, "-o", tmp_path / "r", "--config", tmp_path / "c.toml")
    assert (status, err.count("\n")) == (2, 1)
    assert said in err
    assert not (tmp_path / "r").exists()


def test_a_choice_that_is_none_is_named_as_on_the_command_line(command, folder, tmp_path):
    status, _, err = command("train", "spartex", folder, "-o", tmp_path / "r", "--prune", "foo")
    assert status == 2
    assert err == "megalabel: --prune: 'foo' is not one of threshold, fraction, none\n"
    status, _, err = command(
        "train", "renee", folder, "-o", tmp_path / "r", "--selection-metric", "P@7x", "--validation-fraction", 0
    )
    assert status == 2
    assert err.startswith("megalabel: --selection-metric: 'P@7x' is not P@k")
    assert not (tmp_path / "r").exists()


def test_a_run_is_repeated_from_its_recipe_json(command, folder, tmp_path):
    assert command("train", "linear", folder, "-o", tmp_path / "a", *LINEAR, "--c", "1.5")[0] == 0
    for source, out in ((tmp_path / "a" / "recipe.json", "b"), (tmp_path / "a", "c")):
        status, _, err = command("train", "--from", source, "-o", tmp_path / out)
        assert status == 0, err
        there = recorded(tmp_path / out)
        before = recorded(tmp_path / "a")
        assert [there[key] for key in ("recipe", "arguments", "data")] == [
            before[key] for key in ("recipe", "arguments", "data")
        ]


@pytest.mark.parametrize(
    "changed",
    [
        {"source_sha256": "0" * 64},
        {"recipe": "ensemble"},
        {"recipe": "other.module:mine"},
        {"data": {"path": None}},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_a_run_that_cannot_be_repeated_is_refused(changed, command, folder, tmp_path):
    assert command("train", "linear", folder, "-o", tmp_path / "a", *LINEAR)[0] == 0
    (tmp_path / "a" / "recipe.json").write_text(json.dumps({**recorded(tmp_path / "a"), **changed}))
    status, _, err = command("train", "--from", tmp_path / "a", "-o", tmp_path / "b")
    assert (status, err.count("\n")) == (2, 1)
    assert not (tmp_path / "b").exists()
    assert command("train", "--from", tmp_path / "nothing", "-o", tmp_path / "b")[0] == 2


def test_then_trains_a_hybrid_on_the_run(command, folder, tmp_path, monkeypatch):
    run = tmp_path / "r"
    again = ["train", "renee", folder, "-o", run, *BAG, "--validation-fraction", 0, "--then", "hybrid"]
    with monkeypatch.context() as patch:

        def stop(*_):
            raise KeyboardInterrupt

        patch.setattr(HybridClassifier, "save", stop)
        assert command(*again)[0] == 130
    first = recorded(run / "base")
    assert first["finished"] and not recorded(run)["finished"]
    assert first["arguments"]["validation_fraction"] == 0.05
    status, _, err = command(*again)
    assert status == 0, err
    assert recorded(run / "base") == first  # not trained again
    assert recorded(run)["recipe"] == "hybrid"
    assert recorded(run)["arguments"]["run"] == str(run / "base")
    assert isinstance(megalabel.load(run), HybridClassifier)
    assert command("evaluate", run)[0] == 0
    assert command(*again, "--epochs", 1)[0] == 2
    assert command(*again, "--epochs", 1, "--overwrite")[0] == 0
    assert recorded(run / "base")["arguments"]["epochs"] == 1
    status, _, err = command("train", "renee", folder, "-o", tmp_path / "x", *BAG, "--then", "linear")
    assert (status, err.count("\n")) == (2, 1)
    assert not (tmp_path / "x").exists()


def test_a_run_folder_is_needed_and_train_alone_shows_help(command, folder):
    status, _, err = command("train", "linear", folder)
    assert (status, err.count("\n")) == (2, 1)
    assert "--out" in err
    status, out, _ = command("train")
    assert status == 2
    assert "renee" in out


def test_a_terminal_without_a_character_shows_its_escape():
    import os
    import subprocess
    import sys

    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "megalabel.cli.main", "train", "spartex", "--help"]
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert b"\\u221afan_in" in done.stdout
