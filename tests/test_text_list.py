"""What is no list of texts is refused with the cause; what is one column of texts is read."""

from collections import OrderedDict, deque
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from untrained import untrained

from megalabel.errors import DataError, MegalabelError, SettingError
from megalabel.models.text_list import as_texts

TEXTS = ["a b", "c", "d a"]


@pytest.fixture(scope="module")
def model():
    return untrained(["w", "x", "y", "z"])


class Table:
    """As pandas.DataFrame: iterating gives the names of the columns."""

    columns = ("text", "x")
    shape = (3, 2)

    def __len__(self):
        return 3

    def __iter__(self):
        return iter(self.columns)

    def __getitem__(self, key):
        return Column(TEXTS) if key == "text" else self


class Dataset:
    """As datasets.Dataset: it has column_names, and its rows are dictionaries."""

    column_names = ("body", "x")

    def __len__(self):
        return 3

    def __getitem__(self, key):
        return {"body": TEXTS[key], "x": 0}


class Column:
    """As pandas.Series with an index of its own: positions and labels differ."""

    def __init__(self, values):
        self.values = list(values)
        self.shape = (len(self.values),)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        raise KeyError(key)

    def to_list(self):
        return self.values


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS,
        tuple(TEXTS),
        deque(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        Column(TEXTS),
        Table()["text"],
        pa.array(TEXTS),
        pa.chunked_array([TEXTS]),
        dict.fromkeys(TEXTS).keys() and {i: text for i, text in enumerate(TEXTS)}.values(),
        iter(TEXTS),
        (text for text in TEXTS),
        map(str, TEXTS),
        [np.str_(text) for text in TEXTS],
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_columns_and_generators_are_read_in_their_order(model, texts):
    assert list(as_texts(texts)) == TEXTS if not hasattr(texts, "__next__") else True
    if not hasattr(texts, "__next__"):
        np.testing.assert_array_equal(model.topk(texts, 4).ids, model.topk(TEXTS, 4).ids)
        np.testing.assert_array_equal(model.encode(texts), model.encode(TEXTS))
    else:
        np.testing.assert_array_equal(model.topk(texts, 4).ids, model.topk(TEXTS, 4).ids)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (Table(), r"a table \(Table\) with the columns 'text', 'x'.*table\['text'\]"),
        (Dataset(), r"a table \(Dataset\) with the columns 'body', 'x'.*table\['body'\]"),
        (pa.table({"text": TEXTS}), r"a table \(Table\).*table\['text'\]"),
        ({"text": TEXTS}, "a dict with 1 keys.*values"),
        (OrderedDict(a="b"), "an? OrderedDict with 1 keys"),
        (set(TEXTS), "a set, whose order is arbitrary.*sorted"),
        (frozenset(TEXTS), "a frozenset, whose order"),
        ({"a": 1}.keys(), "dict_keys, whose order"),
        (np.array("a"), r"0 dimensions, shape \(\).*\[text\]"),
        (np.array([TEXTS]), r"2 dimensions, shape \(1, 3\)"),
        (np.arange(3), r"a text of type int \(text 0\)"),
        (torch.zeros(3), "a text of type float"),
        (torch.zeros(3, 2), "2 dimensions"),
        (sp.csr_matrix((3, 2)), "a sparse matrix"),
        ("a b", "one string.*\\[text\\]"),
        (b"a b", "one value of bytes"),
        ([b"a"], "a text of type bytes.*decode"),
        ([*TEXTS, None], r"a text of type NoneType \(text 3\).*\"\" for an empty text"),
        ([float("nan")], "a text of type float.*empty text"),
        ([TEXTS], "a text of type list"),
        ([{"text": "a"}], r"a text of type dict.*record\['text'\]"),
        (None, "a NoneType"),
        (3, "an? int"),
        (Path("texts.txt"), "the path texts.txt.*megalabel predict"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_list_of_texts_is_refused_with_the_next_step(model, texts, said):
    for ask in (lambda: model.topk(texts, 1), lambda: model.predict(texts, 1), lambda: model.encode(texts)):
        with pytest.raises(MegalabelError, match=f"(?s){said}") as error:
            ask()
        assert isinstance(error.value, (DataError, SettingError))
        assert error.value.next_step


def test_an_open_file_is_refused(model, tmp_path):
    (tmp_path / "t.txt").write_text("a\nb\n")
    for mode in ("r", "rb"):
        with (
            open(tmp_path / "t.txt", mode) as file,
            pytest.raises(SettingError, match=r"an open file.*splitlines"),
        ):
            model.topk(file, 1)


def test_pandas_polars_and_datasets_if_they_are_there(model):
    right = model.topk(TEXTS, 4).ids
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS}, index=[7.5, 3.0, 9.0])
    with pytest.raises(DataError, match=r"a table \(DataFrame\).*table\['text'\]"):
        model.predict(frame, k=1)
    np.testing.assert_array_equal(model.topk(frame["text"], 4).ids, right)
    np.testing.assert_array_equal(model.topk(frame["text"][[True, False, True]], 4).ids, right[[0, 2]])


def test_no_texts_have_no_answers(model):
    for texts in ([], np.array([], dtype=object), iter(())):
        assert model.topk(texts, 3).ids.shape == (0, 3)
        assert model.predict([], 3) == []


def test_k_is_that_of_the_labels_inside(model):
    ids, scores = model.topk(TEXTS, 7).numpy()
    assert ids.shape == scores.shape == (3, 7)
    np.testing.assert_array_equal(ids[:, :4], model.topk(TEXTS, 4).ids)
    assert (ids[:, 4:] == -1).all() and np.isneginf(scores[:, 4:]).all()
    assert [len(row) for row in model.predict(TEXTS, k=10**12)] == [4, 4, 4]
    for k in (10**9, 10**12, 10**30):
        with pytest.raises(SettingError, match="of 4 labels for 3 texts; expected at most 4"):
            model.topk(TEXTS, k)
    for k in (0, -1, 1.5, True, "3", None):
        with pytest.raises(SettingError, match="k = "):
            model.topk(TEXTS, k)
