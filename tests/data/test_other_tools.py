"""Files that other tools write are read with the labels those tools mean."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from support.layouts import label_sets, put

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError


def opened(folder, files, **how):
    return Corpus.open(put(folder, files), **how)


def labels(corpus, split=None):
    return label_sets(split or corpus.train, list(corpus.label_texts))


# --- text files with the labels in the line ------------------------------------------------------------------


def test_fasttext(tmp_path):
    text = "__label__sauce __label__cheese How much does potato starch affect?\n"
    text += "__label__food-safety Dangerous pathogens\n"
    corpus = opened(tmp_path, {"train.txt": text, "test.txt": "__label__sauce x\n"})
    assert list(corpus.train.texts) == ["How much does potato starch affect?", "Dangerous pathogens"]
    assert labels(corpus) == [["cheese", "sauce"], ["food-safety"]] and labels(corpus, corpus.test) == [["sauce"]]


def test_fasttext_labels_after_the_text_and_rows_without_any(tmp_path):
    corpus = opened(tmp_path, {"train.txt": "plain text\na  b __label__x\n__label__y\tc  d\n"})
    assert list(corpus.train.texts) == ["plain text", "a b", "c  d"] and labels(corpus) == [[], ["x"], ["y"]]


def test_fasttext_as_a_single_compressed_file(tmp_path):
    put(tmp_path, {"cooking.txt.gz": "__label__a one\n__label__b two\n"})
    corpus = Corpus.open(tmp_path / "cooking.txt.gz")
    assert corpus.name == "cooking" and labels(corpus) == [["a"], ["b"]]


def test_ids_tab_text(tmp_path):
    corpus = opened(tmp_path, {"train.txt": "0,1\tred shoe\n1\tblue hat\n"})
    assert list(corpus.train.texts) == ["red shoe", "blue hat"] and labels(corpus) == [["0", "1"], ["1"]]


def test_text2text_of_pecos_with_its_labels(tmp_path):
    files = {"train.txt": "0,2\ta\tb\n1\tc\n\td\n", "output-labels.txt": "shoes\nhats\nred\n"}
    corpus = opened(tmp_path, files)
    assert labels(corpus) == [["red", "shoes"], ["hats"], []] and corpus.train.texts[0] == "a\tb"


@pytest.mark.parametrize("number", ["", "0\t"])
def test_libmultilabel(tmp_path, number):
    train = f"{number}M131 M14\tstocks fall\n{number}GCAT\tstocks rise\n"
    corpus = opened(tmp_path, {"train.txt": train, "test.txt": f"{number}GCAT\tx\n"})
    assert list(corpus.train.texts) == ["stocks fall", "stocks rise"]
    assert labels(corpus) == [["M131", "M14"], ["GCAT"]] and labels(corpus, corpus.test) == [["GCAT"]]


def test_a_line_without_a_tab_is_named(tmp_path):
    with pytest.raises(DataError, match=r"train\.txt, line 2: 0 tabs"):
        opened(tmp_path, {"train.txt": "a b\ttext\nno tab here\n"})


def test_a_bag_of_words_is_still_one(tmp_path):
    corpus = opened(tmp_path, {"train.txt": "2 3 2\n0,1\t0:1 2:.5\n1\t1:1\n"})
    assert corpus.train.features.shape == (2, 3) and labels(corpus) == [["0", "1"], ["1"]]
    with pytest.raises(DataError, match=r"is not a header"):
        opened(tmp_path / "libsvm", {"train.txt": "0,1 3:0.5 7:1\n"})


# --- JSON ----------------------------------------------------------------------------------------------------

LF = (
    '{"uid":"1","title":"red shoe","content":"a b","target_ind":[0,1],"target_rel":[1.0,1.0]}\n'
    '{"uid":"2","title":"blue hat","content":"","target_ind":[1],"target_rel":[1.0]}\n'
)


def test_repository_json_with_names_in_yf(tmp_path):
    corpus = opened(tmp_path, {"trn.json": LF, "tst.json": LF, "Yf.txt": "shoes\nclothing\n"})
    assert labels(corpus) == [["clothing", "shoes"], ["clothing"]] == labels(corpus, corpus.test)
    with pytest.raises(DataError, match=r"Open .* instead"):
        Corpus.open(tmp_path / "trn.json")


def test_repository_json_raw_gz_without_names(tmp_path):
    corpus = opened(tmp_path, {"trn.raw.json.gz": LF, "tst.raw.json.gz": LF})
    assert labels(corpus) == [["0", "1"], ["1"]] and corpus.test is not None
    with pytest.raises(DataError, match=r"Open .* instead"):
        Corpus.open(tmp_path / "trn.raw.json.gz")


def test_repository_json_with_content_alone(tmp_path):
    line = json.dumps({"uid": "1", "content": "only  content", "target_ind": [0]}) + "\n"
    assert opened(tmp_path, {"trn.json": line}).train.texts[0] == "only content"
    bad = json.dumps({"uid": "1", "name": "x", "target_ind": [0]}) + "\n"
    with pytest.raises(DataError, match="title, content or both"):
        opened(tmp_path / "bad", {"trn.json": bad})


def test_articles_of_mesinesp(tmp_path):
    articles = [
        {"id": "1", "title": "Gripe", "abstractText": "Fiebre y tos.", "decsCodes": ["28567", "D1"], "year": 2019},
        {"id": "2", "title": "Asma", "abstractText": "", "decsCodes": ["D1"], "journal": None},
    ]
    document = json.dumps({"articles": articles}, indent=1)
    corpus = opened(tmp_path, {"train.json": document, "test.json": json.dumps({"articles": articles[:1]})})
    assert list(corpus.train.texts) == ["Gripe Fiebre y tos.", "Asma"]
    assert labels(corpus) == [["28567", "D1"], ["D1"]] and any("decsCodes" in note for note in corpus.notes)
    put(tmp_path, {"training_set_track1.json": document})
    assert labels(Corpus.open(tmp_path / "training_set_track1.json")) == [["28567", "D1"], ["D1"]]
    assert Corpus.open(tmp_path, text_parts="title").train.texts[0] == "Gripe"


def test_articles_of_bioasq_one_per_line(tmp_path):
    lines = '{"articles": [\n{"pmid": "1", "title": "t", "abstractText": "a", "meshMajor": ["Humans"]},\n'
    lines += '{"pmid": "2", "title": "u", "abstractText": "b", "meshMajor": ["Receptors, Cell Surface"]}\n]}\n'
    assert labels(opened(tmp_path, {"train.json": lines})) == [["Humans"], ["Receptors, Cell Surface"]]


def test_articles_without_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match="decsCodes"):
        opened(tmp_path, {"train.json": '{"articles": [{"title": "t", "x": ["y"]}]}'})
    with pytest.raises(DataError, match="2 arrays of records"):
        opened(
            tmp_path / "two",
            {"train.json": '{"a": [{"labels": ["y"]}], "b": [{"labels": ["y"]}]}'},
            format="articles",
        )
    with pytest.raises(DataError, match="does not parse"):
        opened(tmp_path / "cut", {"train.json": '{"articles": [{"title": "t", '})


# --- sparse matrices -----------------------------------------------------------------------------------------


def test_two_file_sparse_set(tmp_path):
    files = {"trn_X_Xf.txt": "2 3\n0:1 2:.5\n1:1\n", "trn_X_Y.txt": "2 2\n0:1\n0:1 1:1\n"}
    files |= {name.replace("trn", "tst"): content for name, content in files.items()}
    corpus = opened(tmp_path, files)
    one = opened(tmp_path / "one", {"train.txt": "2 3 2\n0 0:1 2:.5\n0,1 1:1\n"})
    assert (corpus.train.features != one.train.features).nnz == 0 and labels(corpus) == labels(one)
    assert labels(corpus, corpus.test) == [["0"], ["0", "1"]]


@pytest.mark.parametrize(
    "name, content, found",
    [
        ("trn_X_Xf.txt", "2 3\n0:1 3:.5\n1:1\n", "line 2: names feature 3"),
        ("trn_X_Xf.txt", "3 3\n0:1\n1:1\n", "says 3 rows, but 2"),
        ("trn_X_Y.txt", "2 2\n0:1\n", "says 2 rows, but 1"),
        ("trn_X_Xf.txt", "0:1 2:.5\n1:1\n", "is not a header"),
    ],
)
def test_two_file_sparse_set_refused(tmp_path, name, content, found):
    files = {"trn_X_Xf.txt": "2 3\n0:1 2:.5\n1:1\n", "trn_X_Y.txt": "2 2\n0:1\n0:1 1:1\n", name: content}
    with pytest.raises(DataError, match=found):
        opened(tmp_path, files)


def test_two_file_features_beside_texts_leave_the_texts(tmp_path):
    files = {"trn_X_Xf.txt": "2 3\n0:1\n1:1\n", "trn_X_Y.txt": "2 2\n0:1\n1:1\n", "trn_X.txt": "a\nb\n"}
    corpus = opened(tmp_path, files)
    assert list(corpus.train.texts) == ["a", "b"] and "bags of words" in corpus.notes[0]


def pecos(folder, texts):
    folder.mkdir(parents=True)
    y = sp.csr_matrix(np.array([[1, 0, 1], [0, 1, 0]], dtype=np.float32))
    for side in ("trn", "tst"):
        sp.save_npz(folder / f"Y.{side}.npz", y)
        if texts:
            (folder / f"X.{side}.txt").write_text("red shoe\nblue hat\n")
    inner = folder / "tfidf-attnxml"
    inner.mkdir()
    for side in ("trn", "tst"):
        sp.save_npz(inner / f"X.{side}.npz", sp.csr_matrix(np.eye(2, 5, dtype=np.float32)))
    (folder / "output-items.txt").write_text("shoes\nhats\nred\n")
    return folder


def test_pecos_texts_and_features(tmp_path):
    corpus = Corpus.open(pecos(tmp_path / "wiki10-31k", texts=True))
    assert list(corpus.train.texts) == ["red shoe", "blue hat"] and labels(corpus) == [["red", "shoes"], ["hats"]]
    assert "bags of words" in corpus.notes[0] and len(corpus.test) == 2
    bag = Corpus.open(pecos(tmp_path / "amazon-670k", texts=False))
    assert bag.train.features.shape == (2, 5) and labels(bag) == labels(corpus)
    assert bag.propensity_constants == (0.6, 2.6)


def test_pecos_damaged_and_ill_fitting_matrices_are_refused(tmp_path):
    folder = pecos(tmp_path / "a", texts=True)
    (folder / "output-items.txt").write_text("shoes\n")
    with pytest.raises(DataError, match="1 label names, but"):
        Corpus.open(folder)
    (folder / "Y.trn.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="cannot be read as a sparse matrix"):
        Corpus.open(folder)
    np.savez(folder / "Y.trn.npz", data=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="cannot be read as a sparse matrix"):
        Corpus.open(folder)


# --- Parquet -------------------------------------------------------------------------------------------------


def table(texts, rows, features=None):
    import pyarrow as pa

    made = pa.table({"text": texts, "labels": rows})
    if features is None:
        return made
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@pytest.mark.parametrize("place", ["data/", ""])
def test_hugging_face_shards(tmp_path, place):
    import pyarrow.parquet as pq

    (tmp_path / "data").mkdir()
    pq.write_table(table(["a", "b"], [["x"], ["y"]]), tmp_path / f"{place}train-00000-of-00002.parquet")
    pq.write_table(table(["c"], [["x", "y"]]), tmp_path / f"{place}train-00001-of-00002.parquet")
    pq.write_table(table(["d"], [["y"]]), tmp_path / f"{place}test-00000-of-00001.parquet")
    corpus = Corpus.open(tmp_path)
    assert list(corpus.train.texts) == ["a", "b", "c"] and labels(corpus) == [["x"], ["y"], ["x", "y"]]
    assert list(corpus.test.texts) == ["d"]
    (tmp_path / f"{place}train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="1 of 2 shards"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize("folder", ["train.parquet", "train"])
def test_spark_parts(tmp_path, folder):
    import pyarrow.parquet as pq

    for i, text in enumerate("ab"):
        part = tmp_path / folder / f"part-0000{i}-9f-c000.snappy.parquet"
        part.parent.mkdir(exist_ok=True)
        pq.write_table(table([text], [[text]]), part)
    (tmp_path / folder / "_SUCCESS").touch()
    assert labels(Corpus.open(tmp_path)) == [["a"], ["b"]]
    assert labels(Corpus.open(tmp_path / folder)) == [["a"], ["b"]]


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": ["x", "y", "z"], "_type": "ClassLabel"}, "_type": "Sequence"},
        {"feature": {"names": ["x", "y", "z"], "_type": "ClassLabel"}, "length": -1, "_type": "List"},
        [{"names": ["x", "y", "z"], "_type": "ClassLabel"}],
    ],
)
def test_names_of_class_labels(tmp_path, feature):
    import pyarrow.parquet as pq

    pq.write_table(table(["a", "b"], [[0, 2], [1]], {"labels": feature}), tmp_path / "train.parquet")
    corpus = Corpus.open(tmp_path)
    assert list(corpus.label_texts) == ["x", "y", "z"] and labels(corpus) == [["x", "z"], ["y"]]


def test_other_metadata_of_parquet_is_ignored(tmp_path):
    import pyarrow.parquet as pq

    plain = {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "Sequence"}
    pq.write_table(table(["a", "b"], [[0, 2], [1]], {"labels": plain}), tmp_path / "train.parquet")
    assert list(Corpus.open(tmp_path).label_texts) == ["0", "1", "2"]


# --- Annif ---------------------------------------------------------------------------------------------------

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
