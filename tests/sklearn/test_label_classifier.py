"""`LabelClassifier` on texts: all forms of y, pipelines, pickles, run folders, and wrong input."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", minversion="1.6", reason="the estimator needs scikit-learn 1.6")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from megalabel.data.corpus import Corpus
from megalabel.errors import SettingError
from megalabel.sklearn import LabelClassifier, make_xmc_scorer
from megalabel.sklearn.targets import read_targets

NAMES = ["cat", "cow", "dog", "hen"]
RNG = np.random.default_rng(0)
Y = sp.csr_matrix((RNG.random((120, 4)) < 0.4).astype(np.float64))
LISTS = [[NAMES[j] for j in Y[i].indices] for i in range(120)]
TEXTS = [" ".join([f"the {name} says" for name in row] + ["again"] * int(RNG.integers(3))) for row in LISTS]
FAST = {"calibration": "no", "trees": 1}


def fast(**values) -> LabelClassifier:
    return LabelClassifier("linear", options=FAST, **values)


@pytest.fixture(scope="module")
def fitted():
    return fast().fit(TEXTS, LISTS)


def test_lists_of_names_and_a_matrix_train_the_same_model(fitted):
    other = fast(label_texts=NAMES).fit(np.array(TEXTS), Y)
    assert fitted.classes_.tolist() == NAMES
    assert other.classes_.tolist() == [0, 1, 2, 3]
    assert fitted.decision_topk(TEXTS[:20]) == other.decision_topk(TEXTS[:20])
    assert fitted.score(TEXTS, LISTS) == other.score(TEXTS, Y) > 0.8


def test_predictions_are_sparse_and_agree_with_the_probabilities(fitted):
    found, p = fitted.predict(TEXTS), fitted.predict_proba(TEXTS)
    assert sp.issparse(found) and sp.issparse(p) and found.shape == p.shape == (120, 4)
    assert np.array_equal(found.toarray() > 0, p.toarray() >= 0.5)
    assert clone(fitted).set_params(threshold=0.9).fit(TEXTS, LISTS).predict(TEXTS).nnz < found.nnz


def test_one_class_per_text_is_predicted_as_classes():
    classes = np.array([row[0] if row else "none" for row in LISTS])
    model = fast().fit(TEXTS, classes)
    assert set(model.predict(TEXTS)) <= set(classes.tolist())
    assert model.score(TEXTS, classes) == np.mean(model.predict(TEXTS) == classes)
    assert model.predict_proba(TEXTS).sum(axis=1) == pytest.approx(1.0)


def test_weights_multiply_the_losses_of_their_texts(fitted):
    weights = np.array([0.01 if "cow" in row else 1.0 for row in LISTS])
    lighter = fast().fit(TEXTS, LISTS, sample_weight=weights)
    before, after = (dict(model.decision_topk(["the cow says"], 4)[0])["cow"] for model in (fitted, lighter))
    assert after < before


def test_a_pickled_estimator_predicts_the_same(fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    assert copy.decision_topk(TEXTS) == fitted.decision_topk(TEXTS)
    assert pickle.loads(pickle.dumps(fast())).get_params() == fast().get_params()


def test_a_search_over_a_pipeline_uses_the_scorer():
    lower = FunctionTransformer(_lower)
    pipeline = Pipeline([("lower", lower), ("labels", fast())])
    grid = {"labels__options": [{**FAST, "c": 0.01}, {**FAST, "c": 1.0}]}
    search = GridSearchCV(pipeline, grid, scoring=make_xmc_scorer("PSP@1"), cv=2, error_score="raise")
    search.fit(TEXTS, Y)
    assert 0 < search.best_score_ <= 100
    assert search.best_estimator_["labels"].label_counts_.sum() == Y.nnz


def _lower(texts):
    return [text.lower() for text in texts]


def test_a_finished_run_is_loaded_and_another_one_refused(tmp_path):
    first = fast(out=tmp_path / "r").fit(TEXTS, LISTS)
    written = (tmp_path / "r" / "recipe.json").stat().st_mtime_ns
    assert fast(out=tmp_path / "r").fit(TEXTS, LISTS).decision_topk(TEXTS) == first.decision_topk(TEXTS)
    assert (tmp_path / "r" / "recipe.json").stat().st_mtime_ns == written
    with pytest.raises(ValueError):
        fast(out=tmp_path / "r").fit(TEXTS[:60], LISTS[:60])
    fast(out=tmp_path / "r", overwrite=True).fit(TEXTS[:60], LISTS[:60])


def test_the_temporary_folder_is_gone_with_the_estimator():
    model = fast().fit(TEXTS, LISTS)
    folder = model._folder.path
    assert folder.is_dir()
    del model
    assert not folder.exists()


@pytest.mark.parametrize(
    "y, classes, one_each",
    [
        (["a", "b", "a"], ["a", "b"], True),
        ([0, 5, 5], [0, 5], True),
        ([["b", "a"], {"c"}, []], ["a", "b", "c"], False),
        ([(7,), (), (2, 7)], [2, 7], False),
        ([[0], [1], [0]], [0, 1], False),
        ([[0, 1, 0], [1, 1, 0], [0, 0, 1]], [0, 1, 2], False),  # as label ids, every list would repeat a label
        (np.array([[0, 1], [1, 0], [1, 1]]), [0, 1], False),
        (sp.coo_matrix([[0, 1], [1, 0], [1, 1]]), [0, 1], False),
    ],
    ids=["names", "numbers", "lists of names", "lists of ids", "single ids", "flags", "array", "sparse"],
)
def test_the_forms_of_y(y, classes, one_each):
    found = read_targets(y)
    assert found.classes.tolist() == classes
    assert found.one_each is one_each
    assert found.labels.shape == (3, len(classes)) and (found.labels.data == 1).all()


@pytest.mark.parametrize(
    "X, y",
    [
        ("a single text", [["a"]]),
        (["a text"], [["a"], ["b"]]),
        (["a text", 7], [["a"], ["b"]]),
        (["a text"], [[]]),
        (["a text", "two"], [["a"], [1]]),
        (["a text", "two"], [["a"], "b"]),
        (["a text", "two"], np.array([[2, 1], [0, 1]])),
        (["a text", "two"], sp.csr_matrix([[-1, 1], [0, 1]])),
        (["a text", "two"], sp.csr_matrix([[0.5, 1], [0, 1]])),
        (["a text", "two"], [["a"], [None]]),
        (["a text", "two"], [["a"], [float("nan")]]),
        (["a text", "two"], [["a"], [["b"]]]),
        ([["a text"], ["two"]], ["a", "b"]),
        ([], []),
        (["a text"], None),
        ({"text": ["a"]}, ["a"]),
        (None, ["a"]),
        ([None, "a text"], ["a", "b"]),
        (np.array([["a text"], ["two"]]), ["a", "b"]),
        (["a text", "two"], np.array(5)),
        (["a text", "two"], sp.csr_matrix((2, 3))),
    ],
    ids=[
        "string", "lengths", "number", "no label", "kinds", "string in y", "counts", "negative",
        "shares", "None as a label", "NaN as a label", "a list as a label", "table", "empty",
        "no y", "dict", "nothing", "a missing text", "an array of one column", "one number", "zeros",
    ],
)  # fmt: skip
def test_wrong_input_is_a_value_error(X, y):
    with pytest.raises(ValueError):
        fast().fit(X, y)


@pytest.mark.parametrize("weights", [[1.0], [-1.0] * 120, [np.nan] * 120, [0.0] * 120, ["heavy"] * 120])
def test_weights_that_do_not_fit_are_value_errors(fitted, weights):
    with pytest.raises(ValueError):
        fast().fit(TEXTS, LISTS, sample_weight=weights)
    with pytest.raises(ValueError):
        fitted.score(TEXTS, LISTS, sample_weight=weights)


def test_streams_are_read_whole(fitted):
    assert fitted.decision_topk(iter(TEXTS[:20])) == fitted.decision_topk(TEXTS[:20])
    found = read_targets(iter(LISTS))
    assert (found.labels != read_targets(LISTS).labels).nnz == 0


@pytest.mark.parametrize("y", [[["cat"]] * 3, ["cat"] * 3])
def test_names_are_no_labels_of_a_model_of_numbers(y):
    with pytest.raises(ValueError):
        read_targets(y, np.arange(3))
    with pytest.raises(ValueError):
        read_targets([[1]] * 3, np.array(["cat", "dog"], object))


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError):
        LabelClassifier("linear", options="c=1").fit(TEXTS, LISTS)
    for metric in ("P@0", None):
        with pytest.raises(SettingError) as caught:
            make_xmc_scorer(metric)
        assert caught.value.where == "metric"
    with pytest.raises(ValueError):
        LabelClassifier("lineer").fit(TEXTS, LISTS)
    with pytest.raises(ValueError):
        LabelClassifier("linear", options={"tree": 1}).fit(TEXTS, LISTS)
    with pytest.raises(SettingError):
        make_xmc_scorer("accuracy")
    with pytest.raises(TypeError):
        make_xmc_scorer("P@1")(object(), TEXTS, LISTS)


@pytest.mark.slow
def test_the_blocks_of_the_page_run(monkeypatch, tmp_path):
    """With a sixth of the bundled texts, and all of their labels."""
    whole = Corpus.bundled("wordnet-4k")
    train, test = whole.train, whole.test
    fewer = Corpus.of(
        train.texts[:3000], train.labels[:3000], whole.label_texts, test_texts=test.texts[:500],
        test_labels=test.labels[:500], name="wordnet-4k",
    )  # fmt: skip
    monkeypatch.setattr(Corpus, "bundled", {"wordnet-4k": fewer}.__getitem__)
    page = Path(__file__).parents[2] / "docs" / "scikit-learn.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["Y"].shape == (1, 4044)
    assert names["search"].best_score_ > 0
