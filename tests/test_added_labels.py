"""Labels that are added to a trained model: old scores stay, new labels are found, folders load, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import FormatError, MegalabelError, SettingError
from megalabel.models.added_scale import estimate, unit
from megalabel.models.ensemble import Ensemble
from megalabel.models.extended import ExtendedClassifier
from megalabel.recipes import get

NEW = (5, 12, 20, 33, 41)
KINDS = ("linear", "renee", "cascadexml", "spartex", "lightxml", "dexml", "hybrid", "ensemble")
WHOLE = planted(n_texts=600, seed=3)
NAMES = [WHOLE.label_texts[i] for i in NEW]


def without_new() -> Corpus:
    known = np.setdiff1d(np.arange(WHOLE.n_labels), NEW)
    labels = WHOLE.train.labels.tocsr()[:, known]
    rows = np.flatnonzero(np.diff(labels.indptr))
    texts, names = [WHOLE.train.texts[int(i)] for i in rows], [WHOLE.label_texts[int(i)] for i in known]
    return Corpus.of(texts, labels[rows], names, name="planted without some")


TRAIN = without_new()
TEXTS = list(TRAIN.train.texts)


def examples(n: int) -> dict[str, list[str]]:
    columns = WHOLE.train.labels.tocsc()
    return {WHOLE.label_texts[i]: [WHOLE.train.texts[int(row)] for row in columns[:, i].indices[:n]] for i in NEW}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of each kind, trained without the new labels."""
    folder, found = tmp_path_factory.mktemp("known"), {}
    for name in ("linear", "renee", "cascadexml", "spartex", "lightxml", "dexml"):
        bag = {"max_length": 16, "batch_size": 32, "epochs": 6, "encoder_lr": 0.005, "token_lr": 0.02}
        of = {
            "linear": {"clusters": (4,), "trees": 2},
            "dexml": {**bag, "encoder": "bag", "temperature": 0.1, "validation_fraction": 0.1},
            "lightxml": {
                **bag,
                "encoder": "bag",
                "dropout": 0.1,
                "head_lr": 0.02,
                "clusters": (8,),
                "candidates": 3,
            },
        }
        values = of.get(name) or {**KNOBS[name], "validation_fraction": 0.1}
        if name != "linear":
            values = {**values, "tokenizer": "wordpiece"}  # words of texts that are not there are read as well
        found[name] = megalabel.train(get(name)(TRAIN, **values), folder / name, device="cpu", quiet=True)
    hybrid = get("hybrid")(TRAIN, run=str(folder / "renee"), clusters=(4,), trees=1, joint_trees=1)
    found["hybrid"] = megalabel.train(hybrid, folder / "hybrid", device="cpu", quiet=True)
    found["ensemble"] = Ensemble([found["linear"], found["renee"]])
    return found


def asked() -> tuple[list[str], list[int]]:
    """Test texts that have one of the new labels, with its place among them."""
    labels = WHOLE.test.labels.tocsr()
    own = [[NEW.index(i) for i in row.indices.tolist() if i in NEW] for row in labels]
    rows = [i for i, found in enumerate(own) if found]
    return [WHOLE.test.texts[i] for i in rows], [own[i][0] for i in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_old_labels_stay_exactly_as_they_are(kind, models):
    model = models[kind]
    larger = model.with_labels(NAMES, texts=TEXTS)
    n_old, texts = len(model.label_texts), list(WHOLE.test.texts)[:40]
    assert list(larger.label_texts) == [*model.label_texts, *NAMES]
    before, after = model.topk(texts, n_old).numpy(), larger.topk(texts, n_old + len(NEW)).numpy()
    for row in range(len(texts)):
        old = (after[0][row] >= 0) & (after[0][row] < n_old)
        there = before[0][row] >= 0
        assert np.array_equal(after[0][row][old], before[0][row][there])
        assert np.array_equal(after[1][row][old], before[1][row][there])
    assert set(range(n_old, n_old + len(NEW))) <= set(after[0][0].tolist())
    assert (after[1][:, 1:] <= after[1][:, :-1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_added_labels_are_found_by_their_texts_and_by_examples(kind, models):
    model, (texts, own) = models[kind], asked()
    n_old = len(model.label_texts)

    def found(larger, k=5) -> float:
        ids, _ = larger.topk(texts, k).numpy()
        return float(np.mean([n_old + label in row for label, row in zip(own, ids.tolist(), strict=True)]))

    assert len(texts) > 10
    by_examples = model.with_labels(examples(4), texts=TEXTS)
    assert found(by_examples) > 0.5
    if kind in ("linear", "hybrid", "ensemble"):  # the texts of the planted labels are words of their texts
        assert found(model.with_labels(NAMES, texts=TEXTS)) > 0.5
    none = float(np.mean(by_examples.topk(["noise1 noise2", "noise3 noise4"], 5).numpy()[0] >= n_old))
    assert none < 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_answers_the_same_and_takes_more_labels(kind, models, tmp_path):
    larger = models[kind].with_labels(NAMES[:3], texts=TEXTS)
    larger.save(tmp_path / "m")
    again = megalabel.load(tmp_path / "m")
    assert isinstance(again, ExtendedClassifier)
    texts = list(WHOLE.test.texts)[:20]
    for a, b in zip(again.topk(texts, 8).numpy(), larger.topk(texts, 8).numpy(), strict=True):
        assert np.array_equal(a, b)
    n = len(larger.label_texts)
    most = again.with_labels({NAMES[3]: examples(2)[NAMES[3]], NAMES[4]: []})
    assert len(most.label_texts) == n + 2 and not isinstance(most.base_model, ExtendedClassifier)
    before, after = larger.topk(texts, n).numpy(), most.topk(texts, n + 2).numpy()
    kept = after[0] < n
    for row in range(len(texts)):
        there = before[0][row] >= 0
        assert np.array_equal(after[1][row][kept[row] & (after[0][row] >= 0)], before[1][row][there])
    if most.trained_on is not None:
        assert len(most.trained_on.counts) == n + 2 and most.trained_on.counts[-5:].sum() == 0


def test_predictions_have_the_new_names_and_pairs_can_be_left_out(models):
    larger = models["dexml"].with_labels(NAMES)
    n_old = len(models["dexml"].label_texts)
    texts = [NAMES[0], NAMES[1]]
    assert [best[0][0] for best in larger.predict(texts, 1)] == texts
    ids, scores = larger.topk(texts, 3, exclude=np.array([[0, n_old], [1, 0]])).numpy()
    assert n_old not in ids[0] and ids[1][0] == n_old + 1 and np.isfinite(scores).all()


def test_the_scores_of_a_dual_encoder_are_those_of_labels_that_it_was_trained_with(models):
    model = models["dexml"]
    larger = model.with_labels(NAMES)
    whole = model.with_label_set([*model.label_texts, *NAMES])
    a, b = (one.topk(list(WHOLE.test.texts)[:20], 20).numpy() for one in (larger, whole))
    np.testing.assert_allclose(a[1], b[1], rtol=1e-4, atol=1e-4)


def test_without_texts_the_scale_is_found_from_label_texts(models):
    for kind in ("linear", "renee"):
        slope, offset = estimate(models[kind], [])
        assert slope > 0 and np.isfinite(offset)
        assert estimate(models[kind], []) == (slope, offset)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([], "no labels"), ([" "], "not blank"), (["x", "x"], "twice"), ("x", "one string"), ([3], "not blank"),
        ([TRAIN.label_texts[0]], "of this model"), ({"x": "a text"}, "string"),
    ],
    ids=str,
)  # fmt: skip
def test_labels_that_cannot_be_added_are_refused(bad, says, models):
    with pytest.raises(MegalabelError) as caught:
        models["linear"].with_labels(bad)
    assert says in str(caught.value)


def test_models_over_bags_of_words_refuse(tmp_path):
    from scipy.sparse import random as random_rows

    rows = random_rows(60, 30, 0.3, format="csr", dtype=np.float32, random_state=0)
    from megalabel.inputs.bag_of_words import BagOfWords
    from megalabel.linear.forest import solve_trees
    from megalabel.models.linear import LinearClassifier

    labels = random_rows(60, 8, 0.3, format="csr", random_state=1)
    trees = solve_trees(rows, labels, trees=1, depths=(1,), cluster_features=10, seed=0, say=lambda line: None)
    from megalabel.data.texts import Texts

    model = LinearClassifier(BagOfWords(30), trees, Texts.from_strings("abcdefgh"))
    with pytest.raises(SettingError, match="bags of words"):
        model.with_labels(["new"])


@pytest.mark.parametrize("damage", ["names", "slope", "vectors"])
def test_a_damaged_folder_is_refused(damage, models, tmp_path):
    models["renee"].with_labels(NAMES).save(tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    if damage == "names":
        (tmp_path / "m" / "labels.jsonl").write_text('"one"\n')
    elif damage == "slope":
        (tmp_path / "m" / "manifest.json").write_text(json.dumps({**manifest, "slope": "much"}))
    else:
        np.save(tmp_path / "m" / "space0.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(FormatError):
        megalabel.load(tmp_path / "m")


def test_unit_rows():
    x = np.array([[3, 4], [0, 0]], np.float32)
    assert np.allclose(unit(x), [[0.6, 0.8], [0, 0]])
