"""What `convert` writes for other tools is what these read, and comes back as it was."""

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus, Split
from megalabel.data.texts import Texts
from megalabel.errors import DataError


def same(a, b):
    assert list(a.label_texts) == list(b.label_texts)
    assert list(a.train.texts) == list(b.train.texts) and (a.train.labels != b.train.labels).nnz == 0


def test_files_as_the_peers_read_them(tmp_path):
    corpus = Corpus.of(["red shoe", "hat"], [["shoes", "red"], ["hats"]], test_texts=["x"], test_labels=[["red"]])
    convert(corpus, tmp_path / "ft", "fasttext")
    assert (
        tmp_path / "ft" / "train.txt"
    ).read_text() == "__label__shoes __label__red red shoe\n__label__hats hat\n"
    convert(corpus, tmp_path / "lml", "libmultilabel")
    assert (tmp_path / "lml" / "train.txt").read_text() == "0\tshoes red\tred shoe\n1\thats\that\n"
    convert(corpus, tmp_path / "pecos", "pecos")
    assert (tmp_path / "pecos" / "X.trn.txt").read_text() == "red shoe\nhat\n"
    assert (tmp_path / "pecos" / "output-items.txt").read_text() == "shoes\nred\nhats\n"
    assert sp.load_npz(tmp_path / "pecos" / "Y.trn.npz").toarray().tolist() == [[1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("to", ["fasttext", "libmultilabel"])
@pytest.mark.parametrize("names", [["two words", "1", "0"], ["2", "1", "0"], ["a,b", "a", "b"], ["a", "a", "b"]])
def test_names_that_are_no_words_or_numbers_come_back(tmp_path, to, names):
    corpus = Corpus.of(["x", "y"], [[0, 1], [2]], names)
    convert(corpus, tmp_path / "out", to)
    same(corpus, Corpus.open(tmp_path / "out"))


def test_labels_within_a_text_are_refused_by_fasttext(tmp_path):
    corpus = Corpus.of(["a __label__b c"], [["x"]])
    with pytest.raises(DataError, match="__label__"):
        convert(corpus, tmp_path / "out", "fasttext")
    convert(corpus, tmp_path / "out", "fasttext", lossy=True)
    assert Corpus.open(tmp_path / "out").train.texts[0] == "a label b c"


def test_pecos_bag_round_trip(tmp_path):
    features = sp.random(6, 40, density=0.2, format="csr", dtype=np.float32, random_state=np.random.default_rng(0))
    features.sort_indices()
    names = ["a", "b", "c", "d"]
    labels = Corpus.of(["x"] * 6, [[0], [1, 3], [], [2], [0], [1]], names).train.labels
    corpus = Corpus("bow", Split(Texts.blank(6), labels, None, features), None, Texts.from_strings(names))
    convert(corpus, tmp_path / "out", "pecos-bag")
    back = Corpus.open(tmp_path / "out")
    same(corpus, back)
    assert (back.train.features != corpus.train.features).nnz == 0
    with pytest.raises(DataError, match="holds texts, not features"):
        convert(Corpus.of(["a"], [["x"]]), tmp_path / "texts", "pecos-bag")
