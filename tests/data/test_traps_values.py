"""Rows of labels, headers and filter pairs that cannot be right are refused by line and value."""

import pytest
from support.trap_files import GOOD, folder, refused


@pytest.mark.parametrize(
    "row, found",
    [
        ("cat:1", "'cat:1' is not a label id"),
        ("1.5:1", "'1.5:1' is not a label id"),
        ("-1:1", "negative label id -1"),
        ("1_0", "'1_0' is not a label id"),
        ("٣", "is not a label id"),
        ("9999999999999999999", "is not a label id"),
        ("1:nan", "the value 'nan'"),
        ("1:inf", "the value 'inf'"),
        ("1:0", "the value '0'"),
        ("1:0.5", "the value '0.5'"),
        ("1:", "the value ''"),
        ("0:1,5", "the value '1,5'"),
        (":1", "':1' is not a label id"),
        ("0\r1\r2", "'0\\r1\\r2' is not a label id"),
        ("0\v1", "is not a label id"),
    ],
)
def test_labels_and_values_that_are_none(tmp_path, row, found):
    refused(folder(tmp_path, trn_X_Y_txt=f"0\n{row}\n2\n"), "trn_X_Y.txt, line 2", found)


def test_a_header_that_disagrees(tmp_path):
    path = folder(tmp_path, trn_X_Y_txt="4 3\n" + GOOD["trn_X_Y.txt"])
    refused(path, "trn_X_Y.txt, line 1", "says 4 rows, but 3 follow")
    path = folder(tmp_path, trn_X_Y_txt="3 5\n" + GOOD["trn_X_Y.txt"])
    refused(path, "trn_X_Y.txt, line 1", "says 5 labels, but Y.txt has 3")


def test_wild_ids_do_not_allocate(tmp_path):
    path = folder(tmp_path, Y_txt=None, trn_X_Y_txt="0\n1\n1999999999\n")
    refused(path, "trn_X_Y.txt, line 3", "label id 1,999,999,999 among only 3")
    path = folder(tmp_path, Y_txt=None, trn_X_Y_txt="3 1999999999\n0:1\n1:1\n1:1\n")
    refused(path, "trn_X_Y.txt, line 1", "the header says 1,999,999,999")


def test_no_training_label_at_all(tmp_path):
    refused(folder(tmp_path, trn_X_Y_txt="\n\n\n"), tmp_path.name, "no training text of 3")


@pytest.mark.parametrize(
    "pairs, found",
    [
        ("0 0\n3 0\n", "row 3 and label 0"),
        ("0 0\n0 3\n", "label 3"),
        ("0 0\n1\n", "1 numbers"),
        ("0 0\n-1 1\n", "negative"),
    ],
)
def test_filter_pairs_that_are_none(tmp_path, pairs, found):
    refused(folder(tmp_path, trn_filter_labels_txt=pairs), "trn_filter_labels.txt, line 2", found)


def test_missing_parts(tmp_path):
    path = folder(tmp_path, trn_X_Y_txt=None)
    refused(path, tmp_path.name, "trn_X_Y.txt")
    refused(folder(tmp_path, tst_X_Y_txt="0\n"), tmp_path.name, "tst_X.txt")


def test_only_a_test_side(tmp_path):
    (tmp_path / "test.jsonl").write_text("{}\n")
    refused(tmp_path, tmp_path.name, "no data set")
