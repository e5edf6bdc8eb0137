"""Text and JSON files that other tools write are read with the labels those tools mean."""

import json

import pytest
from support.layouts import label_sets, put

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError


def opened(folder, files, **how):
    return Corpus.open(put(folder, files), **how)


def labels(corpus, split=None):
    return label_sets(split or corpus.train, list(corpus.label_texts))


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
