"""Neighbors of the thirty mistakes: usage, configuration files, `--from`, stored predictions, calls in Python."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from planted import planted

import megalabel
from megalabel.data.convert import convert
from megalabel.errors import MegalabelError
from megalabel.recipes import from_preset

LINEAR = "--trees 1 --clusters 4 --quiet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set, a run on it, label rows, and stored predictions for 10 texts."""
    made: Path = tmp_path_factory.mktemp("user")
    data = planted(n_texts=60, n_test=10)
    convert(data, made / "set", "raw")
    convert(planted(n_labels=16, n_texts=40, n_test=12), made / "other", "raw")
    recipe = from_preset("linear", data, trees=1, clusters=(4,))
    megalabel.train(recipe, out=made / "run", quiet=True)
    np.savez(made / "ids.npz", labels=np.full((10, 2), 99), scores=np.ones((10, 2)))
    (made / "zebra.jsonl").write_text('["zebra"]\n' * 10)
    (made / "answers.jsonl").write_text('{"score_type": "probability", "labels": [{"label": "a", "score": 1}]}\n')
    (made / "one.csv").write_text("text,labels\nred,[]\n")
    for run, change in (
        ("ensemble", {"recipe": "ensemble"}),
        ("moved", {"data": {"name": "gone", "path": "/no/such/set"}}),
        ("no-facts", {"data": None}),
    ):
        shutil.copytree(made / "run", made / run)
        facts = json.loads((made / run / "recipe.json").read_text())
        (made / run / "recipe.json").write_text(json.dumps({**facts, **change}))
    return made


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("predict run set/trn_X.txt -k ten", ["--k: 'ten' is not a whole number"]),
        ("predict run --top-k 3", ["--top-k is not an option", "--k"]),
        ("predict run set/trn_X_Y.txt", ["trn_X_Y.txt", "pairs of numbers", "the texts themselves"]),
        ("predict run https://x.y/z.txt", ["this is an address"]),
        ("predict run -o answers.xlsx", ["--out: the name 'answers.xlsx'", ".jsonl"]),
        ("evaluate run --propensity-a x", ["--propensity-a: 'x' is not a number"]),
        ("evaluate run -o set", ["--out: set is a folder", "file name"]),
        ("evaluate run --levels", ["--levels: a model without levels", "Leave --levels out"]),
        ("evaluate run --export set", ["set exists already", "Choose another one"]),
        (
            "train renee set -o new --encoder bag --encoder-weights a.pt",
            ["--encoder-weights for the encoder bag", "a pretrained encoder"],
        ),
        ("evaluate run answers.jsonl", ["answers.jsonl, line 1", "evaluate PREDICTIONS DATA"]),
        ("evaluate ids.npz set", ["ids.npz: the label id 99", "64 labels"]),
        ("evaluate ids.npz other", ["ids.npz: predictions for 10 texts", "12, one for each text of other"]),
        ("evaluate zebra.jsonl set", ["no predicted label ('zebra'", "is a label of set"]),
        (f"train linear –out new {LINEAR}", ["'–out' begins with a dash", "--out"]),
        ("train linear set -o new --clusters 4;8", ["--clusters: '4;8' is not", "commas"]),
        ("train linear set -o new --threads 100000", ["--threads: 100000 is not a whole number from 1 to 1,024"]),
        ("train linear set -o new --checkpoint-seconds -1", ["--checkpoint-seconds: -1.0 is not"]),
        ("train linear set -o new --then hybrid", ["--then: the recipe linear has no encoder"]),
        ("train linear --from run -o new", ["--from is not an option", "without a recipe"]),
        ("train --from run -o new --trees 2", ["--trees is not an option", "those of the run"]),
        ("train --from ensemble -o new", ["--from: the run in ensemble is an ensemble", "megalabel ensemble"]),
        ("train --from moved -o new", ["--from: the data set of the run in moved", "/no/such/set"]),
        ("train --from no-facts -o new", ["no-facts/recipe.json", "recipe, arguments or data"]),
        ("train --from options.toml -o new", ["--from: no run in options.toml", "--config options.toml"]),
        ("train renee set -o new --encoder Bag", ["no encoder 'Bag'", "Did you mean bag?"]),
        ("train renee set -o new --encoder ./gone", ["there is no such folder", "Correct the path"]),
        ("train renee set -o new --encoder run", ["which has no single encoder", "ngame, renee or dexml"]),
        ("train renee set -o new --encoder https://a/b", ["an address", "organization/model"]),
        ("train renee set -o new --encoder no/such", ["the hub of Hugging Face cannot be reached", "connection"]),
        ("train renee set -o /dev/null/run --encoder bag", ["--out: the folder /dev/null/run cannot be made"]),
        ("prepare set --recipe linear", ["--recipe: the recipe linear reads no tokens", "renee"]),
        ("tree show set", ["set: no label tree", "tree build"]),
        ("data convert set new --to CSV", ["--to: 'CSV' is not", "Did you mean csv?"]),
        ("data help", ["'help' is not a command of", "check"]),
    ],
)
def test_neighbors_get_one_line_too(typed, said, folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    status, out, err = command(*typed.split())
    assert (status, out) == (2, "")
    message = err.splitlines()[-1]
    assert message.startswith("megalabel: ")
    assert [fact for fact in said if fact not in message] == []
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("train linear set --out ''", "--out"),
        ("train linear set --out=", "--out"),
        ("train linear set -o ''", "--out"),
        ("train linear '' --out new", "DATA"),
        ("train cascadexml set --out new --tree ''", "--tree"),
        ("train renee set --out new --config ''", "--config"),
        ("train --from '' --out new", "--from"),
        ("tree build set -o ''", "--out"),
        ("evaluate run --export ''", "--export"),
        ("evaluate run ''", "DATA"),
        ("evaluate '' set", "RUN"),
        ("predict run '' ", "TEXTS"),
        ("ensemble run '' -o new", "RUN..."),
        ("quickstart --out ''", "--out"),
    ],
)
def test_an_empty_path_is_refused(typed, name, folder, command, monkeypatch):
    """Such as an unset variable of the shell, which must not stand for the current folder."""
    monkeypatch.chdir(folder)
    before = sorted(Path().iterdir())
    status, out, err = command(*shlex.split(typed))
    assert (status, out) == (2, "")
    assert err.startswith(f"megalabel: {name}: an empty value") and err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch-size = 3\n", "has no option 'batch-size'; expected batch_size. Write batch_size."),
        ("[renee]\nepochs = 3\n", "holds the table [renee]"),
        ('out = "x"\n', "Give --out on the command line."),
        ("epochs = true\n", "c.toml, epochs: True is not a whole number"),
        (
            'head_optimizer = "adam"\n',
            "c.toml, head_optimizer: 'adam' is not one of sgd, adamw. Did you mean adamw?",
        ),
    ],
)
def test_a_configuration_names_the_file_and_the_option(text, said, folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    Path("c.toml").write_text(text)
    status, _, err = command("train", "renee", "set", "-o", "new", "--config", "c.toml")
    assert (status, err.count("\n")) == (2, 1)
    assert said in err


def test_a_run_that_is_named_twice_is_said_to_count_twice(folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    status, out, err = command("ensemble", "run", "run", "-o", "twice")
    assert status == 0, err
    assert "run is named twice" in out


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, c: megalabel.evaluate("runs/r", c), "model: a str; expected a Classifier"),
        (lambda m, c: megalabel.evaluate(c, m), "model: a Corpus"),
        (lambda m, c: megalabel.evaluate(m, "data"), "data: a str; expected a Corpus"),
        (lambda m, c: megalabel.evaluate(m, c, split="test"), "split: a str; expected a Split"),
        (lambda m, c: megalabel.evaluate(m, c, a="0.5"), "a str; expected a number"),
        (lambda m, c: from_preset(None, c), "recipe: a NoneType; expected a recipe, or its name"),
        (
            lambda m, c: from_preset("linear", c, clusters=4),
            r"clusters: 4 is not a list of values, as in \[4, 8\]",
        ),
        (lambda m, c: megalabel.load("run", device="gpu"), "device: 'gpu'.*Did you mean cuda"),
    ],
)
def test_wrong_objects_in_python_are_named(call, said, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(MegalabelError, match=said):
        call(megalabel.load("run"), planted(n_texts=60, n_test=10))
