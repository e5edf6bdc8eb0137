"""Irregular lines, labels and names of a raw folder are refused by line and value, or are noted."""

import pytest
from support.trap_files import folder, noted, refused

from megalabel.data.check import check
from megalabel.data.corpus import Corpus


def test_the_good_folder_is_good(tmp_path):
    report = check(folder(tmp_path))
    assert report.ok and report.findings == ()


def test_blank_text_lines_stay_rows(tmp_path):
    corpus = noted(folder(tmp_path, trn_X_txt="a\n\nc\n"), "trn_X.txt, line 2", "blank line")
    assert list(corpus.train.texts) == ["a", "", "c"]
    assert corpus.train.labels[1].indices.tolist() == [1, 2]


def test_a_blank_line_too_many_is_refused_and_named(tmp_path):
    path = folder(tmp_path, trn_X_txt="a\nb\nc\n\n")
    refused(path, "trn_X.txt", "4 texts, but trn_X_Y.txt has 3 rows")


def test_windows_line_ends(tmp_path):
    path = folder(tmp_path, trn_X_txt="a\r\nb\r\nc\r\n", trn_X_Y_txt="0:1\r\n1:1\r\n2:1\r\n", Y_txt="x\r\ny\nz")
    corpus = noted(path, "trn_X.txt, line 1", "Windows line end", 3)
    assert list(corpus.train.texts) == ["a", "b", "c"]
    assert corpus.train.labels.indices.tolist() == [0, 1, 2]
    assert list(corpus.label_texts) == ["x", "y", "z"]
    assert sum("Windows" in f.message for f in check(path).findings) == 3  # one finding per file


def test_byte_order_mark(tmp_path):
    path = folder(tmp_path, trn_X_txt="\ufeffa\nb\nc\n", trn_X_Y_txt="\ufeff0:1\n1:1\n2:1\n")
    corpus = noted(path, "trn_X.txt, line 1", "byte order mark")
    assert corpus.train.texts[0] == "a"
    assert corpus.train.labels.indices.tolist() == [0, 1, 2]


def test_tabs_and_unicode_breaks_inside_a_text_are_content(tmp_path):
    text = "one\ttwo\u2028three\u2029four\x85five\x0bsix\x0cseven\x1ceight\rnine"
    corpus = Corpus.open(folder(tmp_path, trn_X_txt=f"{text}\nb\nc\n", Y_txt="x\u2028x\ny\tz\nz\n"))
    assert corpus.train.texts[0] == text
    assert list(corpus.label_texts) == ["x\u2028x", "y\tz", "z"]


def test_a_label_twice_in_a_row_counts_once(tmp_path):
    path = folder(tmp_path, trn_X_Y_txt="0:1\n2:1 1:1 2:1 2:1\n2:1\n")
    corpus = noted(path, "trn_X_Y.txt, line 2", "label 2", 2)
    assert corpus.train.labels[1].indices.tolist() == [1, 2]
    assert corpus.train.labels.data.tolist() == [1.0] * 4


def test_ids_out_of_range(tmp_path):
    path = folder(tmp_path, trn_X_Y_txt="0:1\n1:1\n3:1 7:1\n")
    report = refused(path, "trn_X_Y.txt, line 3", "names label 3, but Y.txt has 3 labels")
    assert report.findings[0].count == 2


@pytest.mark.parametrize("rows, said", [("0\n1\n", "3 texts"), ("0\n1\n2\n0\n", "has 4 rows")])
def test_counts_that_differ(tmp_path, rows, said):
    refused(folder(tmp_path, trn_X_Y_txt=rows), "trn_X.txt", said)


def test_labels_seen_only_in_test_keep_a_listed_column(tmp_path):
    path = folder(tmp_path, trn_X_Y_txt="0\n1\n0\n", tst_X_txt="d\n", tst_X_Y_txt="2\n")
    corpus = Corpus.open(path)
    assert corpus.test.labels.indices.tolist() == [2] and corpus.test.unseen is None
    assert any("label 2 ('z')" in f.message for f in check(path).findings)


def test_labels_seen_only_in_test_without_a_list_have_no_column_but_count(tmp_path):
    path = folder(tmp_path, Y_txt=None, tst_X_txt="d\ne\n", tst_X_Y_txt="2 9\n0\n")
    corpus = noted(path, "tst_X_Y.txt, line 1", "label '9'")
    assert corpus.n_labels == 3 and corpus.test.labels.shape == (2, 3)
    assert corpus.test.n_true().tolist() == [2, 1]
    assert list(corpus.test.unseen.names) == ["9"] and corpus.test.unseen.rows.tolist() == [0]


def test_repeated_label_names_stay_two_labels(tmp_path):
    corpus = noted(folder(tmp_path, Y_txt="x\ny\nx\n"), "Y.txt", "labels 0 and 2")
    assert corpus.n_labels == 3


def test_blank_label_name_is_noted(tmp_path):
    assert noted(folder(tmp_path, Y_txt="x\n\nz\n"), "Y.txt", "label 1 has a blank name").n_labels == 3


@pytest.mark.parametrize("name", ["trn_X_txt", "Y_txt"])
def test_an_empty_file(tmp_path, name):
    refused(folder(tmp_path, **{name: ""}), name.replace("_txt", ".txt"), "the file is empty")


def test_an_empty_label_file(tmp_path):
    refused(folder(tmp_path, trn_X_Y_txt=""), "trn_X.txt", "has 0 rows")


def test_an_empty_filter_file_is_no_pair(tmp_path):
    corpus = Corpus.open(folder(tmp_path, trn_filter_labels_txt=""))
    assert corpus.train.filter.shape == (0, 2)
