"""Convert and read back: the identity wherever a format can hold the data, a refusal where it cannot."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus, Split
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError

TEXT_FORMATS = ["raw", "lf-json", "jsonl", "csv", "parquet", "annif", "pecos", "fasttext", "libmultilabel"]


def small(**changes):
    arguments = dict(
        texts=["a b", "", "ünï\u2028 'q\" |,;[", "d"],
        labels=[[0, 2], [], [1], [2]],
        label_texts=["tabby|cat", "[1]", "owl, \u2028barn"],
        test_texts=["t"],
        test_labels=[[1, 2]],
        filter=np.array([[3, 0], [0, 1]]),
        test_filter=np.array([[0, 0]]),
    )
    return Corpus.of(**(arguments | changes))


def same(a, b):
    assert list(a.label_texts) == list(b.label_texts)
    for x, y in ((a.train, b.train), (a.test, b.test)):
        assert (x is None) == (y is None)
        if x is None:
            continue
        assert list(x.texts) == list(y.texts)
        assert x.labels.shape == y.labels.shape and (x.labels != y.labels).nnz == 0
        assert (x.filter is None) == (y.filter is None)
        if x.filter is not None:
            assert x.filter.tolist() == y.filter.tolist()
        assert x.n_true().tolist() == y.n_true().tolist()


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("to", TEXT_FORMATS)
def test_round_trip(tmp_path, to, gz):
    corpus = small(texts=["a b", "", "ünï 'q\" |,;[", "d"], label_texts=["tabby|cat", "[1]", "owl, barn"])
    done = convert(corpus, tmp_path / "out", to, gz=gz)
    back = Corpus.open(tmp_path / "out")
    same(corpus, back)
    assert all("labels are ids" in note for note in done.notes) and back.fingerprint() == corpus.fingerprint()
    assert gz == any(name.endswith(".gz") for name in done.files)


@pytest.mark.parametrize("to", ["raw", "jsonl", "csv", "parquet"])
def test_round_trip_of_unicode_line_ends(tmp_path, to):
    convert(small(), tmp_path / "out", to)
    same(small(), Corpus.open(tmp_path / "out"))


@pytest.mark.parametrize("to", ["jsonl", "csv", "parquet", "annif"])
def test_repeated_names_are_written_as_ids(tmp_path, to):
    corpus = small(texts=["a", "b", "c", "d"], label_texts=["x", "x", "y"])
    convert(corpus, tmp_path / "out", to)
    same(corpus, Corpus.open(tmp_path / "out"))


def test_equal_data_gives_equal_files(tmp_path):
    for name in ("one", "two"):
        convert(small(), tmp_path / name, "raw", gz=True)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


@pytest.mark.parametrize("to", ["raw", "annif"])
@pytest.mark.parametrize("text", ["a\nb", "a\r"])
def test_line_breaks_are_refused_or_made_spaces(tmp_path, to, text):
    corpus = Corpus.of(["fine", text], [["x"], ["x"]])
    with pytest.raises(DataError, match=r"text 1 \(counted from 0\) holds a line break"):
        convert(corpus, tmp_path / "out", to)
    assert not (tmp_path / "out").exists() and list(tmp_path.iterdir()) == []
    done = convert(corpus, tmp_path / "out", to, lossy=True)
    assert "had a line break" in done.notes[0]
    assert Corpus.open(tmp_path / "out").train.texts[1] == text.replace("\n", " ").replace("\r", " ")


def test_a_text_that_begins_with_a_byte_order_mark(tmp_path):
    with pytest.raises(DataError, match="byte order mark"):
        convert(Corpus.of(["\ufeffa"], [["x"]]), tmp_path / "out", "raw")
    corpus = Corpus.of(["a", "\ufeffb"], [["x"], ["x"]])  # only the first is at the start of the file
    convert(corpus, tmp_path / "out", "raw")
    same(corpus, Corpus.open(tmp_path / "out"))


def test_tabs_in_annif(tmp_path):
    with pytest.raises(DataError, match="holds a tab"):
        convert(Corpus.of(["a\tb"], [["x"]]), tmp_path / "out", "annif")


def test_white_space_that_lf_json_tidies_is_said(tmp_path):
    done = convert(Corpus.of(["a  b"], [["x"]]), tmp_path / "out", "lf-json")
    assert "1 texts or names hold white space" in done.notes[0]


def test_labels_without_a_column(tmp_path):
    corpus = Corpus.of(["a"], [["x"]], test_texts=["t", "u"], test_labels=[["x"], ["new"]])
    for to in ("jsonl", "csv", "parquet", "fasttext", "libmultilabel"):
        convert(corpus, tmp_path / to, to)
        same(corpus, Corpus.open(tmp_path / to))
    for to in ("raw", "lf-json", "annif", "pecos"):
        with pytest.raises(DataError, match="1 test labels have no id, the first is 'new'"):
            convert(corpus, tmp_path / to, to)
        assert "left out" in convert(corpus, tmp_path / to, to, lossy=True).notes[0]


def test_uris_survive(tmp_path):
    (tmp_path / "vocab.tsv").write_text("<http://e.org/1>\tone\n<http://e.org/2>\ttwo\n")
    (tmp_path / "train.tsv").write_text("a\t<http://e.org/2>\n")
    (tmp_path / "test.tsv").write_text("b\t<http://e.org/3>\n")
    convert(tmp_path, tmp_path / "out", "annif")
    back = Corpus.open(tmp_path / "out")
    assert list(back.label_uris) == ["http://e.org/1", "http://e.org/2"]
    assert list(back.test.unseen.names) == ["http://e.org/3"]


def features_corpus():
    rng = np.random.default_rng(0)
    features = sp.random(6, 40, density=0.2, format="csr", dtype=np.float32, random_state=rng)
    features.sort_indices()
    labels = Corpus.of(["x"] * 6, [[0], [1, 3], [], [2], [0], [1]], ["a", "b", "c", "d"]).train.labels
    return Corpus(
        "bow", Split(Texts.blank(6), labels, None, features), None, Texts.from_strings(["a", "b", "c", "d"])
    )


def test_xmlrepo_round_trip_keeps_float32_exactly(tmp_path):
    corpus = features_corpus()
    convert(corpus, tmp_path / "out", "xmlrepo", gz=True)
    back = Corpus.open(tmp_path / "out")
    same(corpus, back)
    assert (back.train.features != corpus.train.features).nnz == 0
    assert back.fingerprint() == corpus.fingerprint()


def test_texts_and_features_are_not_made_of_each_other(tmp_path):
    with pytest.raises(DataError, match="holds texts, not features"):
        convert(small(), tmp_path / "out", "xmlrepo")
    with pytest.raises(DataError, match="features and no texts"):
        convert(features_corpus(), tmp_path / "out", "raw")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "file").write_text("keep")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(SettingError, match="not an empty folder"):
            convert(small(), out, "jsonl")
    with pytest.raises(SettingError, match="xls"):
        convert(small(), tmp_path / "out", "xls")
    (tmp_path / "empty").mkdir()
    convert(small(), tmp_path / "empty", "jsonl")
    assert (tmp_path / "file").read_text() == "keep" and (tmp_path / "empty" / "train.jsonl").is_file()


# Strings that break naive readers, by what each format can hold; surrogates are no text anywhere.
NASTY = list("ab\t\r\n\v\f\x1c\x85\u2028\u2029\ufeff\x00\"',;|[]{}\\<>: \u00a0é日😀")
ANY = st.text(alphabet=NASTY, max_size=8)
LINE = st.text(alphabet=[c for c in NASTY if c != "\n"], max_size=8)
LINE = LINE.map(lambda s: s.lstrip("\ufeff").rstrip("\r"))
CELL = LINE.map(lambda s: s.replace("\t", "").lstrip("\ufeff").rstrip("\r"))
TIDY = ANY.map(lambda s: " ".join(s.split()))
KINDS = {"raw": (LINE, LINE), "jsonl": (ANY, LINE), "csv": (ANY, LINE), "parquet": (ANY, LINE)}
KINDS |= {"annif": (CELL, CELL), "lf-json": (TIDY, TIDY)}
KINDS |= {"pecos": (LINE, LINE), "fasttext": (LINE, LINE), "libmultilabel": (CELL, LINE)}


@st.composite
def corpora(draw, to):
    text, name = KINDS[to]
    n_labels = draw(st.integers(1, 5))
    names = draw(st.lists(name, min_size=n_labels, max_size=n_labels))
    row = st.lists(st.integers(0, n_labels - 1), max_size=4)

    def side(least):
        texts = draw(st.lists(text, min_size=1, max_size=5))
        rows = draw(st.lists(row, min_size=len(texts), max_size=len(texts)))
        rows[0] = rows[0] or [0] * least
        pairs = st.tuples(st.integers(0, len(texts) - 1), st.integers(0, n_labels - 1))
        chosen = draw(st.none() | st.lists(pairs, max_size=4))
        return texts, rows, None if chosen is None else np.array(chosen, np.int64).reshape(-1, 2)

    train, test = side(1), draw(st.booleans())
    other = side(0) if test else (None, None, None)
    return Corpus.of(
        *train[:2],
        names,
        filter=train[2],
        test_texts=other[0],
        test_labels=other[1],
        test_filter=other[2],
    )


@pytest.mark.parametrize("to", TEXT_FORMATS)
def test_round_trip_of_anything_a_format_can_hold(to):
    @settings(max_examples=20)
    @given(corpora(to), st.booleans())
    def check(corpus, gz):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            convert(corpus, out, to, gz=gz)
            same(corpus, Corpus.open(out))

    check()
