"""What the hybrid recipe refuses, before a folder is made, each with the next step."""

import json
import shutil

import numpy as np
import pytest
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.recipes.hybrid import hybrid
from megalabel.recipes.linear import linear
from megalabel.recipes.renee import renee

SMALL = dict(clusters=(4,), trees=1, joint_trees=1)


@pytest.fixture
def copied(bag_run, tmp_path):
    """A copy of the run that may be changed."""
    return shutil.copytree(bag_run, tmp_path / "copied")


def rewrite(run, **facts):
    path = run / "recipe.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"weights": (1, 1)}, "weights"),
        ({"weights": (1, 1, 1), "joint_trees": 0}, "weights"),
        ({"weights": (1, -1, 1)}, "weights"),
        ({"weights": (1, float("nan"), 1)}, "weights"),
        ({"weights": (0, 0, 0)}, "weights"),
        ({"weights": "a,b,c"}, "weights"),
        ({"embedding_norm": 0.0}, "embedding_norm"),
        ({"embedding_norm": -0.1}, "embedding_norm"),
        ({"embedding_norm": float("inf")}, "embedding_norm"),
        ({"shortlist": -1}, "shortlist"),
        ({"joint_trees": -1}, "joint_trees"),
        ({"trees": 0}, "trees"),
        ({"clusters": (8, 4)}, "clusters"),
        ({"clusters": (512,)}, "clusters"),
        ({"token_pattern": "blanks"}, "token_pattern"),
        ({"label_texts": "perhaps"}, "label_texts"),
        ({"post_processor": "high"}, "post_processor"),
        ({"char_ngrams": 3}, "char_ngrams"),
        ({"validation_fraction": 0.1}, "validation_fraction"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(bad, where, bag_run):
    with pytest.raises(SettingError) as refused:
        hybrid(planted(), run=str(bag_run), **{**SMALL, **bad})
    assert refused.value.where == where


def test_a_run_is_needed_and_may_be_a_path(bag_run):
    with pytest.raises(SettingError) as refused:
        hybrid(planted(), **SMALL)
    assert refused.value.where == "run"
    assert hybrid(planted(), run=bag_run, **SMALL).arguments["run"] == str(bag_run)


def test_no_run_at_all(tmp_path):
    data = planted()
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SettingError, match=r"run: no run in .*Correct the path, or train one"):
            hybrid(data, run=str(place))
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"run: no run in"):
        hybrid(data, run=str(tmp_path / "file"))
    with pytest.raises(SettingError, match="run: 7"):
        hybrid(data, run=7)


def test_a_models_folder_is_no_run(bag_run):
    with pytest.raises(SettingError, match=r"run: no run in .*recipe.json"):
        hybrid(planted(), run=str(bag_run / "model"))


def test_a_run_that_goes_on(copied):
    rewrite(copied, finished=None)
    with pytest.raises(SettingError, match=r"not finished.*Run its `megalabel train` command again"):
        hybrid(planted(), run=str(copied))


def test_a_run_without_its_model(copied):
    shutil.rmtree(copied / "model")
    with pytest.raises(FormatError, match="model"):
        hybrid(planted(), run=str(copied))


@pytest.mark.parametrize("facts", [{"data": None}, {"arguments": None}, {"data": 3}], ids=str)
def test_a_run_whose_facts_are_gone(facts, copied):
    rewrite(copied, **facts)
    with pytest.raises(FormatError, match=r"recipe.json.*Train the run again"):
        hybrid(planted(), run=str(copied))


@pytest.mark.parametrize("data", [planted(seed=1), planted(n_labels=32)], ids=["texts", "labels"])
def test_another_corpus(data, bag_run):
    with pytest.raises(DataError, match=r"run: .*'planted' \(400 texts, 64 labels\), not on this 'planted'"):
        hybrid(data, run=str(bag_run))


def test_a_run_without_an_encoder(tmp_path):
    data = planted()
    megalabel.train(linear(data, clusters=(4,), trees=1), tmp_path / "linear", quiet=True)
    with pytest.raises(SettingError, match=r"run: a run of the recipe 'linear', .*renee, cascadexml, spartex"):
        hybrid(data, run=str(tmp_path / "linear"))


def test_a_hybrid_is_not_made_one_again(bag_run, tmp_path):
    data = planted()
    megalabel.train(hybrid(data, run=str(bag_run), **SMALL), tmp_path / "hybrid", quiet=True)
    with pytest.raises(SettingError, match=r"run: a run of the recipe 'hybrid', .* not a hybrid"):
        hybrid(data, run=str(tmp_path / "hybrid"))


def test_a_run_that_held_nothing_out(tmp_path):
    """Refused without weights; with these taken as they are."""
    data = planted()
    megalabel.train(
        renee(data, **{**KNOBS["renee"], "validation_fraction": 0.0, "epochs": 1}), tmp_path / "r", quiet=True
    )
    with pytest.raises(SettingError, match=r"held out 0 texts.*train with --validation-fraction 0.05"):
        hybrid(data, run=str(tmp_path / "r"), **SMALL)
    model = hybrid(data, run=str(tmp_path / "r"), **SMALL, weights=(0, 1, 1)).solve(lambda line: None)
    assert model.mixture.weights == (0, 0.5, 0.5)
    assert megalabel.evaluate(model, data)["P@1"] > 90


def unlabeled(share):
    """A data set of which no text that is held out has a label, and a recipe on it."""
    data = planted()
    _, held = megalabel.inputs.batches.hold_out(400, share, 0)
    labels = [[] if i in set(held.tolist()) else row.indices.tolist() for i, row in enumerate(data.train.labels)]
    return Corpus.of(list(data.train.texts), labels, list(data.label_texts), name="unlabeled")


def test_texts_held_out_without_a_label(bag_run, tmp_path):
    data = unlabeled(0.1)
    run = shutil.copytree(bag_run, tmp_path / "run")
    facts = json.loads((run / "recipe.json").read_text())["data"]
    rewrite(run, data={**facts, "fingerprint": data.fingerprint()})
    with pytest.raises(SettingError, match="held out 40 texts with labels"):
        hybrid(data, run=str(run), **SMALL)
    model = hybrid(data, run=str(run), **SMALL, weights=(1, 1, 2)).solve(lambda line: None)
    assert model.mixture.weights == (0.25, 0.25, 0.5)


def test_texts_without_words_and_bags_of_words(bag_run):
    signs = Corpus.of([".", "-"] * 20, [[0], [1]] * 20, ["a", "b"], name="signs")
    with pytest.raises(DataError, match="no text has a word"):
        hybrid(signs, run=str(bag_run))


@pytest.mark.parametrize("more", [{}, {"joint_trees": 0}, {"joint_trees": 0, "shortlist": 3}], ids=str)
@pytest.mark.parametrize("part", ["encoder", "head"])
def test_a_model_that_has_diverged(part, more, copied):
    """It must not be trained upon: neither its embedding nor its scores."""
    data, model = planted(), megalabel.load(copied)
    for weight in getattr(model, part).parameters():
        weight.data.fill_(float("nan"))
    model.save(copied / "model")
    with pytest.raises(FormatError, match="holds NaN or infinite numbers"):
        hybrid(data, run=str(copied), **{**SMALL, **more})


def test_one_text_whose_embedding_is_not_finite_is_named(copied):
    """Finite weights can have a sum that is not."""
    model = megalabel.load(copied)
    (ids,) = model.encoder.tokenizer.encode(["noise7"], 16)
    model.encoder.table.weight.data[np.asarray(ids)] = 3e38
    model.encoder.weights[np.asarray(ids)] = 3e38
    model.save(copied / "model")
    recipe = hybrid(planted(), run=str(copied), **SMALL)
    with pytest.raises(DataError, match=r"run: the embedding of \d+ of \d+ texts has NaN or inf, first that of"):
        recipe.solve(lambda line: None)


def test_a_folder_in_use(bag_run, tmp_path):
    recipe = hybrid(planted(), run=str(bag_run), **SMALL)
    (tmp_path / "notes").write_text("mine")
    for place in (tmp_path, tmp_path / "notes", bag_run):
        with pytest.raises(SettingError, match="another --out"):
            megalabel.train(recipe, place, quiet=True)
    assert (tmp_path / "notes").read_text() == "mine"
    assert json.loads((bag_run / "recipe.json").read_text())["recipe"] == "renee"
