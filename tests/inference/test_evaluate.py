from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from untrained import untrained

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.inference.evaluate import check_labels

NAMES = ["w", "x", "y", "z"]
TEXTS = ["a", "b c", "d"]


@pytest.fixture(scope="module")
def model():
    return untrained(NAMES)


def corpus(labels, test_filter=None, names=NAMES):
    return Corpus.of(
        ["a", "b", "c", "d"],
        [[0], [1], [2], [3]],
        names,
        test_texts=TEXTS,
        test_labels=labels,
        test_filter=test_filter,
    )


def test_filter_pairs_go_before_the_top_k(model):
    ranked = model.topk(TEXTS, 4).ids
    second = corpus([[int(row[1])] for row in ranked])
    assert megalabel.evaluate(model, second, k=1)["P@1"] == 0.0
    first = np.stack([np.arange(3), ranked[:, 0]], axis=1)
    found = megalabel.evaluate(model, corpus([[int(row[1])] for row in ranked], first), k=(1, 3))
    assert found["P@1"] == 100.0
    assert found["P@3"] == pytest.approx(100 / 3)  # three are still asked for, beside the one left out


def test_one_depth_is_a_list_of_one(model):
    data = corpus([[0], [1], [2]])
    assert megalabel.evaluate(model, data, k=2) == megalabel.evaluate(model, data, k=[2])


def test_labels_that_training_never_saw_count_against_recall(model):
    best = [NAMES[i] for i in model.topk(TEXTS, 1).ids[:, 0]]
    train = (["a", "b", "c", "d"], [[name] for name in NAMES])
    seen = Corpus.of(*train, test_texts=TEXTS, test_labels=[[name] for name in best])
    more = Corpus.of(*train, test_texts=TEXTS, test_labels=[[best[0], "new"], [best[1]], [best[2]]])
    assert len(more.test.unseen) == 1
    whole, less = (megalabel.evaluate(model, data, k=(1, 3)) for data in (seen, more))
    assert whole["R@1"] == whole["P@1"] == less["P@1"] == 100.0
    assert less["R@1"] == pytest.approx(100 * 2.5 / 3)
    assert less["nDCG@3"] < whole["nDCG@3"]


def test_an_ensemble_is_fitted_on_the_same_labels_only(model):
    labels = [[0], [1], [2]]
    with pytest.raises(DataError, match="5 labels, the model 4"):
        check_labels(model, corpus(labels, names=[*NAMES, "v"]))
    with pytest.raises(DataError, match=r"label 1 of corpus is 'y'.*'x'"):
        check_labels(model, corpus(labels, names=["w", "y", "x", "z"]))


def test_a_side_that_cannot_be_measured_is_refused(model):
    with pytest.raises(DataError, match="no test split"):
        megalabel.evaluate(model, Corpus.of(["a"], [[0]], NAMES))
    with pytest.raises(DataError, match="0 true labels"):
        megalabel.evaluate(model, corpus([[], [], []]))
    data = corpus([[0], [1], [2]])
    bags = replace(data, test=replace(data.test, features=sp.csr_matrix((3, 9), dtype=np.float32)))
    with pytest.raises(DataError, match="bags of words"):
        megalabel.evaluate(model, bags)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(k=()), "k is empty"),
        (dict(k=0), "k = 0"),
        (dict(k=(0, 3)), "k = "),
        (dict(batch_size=0), "batch_size = 0"),
        (dict(a=-1.0), "a: -1.0"),
        (dict(b=float("nan")), "b: nan"),
    ],
)
def test_settings_out_of_range_are_refused(model, settings, said):
    with pytest.raises(SettingError, match=said):
        megalabel.evaluate(model, corpus([[0], [1], [2]]), **settings)
