"""Labels that are numbers: rows of zeros and ones, ids with gaps, and names that say nothing."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from support.read_back import labels_of, put, read
from support.trap_files import folder, refused

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError

TEXTS = ["a", "b", "c"]
FLAGS = [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def jsonl(tmp_path, *rows, name="train__jsonl"):
    lines = "".join(json.dumps({"text": f"t{i}", "labels": row}) + "\n" for i, row in enumerate(rows))
    return put(tmp_path, **{name: lines})


def test_zeros_and_ones_in_csv_cells_are_columns(tmp_path):
    rows = '"purr whisker","[0, 0, 1]"\n"bark leash","[0, 1, 0]"\n"purr bark","[0, 1, 1]"\n'
    put(tmp_path, train__csv="text,labels\n" + rows, labels__txt="other\ndog\ncat\n")
    texts, labels, notes = read(tmp_path)
    assert texts[0] == "purr whisker" and labels == [["cat"], ["dog"], ["dog", "cat"]]
    assert notes == ["every row of labels is 3 zeros and ones, read as one column for each of 3 labels"]


@pytest.mark.parametrize(
    "rows",
    [
        [[0, 0, 1], [1, 0, 0], [1, 1, 0]],
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]],
        [[False, False, True], [True, False, False], [True, True, False]],
    ],
)
def test_zeros_and_ones_of_any_type_in_json(tmp_path, rows):
    jsonl(tmp_path, *rows)
    jsonl(tmp_path, [0, 1, 1] if rows[0][0] is not False else [False, True, True], name="test__jsonl")
    corpus = Corpus.open(tmp_path)
    assert labels_of(corpus) == [["2"], ["0"], ["0", "1"]] and labels_of(corpus, "test") == [["1", "2"]]


@pytest.mark.parametrize("rows", [[[0, 1], [1]], [[0], [1], [1]], [[0, 1], [0, 1]], [[1, 0]], [[0, 2], [1, 0]]])
def test_lists_of_the_ids_zero_and_one_stay_ids(tmp_path, rows):
    labels = labels_of(Corpus.open(jsonl(tmp_path, *rows)))
    assert labels == [[str(i) for i in sorted(row)] for row in rows]


def test_rows_of_another_length_are_refused_where_they_cannot_be_ids(tmp_path):
    refused(jsonl(tmp_path, [True, False], [True]), "train.jsonl, line 2", "a row of 1 values")
    put(tmp_path, labels__txt="x\n")
    refused(jsonl(tmp_path, [True, False], [False, True]), "train.jsonl, line 1", "labels.txt has 1 labels")


def test_rows_that_fit_neither_the_list_nor_the_test_rows_are_said(tmp_path):
    jsonl(tmp_path, [0, 0, 1], [1, 0, 0])
    jsonl(tmp_path, [1], name="test__jsonl")
    _, labels, notes = read(tmp_path)
    assert labels == [["0", "1"], ["0", "1"]] and "read as the ids 0 and 1" in notes[0]


def test_raw_rows_of_zeros_and_ones_are_refused(tmp_path):
    refused(folder(tmp_path, trn_X_Y_txt="0 0 1\n0 1 0\n1 1 0\n"), "trn_X_Y.txt, line 1", "3 zeros and ones")


@pytest.mark.parametrize(
    "labels",
    [
        FLAGS, np.array(FLAGS), np.array(FLAGS, dtype=bool), np.array(FLAGS, dtype=np.float32),
        sp.csr_matrix(FLAGS),
        [np.array(row) for row in FLAGS], [tuple(row) for row in FLAGS], np.array(FLAGS).tolist(),
    ],
)  # fmt: skip
def test_zeros_and_ones_in_memory(labels):
    corpus = Corpus.of(TEXTS, labels, label_texts=["x", "y", "z"])
    assert labels_of(corpus) == [["x", "z"], ["y"], []]


def test_a_matrix_is_never_ids():
    assert labels_of(Corpus.of(["a", "b"], np.eye(2))) == [["0"], ["1"]]
    assert labels_of(Corpus.of(["a"], np.array([[0, 1]]))) == [["1"]]


@pytest.mark.parametrize("matrix, found", [([[0.5, 1]], "0.5"), ([[3, 17]], "3"), ([[np.nan, 1]], "nan")])
def test_a_matrix_of_other_values(matrix, found):
    with pytest.raises(DataError, match=f"a dense array of shape .*{found}"):
        Corpus.of(["a"], np.array(matrix))


def test_ids_with_gaps_are_names(tmp_path):
    ids = [700123, 15021, 999001, 42, 310999, 88888, 500500, 123456]
    jsonl(tmp_path, *([i] for i in ids))
    jsonl(tmp_path, [42], [7, 42], [1_000_000], name="test__jsonl")
    corpus = Corpus.open(tmp_path)
    assert corpus.n_labels == 8 and list(corpus.label_texts) == [str(i) for i in sorted(ids)]
    assert labels_of(corpus) == [[str(i)] for i in ids] and labels_of(corpus, "test") == [["42"], ["42"], []]
    assert list(corpus.test.unseen.names) == ["7", "1000000"] and corpus.test.n_true().tolist() == [1, 2, 1]
    notes = [f.message for f in corpus.findings if f.notable]
    assert "only 8 of the label ids from 42 to 999,001 occur; read as 8 labels" in notes[0]
    assert "only numbers" in notes[1]
    assert [f.message for f in check(tmp_path).findings if f.notable] == notes


def test_ids_with_gaps_in_a_folder_of_texts_without_names(tmp_path):
    (tmp_path / "trn_X.txt").write_text("a cat\na dog\n")
    (tmp_path / "trn_X_Y.txt").write_text("700123\n42 700123\n")
    (tmp_path / "tst_X.txt").write_text("a bird\n")
    (tmp_path / "tst_X_Y.txt").write_text("42 9\n")
    corpus = Corpus.open(tmp_path)
    assert list(corpus.label_texts) == ["42", "700123"]
    assert corpus.train.labels.toarray().tolist() == [[0, 1], [1, 1]]
    assert corpus.test.labels.toarray().tolist() == [[1, 0]] and list(corpus.test.unseen.names) == ["9"]
    assert any("called by these numbers" in finding.message for finding in corpus.findings)
    (tmp_path / "tst_filter_labels.txt").write_text("0 42\n")  # a filter's ids count columns
    assert Corpus.open(tmp_path).n_labels == 700_124


def test_gaps_in_memory_and_in_csv(tmp_path):
    assert list(Corpus.of(["a", "b"], [[70000], [5]]).label_texts) == ["5", "70000"]
    put(tmp_path, train__csv='text,labels\na,"[70000]"\nb,[5]\n')
    assert list(Corpus.open(tmp_path).label_texts) == ["5", "70000"]


def test_one_slip_among_many_ids_makes_no_million_labels(tmp_path):
    put(
        tmp_path,
        train__jsonl="".join(f'{{"text":"t","labels":[{i % 50 if i != 9 else 900_000}]}}\n' for i in range(3000)),
    )
    corpus = Corpus.open(tmp_path)
    assert corpus.n_labels == 51 and list(corpus.label_texts)[-1] == "900000"


def test_ids_stay_columns_where_a_list_or_filter_pairs_count_them(tmp_path):
    jsonl(tmp_path, [2000], [5])
    put(tmp_path, trn_filter_labels__txt="0 5\n")
    corpus = Corpus.open(tmp_path)
    assert corpus.n_labels == 2001 and corpus.train.filter.tolist() == [[0, 5]]
    put(tmp_path, labels__txt="".join(f"n{i}\n" for i in range(2001)))
    assert labels_of(Corpus.open(tmp_path)) == [["n2000"], ["n5"]]


def test_few_ids_with_gaps_stay_columns_and_are_said(tmp_path):
    _, labels, notes = read(jsonl(tmp_path, [333], [101]))
    assert labels == [["333"], ["101"]] and Corpus.open(tmp_path).n_labels == 334
    assert "only 2 of the label ids from 101 to 333 occur; read as 334 labels" in notes[0]


def test_gaps_of_raw_folders_are_said(tmp_path):
    path = folder(tmp_path, Y_txt=None, trn_X_Y_txt="100\n250\n7\n")
    assert Corpus.open(path).n_labels == 251
    assert "only 3 of the label ids from 7 to 250 occur" in read(path)[2][0] and "Y.txt" in read(path)[2][0]


@pytest.mark.parametrize(
    "names, said",
    [(["1", "22"], True), (["1", "b"], False), (["٣"], True), (["3.0", "-1"], True), (["1a"], False)],
)
def test_label_texts_that_are_only_numbers(tmp_path, names, said):
    jsonl(tmp_path, names)
    notes = read(tmp_path)[2]
    assert any("only numbers" in note for note in notes) == said
    assert Corpus.open(tmp_path).label_texts_are_numbers == said


def test_numbers_are_not_trained_on_as_texts():
    from megalabel.recipes.renee import Renee
    from megalabel.recipes.shared import planned_steps, reads_label_texts

    options = Renee(batch_size=1, epochs=1)
    for names, rows in ((["1", "2"], 2), (["one", "2"], 4)):
        corpus = Corpus.of(["a", "b"], [[0], [1]], names)
        assert reads_label_texts(corpus, options) == (rows == 4)
        assert planned_steps(corpus, np.arange(2), options)[0] == rows


def test_linear_does_not_weigh_numbers_as_texts():
    from megalabel.recipes.linear import Linear

    said = []
    labels = sp.csr_matrix(np.eye(2, dtype=np.float32))
    corpus = Corpus.of(["model 1", "model 0"], labels)
    made = Linear().words().rows(corpus.train.texts, labels, corpus.label_texts, seed=0, say=said.append)
    assert "only numbers" in said[0] and made.x.shape[0] == 2
