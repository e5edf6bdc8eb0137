"""Annif's corpora and vocabularies in all their forms."""

import pytest
from support.layouts import label_sets, put

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError


def opened(folder, files, **how):
    return Corpus.open(put(folder, files), **how)


def labels(corpus, split=None):
    return label_sets(split or corpus.train, list(corpus.label_texts))


VOCABULARY = "<http://e/1>\tone\n<http://e/2>\ttwo\n"


def test_unknown_uris_are_passed_over_and_counted(tmp_path):
    files = {
        "train.tsv": "A text\t<http://e/1> <http://e/9>\nB\t<http://e/2>\nC\t<http://e/8>\n",
        "vocab.tsv": VOCABULARY,
    }
    corpus = opened(tmp_path, {**files, "test.tsv": "D\t<http://e/2> <http://e/7>\n"})
    assert labels(corpus) == [["one"], ["two"], []] and list(corpus.label_texts) == ["one", "two"]
    assert "<http://e/9> is not in vocab.tsv" in corpus.notes[0] and "1 more like it" in corpus.notes[0]
    assert corpus.test.n_true().tolist() == [2]  # a true label that no model can find still counts
    assert any("http://e/9" in finding.message for finding in check(tmp_path).findings)


def test_no_known_uri_at_all_is_refused(tmp_path):
    with pytest.raises(DataError, match="no training text of 1 has a label"):
        opened(tmp_path, {"train.tsv": "A\t<http://e/9>\n", "vocab.tsv": VOCABULARY})


SUBJECTS = '{"text":"a","subjects":[{"uri":"http://e/1","label":"one"}]}\n{"text":"b","subjects":[]}\n'


@pytest.mark.parametrize(
    "vocabulary", [{}, {"vocab.tsv": VOCABULARY}, {"vocab.csv": "uri,label_en,notation\nhttp://e/1,one,1\n"}]
)
def test_annif_json_lines(tmp_path, vocabulary):
    corpus = opened(tmp_path, {"train.jsonl": SUBJECTS, **vocabulary})
    assert labels(corpus) == [["one"], []] and corpus.label_uris[0] == "http://e/1"


def test_annif_subjects_without_uri_or_as_strings(tmp_path):
    lines = '{"text":"a","subjects":[{"label":"one"}, "<http://e/2>"]}\n'
    assert labels(opened(tmp_path, {"train.jsonl": lines})) == [["http://e/2", "one"]]
    with pytest.raises(DataError, match="the subject 7"):
        opened(tmp_path / "bad", {"train.jsonl": '{"text":"a","subjects":[7]}\n'})


def test_json_lines_with_labels_and_subjects_have_labels(tmp_path):
    assert labels(opened(tmp_path, {"train.jsonl": '{"text":"a","labels":["x"],"subjects":["y"]}\n'})) == [["x"]]


def test_annif_vocabulary_as_csv(tmp_path):
    csv = 'uri,label_fi,label_en,notation\nhttp://e/1,yksi,"one, or 1",1\nhttp://e/2,kaksi,two,2\n'
    corpus = opened(tmp_path, {"train.tsv": "A\t<http://e/1>\n", "vocab.csv": csv})
    assert list(corpus.label_texts) == ["one, or 1", "two"] and any("label_en" in note for note in corpus.notes)
    with pytest.raises(DataError, match="a column `uri`"):
        opened(tmp_path / "bad", {"train.tsv": "A\t<http://e/1>\n", "vocab.csv": "id,name\n1,x\n"})


TURTLE = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
<http://e/1> a skos:Concept ; skos:prefLabel "one"@en, "yksi"@fi .
<http://e/2> a skos:Concept ; skos:prefLabel "kaksi"@fi .
"""


def test_annif_vocabulary_in_skos(tmp_path):
    pytest.importorskip("rdflib")
    corpus = opened(tmp_path, {"train.tsv": "A\t<http://e/1> <http://e/2>\n", "vocab.ttl": TURTLE})
    assert list(corpus.label_texts) == ["one", "kaksi"] and any("'en'" in note for note in corpus.notes)
    with pytest.raises(DataError, match="does not parse as turtle"):
        opened(tmp_path / "bad", {"train.tsv": "A\t<http://e/1>\n", "vocab.ttl": "@prefix : \n"})


def test_skos_without_its_package_names_the_package(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(DataError, match=r"megalabel\[annif\]"):
        opened(tmp_path, {"train.tsv": "A\t<http://e/1>\n", "vocab.ttl": TURTLE})


@pytest.mark.parametrize("place", ["train/", ""])
def test_documents_with_key_files(tmp_path, place):
    files = {
        f"{place}b.txt": "second\ntext",
        f"{place}b.key": "cats\ndogs\n",
        f"{place}a.txt": "first",
        f"{place}a.key": "",
    }
    if place:
        files |= {"test/c.txt": "third", "test/c.key": "dogs\n"}
    corpus = opened(tmp_path, files)
    assert list(corpus.train.texts) == ["first", "second\ntext"] and labels(corpus) == [[], ["cats", "dogs"]]
    assert (corpus.test is not None) == bool(place)


def test_documents_with_subject_files_and_a_vocabulary(tmp_path):
    files = {"train/a.txt": "x", "train/a.tsv": "<http://e/2>\ttwo\n<http://e/9>\tnine\n", "vocab.tsv": VOCABULARY}
    assert labels(opened(tmp_path, files)) == [["two"]]
    files = {"train/a.txt": "x", "train/a.key": "two\nunknown\n", "vocab.tsv": VOCABULARY}
    corpus = opened(tmp_path / "keys", files)
    assert labels(corpus) == [["two"]] and "unknown" in corpus.notes[0]


def test_a_document_without_its_key_is_named(tmp_path):
    with pytest.raises(DataError, match=r"b\.txt has neither b\.key nor b\.tsv"):
        opened(tmp_path, {"train/a.txt": "x", "train/a.key": "two\n", "train/b.txt": "y"})
