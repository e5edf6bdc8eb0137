"""Data sets from memory, the bundled ones, and texts as one block of bytes."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.catalog import BUNDLED, bundled_folder
from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError


def test_of_names():
    corpus = Corpus.of(["a", "b"], [["x", "y"], ["x"]], test_texts=["t"], test_labels=[["y", "new"]])
    assert list(corpus.label_texts) == ["x", "y"]
    assert corpus.train.labels.toarray().tolist() == [[1, 1], [1, 0]]
    assert corpus.test.labels.toarray().tolist() == [[0, 1]]
    assert list(corpus.test.unseen.names) == ["new"] and corpus.test.n_true().tolist() == [2]


def test_of_ids_lists_arrays_and_csr_are_equal():
    rows = [[2, 0], [1]]
    matrix = sp.csr_matrix(np.array([[1, 0, 1], [0, 1, 0]]))
    names = ["x", "y", "z"]
    made = [Corpus.of(["a", "b"], labels, names) for labels in (rows, [np.array(r) for r in rows], matrix)]
    assert len({corpus.fingerprint() for corpus in made}) == 1
    assert list(Corpus.of(["a", "b"], matrix).label_texts) == ["0", "1", "2"]


def test_fingerprint_sees_every_part():
    base = dict(texts=["a", "b"], labels=[[0], [1]], label_texts=["x", "y"])
    changes = [{}, {"texts": ["ab", ""]}, {"labels": [[0], [0]]}, {"label_texts": ["x", "z"]}]
    changes += [{"filter": np.array([[0, 1]])}, {"test_texts": ["a"], "test_labels": [[0]]}]
    prints = [Corpus.of(**(base | change)).fingerprint() for change in changes]
    assert len(set(prints)) == len(prints)
    assert Corpus.of(**base).fingerprint() == prints[0]


@pytest.mark.parametrize(
    "arguments, found",
    [
        ((["a"], [[0], [1]]), "1 texts and 2 rows"),
        ((["a"], [["x", 1]]), "label 1 is an id"),
        ((["a"], [[-1]]), "negative"),
        ((["a"], [[2]], ["x", "y"]), "names label 2"),
        ((["a"], [["z"]], ["x", "y"]), "'z' is not in"),
        ((["a"], [[1.5]]), "1.5 is not a label"),
        ((["a"], ["xy"]), "instead of several labels"),
        (([3], [["x"]]), "an int"),
        ((None, [["x"]]), "a NoneType"),
        ((["a"], None), "a NoneType"),
        ((["a", "b"], np.eye(2) * 2), "a dense array"),
        (("abc", [["x"]] * 3), "one string"),
        ((["\ud800"], [["x"]]), "surrogate"),
        ((["a"], [[]]), "no training text"),
        (([], []), "no training text"),
        ((["a"], sp.csr_matrix([[0.5]])), "the value 0.5"),
        ((["a"], [[2_000_000_000]]), "2,000,000,000"),
    ],
)
def test_of_refuses(arguments, found):
    with pytest.raises(DataError, match=found):
        Corpus.of(*arguments)


@pytest.mark.parametrize("pairs", [[[0, 5]], [[-1, 0]], [0, 1], [[0.5, 0.0]]])
def test_of_refuses_filters(pairs):
    with pytest.raises(DataError, match="filter pairs"):
        Corpus.of(["a"], [["x"]], filter=np.array(pairs))


def test_of_refuses_filters_that_are_no_table():
    with pytest.raises(DataError, match="filter pairs"):
        Corpus.of(["a"], [["x"]], filter=[[0, 0], [0]])


def test_of_refuses_half_a_test_side():
    with pytest.raises(DataError, match="only one of"):
        Corpus.of(["a"], [["x"]], test_texts=["b"])
    with pytest.raises(DataError, match="test_filter without test_texts"):
        Corpus.of(["a"], [["x"]], test_filter=np.array([[0, 0]]))


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda file: Corpus.of(["a"], [["x"]], name=5), "name: 5 of type int; expected a name, as a string"),
        (lambda file: Corpus.of(["a"], [["x"]], name=None), "name: None of type NoneType"),
        (lambda file: Corpus.of(["a"], [["x"]], name=file), "name: PosixPath.* of type PosixPath"),
        (lambda file: Corpus.open(file, name=5), "name: 5 of type int"),
        (lambda file: Corpus.open(file, propensity=5), "propensity = 5; expected two numbers above 0"),
        (lambda file: Corpus.open(file, propensity="ab"), "propensity = 'ab'; expected two numbers"),
        (lambda file: Corpus.open(file, propensity=(1, None)), "propensity = .*; expected two numbers"),
        (lambda file: Corpus.open(file, text_field=5), "text_field: 5 is not a text"),
        (lambda file: Corpus.from_data(file), "data: a PosixPath; expected a CorpusData"),
        (lambda file: Corpus.bundled(5), "no bundled data set is called 5"),
    ],
)
def test_arguments_of_other_types_are_named(call, found, tmp_path):
    file = tmp_path / "set.jsonl"
    file.write_text('{"text": "a", "labels": ["x"]}\n')
    with pytest.raises(SettingError, match=found):
        call(file)


@pytest.mark.parametrize(
    "name, labels, train, test, pairs",
    [("wordnet-4k", 4044, 16655, 1794, 50834), ("wordnet", 145716, 104375, 11531, 751088)],
)
def test_bundled(name, labels, train, test, pairs):
    corpus = Corpus.bundled(name)
    assert (corpus.n_labels, len(corpus.train), len(corpus.test)) == (labels, train, test)
    assert corpus.train.labels.nnz == pairs and corpus.name == name
    assert len(corpus.label_texts) == labels and corpus.propensity_constants == (0.55, 1.5)
    license = (bundled_folder(name) / "LICENSE-WORDNET.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University." in license


def test_bundled_size_and_names():
    files = [file for name in BUNDLED for file in bundled_folder(name).iterdir()]
    assert sum(file.stat().st_size for file in files) < 5.5e6
    with pytest.raises(SettingError, match="wordnet-4k or wordnet"):
        Corpus.bundled("wordnet-5k")


def test_texts_are_a_sequence():
    strings = ["", "ä\n", "b\ud800", "日本"]
    texts = Texts.from_strings(strings)
    assert list(texts) == strings and texts == strings and texts[-1] == "日本" and len(texts) == 4
    assert list(texts[np.array([3, 0])]) == ["日本", ""] and list(texts[1:3]) == strings[1:3]
    assert texts.n_bytes == sum(len(s.encode("utf-8", "surrogatepass")) for s in strings)
    assert pickle.loads(pickle.dumps(texts)) == texts
    with pytest.raises(IndexError):
        texts[4]


def test_texts_hash_by_content_not_layout():
    whole = Texts.from_strings(["a", "b", "c"])
    assert whole[np.array([0, 2])].sha256() == Texts.from_strings(["a", "c"]).sha256()
    assert Texts.from_strings(["ab", ""]).sha256() != Texts.from_strings(["a", "b"]).sha256()


@pytest.mark.parametrize("n", [0, 1, 10, 12345])
def test_numbers(n):
    assert list(Texts.numbers(n)) == [str(i) for i in range(n)]
