"""What users have in memory: series, tables, arrays, sets, generators, scores."""

import collections
import subprocess
import sys

import numpy as np
import pytest
from support.read_back import labels_of

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError

TEXTS, ROWS = ["a", "b", "c"], [["x"], ["y", "x"], []]


class Table:
    """What a data frame of pandas or polars has of a table: columns by name, and iteration over the names."""

    def __init__(self, values, dtype=object):
        self.columns = list(values)
        self._values = np.array(list(values.values()), dtype=dtype).T
        self.shape, self.ndim = self._values.shape, 2

    def __iter__(self):
        return iter(self.columns)

    def __array__(self, dtype=None, copy=None):
        return self._values


class DataSet:
    """What a data set of Hugging Face has: column names, and iteration over rows."""

    column_names = ("text", "x")

    def __iter__(self):
        return iter([{"text": "a", "x": 1}])

    def __len__(self):
        return 1


@pytest.mark.parametrize(
    "texts, found",
    [
        (Table({"text": TEXTS, "labels": TEXTS}), r"columns text, labels.*data\[\"text\"\]"),
        (DataSet(), "a table with the columns text, x"),
        ({"text": TEXTS}, "a dict with keys"),
        (set(TEXTS), "a set, which has no order"),
        (frozenset(TEXTS), "a frozenset, which has no order"),
        (np.array("a"), r"an array of shape \(\)"),
        (np.array([TEXTS]), r"an array of shape \(1, 3\)"),
        (b"abc", "bytes"),
        (["a", None, "c"], r"texts\[1\]: a NoneType \(None\)"),
        (["a", float("nan"), "c"], r"texts\[1\]: a float \(nan\)"),
        ([b"a", "b", "c"], r"texts\[0\]: a bytes"),
        (np.array([1, 2, 3]), r"texts\[0\]: an int64"),
        (3, "an int"),
    ],
)
def test_texts_that_are_no_list_are_named(texts, found):
    with pytest.raises(DataError, match=found):
        Corpus.of(texts, ROWS)
    with pytest.raises(DataError, match=found.replace("texts", "test_texts")):
        Corpus.of(TEXTS, ROWS, test_texts=texts, test_labels=ROWS)


@pytest.mark.parametrize(
    "make",
    [
        iter, tuple, collections.deque, lambda v: (x for x in v), lambda v: np.array([*v, None], dtype=object)[:3],
        lambda v: dict(enumerate(v)).values(), lambda v: map(lambda x: x, v), reversed,
    ],
)  # fmt: skip
def test_texts_and_labels_one_after_the_other(make):
    corpus = Corpus.of(make(TEXTS), make(ROWS))
    order = -1 if make is reversed else 1
    assert list(corpus.train.texts) == TEXTS[::order] and sorted(corpus.label_texts) == ["x", "y"]
    assert [sorted(row) for row in labels_of(corpus)] == [sorted(row) for row in ROWS][::order]


@pytest.mark.parametrize(
    "labels, found",
    [
        ([{"x": 0.9}, {}, {}], r"labels\[0\]: a dict of labels with values: {'x': 0.9}.*score > 0.5"),
        ([[("x", 0.9)], [], []], r"labels\[0\]: \('x', 0.9\) is not a label.*no scores"),
        ([["x"], collections.Counter("y"), []], r"labels\[1\]: a Counter"),
        ([[0.5], [], []], r"0.5 is not a label.*no scores"),
        ([[float("nan")], [], []], "nan is not a label.*missing"),
        ([[None], [], []], "None is not a label.*missing"),
        ([None, ["x"], []], r"labels\[0\]: None instead of several labels"),
        (["x", "y", "z"], r"'x' instead of several labels.*\[label\]"),
        ([0, 1, 2], r"labels\[0\]: 0 instead of several labels"),
        ([np.array(1), [1], [2]], r"labels\[0\]: array\(1\) instead"),
        ([[["x"]], [], []], r"\['x'\] is not a label.*without lists inside"),
        ({"x", "y"}, "a set, which has no order"),
        ({"a": ["x"]}, "a dict with keys"),
        (DataSet(), "a table with the columns text, x"),
        (Table({"labels": TEXTS}), "a dense array"),
        ([[10**30], [], []], "label of 100 bits"),
    ],
)
def test_labels_that_are_none_are_named(labels, found):
    with pytest.raises(DataError, match=found):
        Corpus.of(TEXTS, labels)


def test_half_a_surrogate_pair_in_a_name_is_kept_and_said():
    corpus = Corpus.of(TEXTS, [["x\ud800"], [], []])
    assert list(corpus.label_texts) == ["x\ud800"]
    assert [f.message for f in corpus.findings] == [
        "the label name holds half of a surrogate pair (U+D800), so that `data convert` cannot write it"
    ]


def test_a_set_of_label_texts_has_no_order():
    with pytest.raises(DataError, match="label_texts: a set"):
        Corpus.of(TEXTS, [[0], [1], [1]], label_texts={"x", "y"})


def test_sets_of_labels_are_sorted():
    corpus = Corpus.of(TEXTS, [{"y", "x"}, frozenset(("z", "a")), set()])
    assert list(corpus.label_texts) == ["x", "y", "a", "z"]
    assert labels_of(Corpus.of(TEXTS, [{3, 1}, {0}, {2}])) == [["1", "3"], ["0"], ["2"]]


def test_sets_give_the_same_corpus_in_every_process():
    code = (
        "from megalabel.data.corpus import Corpus\n"
        "rows = [set('labels'), set('of'), set('texts')]\n"
        "print(Corpus.of(['a', 'b', 'c'], rows).fingerprint())"
    )
    prints = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True,
                       env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(prints) == 1


def test_columns_of_a_table_of_flags_are_names():
    table = Table({"x": [1, 0, 1], "y": [0, 1, 0]}, dtype=int)
    other = Table({"y": [True, False, True], "new": [True, True, False]}, dtype=bool)
    corpus = Corpus.of(TEXTS, table, test_texts=TEXTS, test_labels=other)
    assert labels_of(corpus) == [["x"], ["y"], ["x"]] and list(corpus.label_texts) == ["x", "y"]
    assert labels_of(corpus, "test") == [["y"], [], ["y"]] and list(corpus.test.unseen.names) == ["new", "new"]


def test_arrays_of_names_and_numpy_scalars():
    assert labels_of(Corpus.of(["a", "b"], np.array([["x", "y"], ["z", "x"]]))) == [["x", "y"], ["x", "z"]]
    assert labels_of(Corpus.of(["a"], [[np.str_("x")]])) == [["x"]]
    assert labels_of(Corpus.of(["a"], [[np.int16(1), 0]])) == [["0", "1"]]


def test_arrow_and_torch():
    import pyarrow as pa
    import torch

    assert labels_of(Corpus.of(pa.array(TEXTS), pa.array(ROWS))) == [["x"], ["x", "y"], []]
    with pytest.raises(DataError, match="a table with the columns text"):
        Corpus.of(pa.table({"text": TEXTS}), ROWS)
    assert labels_of(Corpus.of(TEXTS, torch.tensor([[1, 0], [0, 1], [1, 1]]))) == [["0"], ["1"], ["0", "1"]]
    assert labels_of(Corpus.of(TEXTS, [torch.tensor([1, 2]), torch.tensor([0]), []])) == [["1", "2"], ["0"], []]


def test_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": TEXTS, "labels": ROWS}, index=[7, 3, 5])
    with pytest.raises(DataError, match=r"a table with the columns text, labels.*data\[\"text\"\]"):
        Corpus.of(frame, ROWS)
    for texts in (frame.text, frame.text.astype("category"), frame.text.astype("string"), frame.text.to_numpy()):
        corpus = Corpus.of(texts, frame["labels"])
        assert list(corpus.train.texts) == TEXTS and labels_of(corpus) == [["x"], ["x", "y"], []]
    assert labels_of(Corpus.of(TEXTS, pd.get_dummies(pd.Series(["x", "y", "x"])))) == [["x"], ["y"], ["x"]]
    with pytest.raises(DataError, match=r"texts\[1\]: a "):
        Corpus.of(pd.Series(["a", None, "c"]), ROWS)
