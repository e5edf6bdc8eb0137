"""The report on a data set: its counts, and trouble that is not an error."""

import json

import pytest

from megalabel.data.check import check
from megalabel.data.corpus import Corpus


def write(folder, name, *rows):
    lines = (json.dumps({"text": text, "labels": labels}) for text, labels in rows)
    (folder / name).write_text("\n".join(lines) + "\n")


def test_counts(tmp_path):
    write(tmp_path, "train.jsonl", ("a", ["x", "y"]), ("bb", ["x"]), ("a", []), (" ", ["z"]))
    write(tmp_path, "test.jsonl", ("bb", ["y", "new"]), ("c", []))
    (tmp_path / "labels.txt").write_text("x\ny\nz\nunused\n")
    (tmp_path / "tst_filter_labels.txt").write_text("0 0\n0 1\n1 1\n")
    report = check(tmp_path)
    counts = report.counts
    assert report.ok and report.format == "jsonl" and report.name == tmp_path.name
    assert counts["labels"] == 4 and counts["train.texts"] == 4 and counts["train.pairs"] == 4
    assert counts["train.labels per text, mean"] == 1 and counts["train.labels per text, most"] == 2
    assert counts["train.texts without labels"] == 1 and counts["train.blank texts"] == 1
    assert counts["train.duplicate texts"] == 1 and counts["test.texts also in train"] == 1
    assert counts["test.pairs whose label has no column"] == 1 and counts["test.filter pairs"] == 3
    assert counts["labels with 1 train text"] == 2 and counts["labels without train texts"] == 1
    assert counts["labels in test"] == 1 and counts["labels in test, not in train"] == 0
    said = {f.message for f in report.findings}
    assert any("filter pair (0, 1) is a true pair of test" in m for m in said)
    assert any("test row 0 has the text of train row 1" in m for m in said)
    assert any("train rows 0 and 2" in m for m in said)
    assert any("label 3 ('unused') has no training text" in m for m in said)


@pytest.mark.parametrize(
    "text, message",
    [("caf\ufffd", "holds U+FFFD"), ("cafÃ©", "read as Windows-1252"), ("a\x00b", "control characters")],
)
def test_encoding_trouble_that_is_valid_utf8(tmp_path, text, message):
    write(tmp_path, "train.jsonl", ("fine", ["x"]), (text, ["x"]), (text, ["x"]))
    report = check(tmp_path)
    finding = next(f for f in report.findings if message in f.message)
    assert report.ok and "train row 1" in finding.message and finding.count == 2
    assert "(and 1 more like it)" in str(finding)


def test_lines_are_for_people(tmp_path):
    write(tmp_path, "train.jsonl", ("a", ["x"]))
    lines = check(tmp_path).lines()
    assert lines[0] == f"{tmp_path.name} (jsonl)" and "can be trained on" in lines[-1]
    assert any(line.split() == ["train.texts", "1"] for line in lines)


def test_several_errors_in_one_run(tmp_path):
    (tmp_path / "trn_X.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "trn_X_Y.txt").write_text("0\n9\nx\n-1 9\n")
    (tmp_path / "Y.txt").write_text("only\n")
    report = check(tmp_path)
    errors = [f for f in report.findings if f.severity == "error"]
    assert sorted((f.where.rsplit(" ", 1)[1], f.count) for f in errors) == [("2", 2), ("3", 1), ("4", 1)]
    assert report.counts["train.texts"] == 4 and "cannot be trained on" in report.lines()[-1]


def test_a_file_of_errors_only_is_not_called_empty(tmp_path):
    (tmp_path / "train.jsonl").write_text("x\ny\n")
    first, last = check(tmp_path).findings
    assert first.count == 2 and "does not parse" in first.message and "no line could be read" in last.message


def test_what_is_not_there_is_a_finding(tmp_path):
    report = check(tmp_path / "nowhere")
    assert not report.ok and report.counts == {} and "no such file" in report.findings[0].message
    assert "format unknown" in report.lines()[0]


def test_a_filter_without_its_side_is_noted(tmp_path):
    write(tmp_path, "train.jsonl", ("a", ["x"]))
    (tmp_path / "tst_filter_labels.txt").write_text("0 0\n")
    assert any("tst_filter_labels.txt" in str(f.where) for f in check(tmp_path).findings)


def test_bundled_data_is_clean():
    path = Corpus.bundled("wordnet-4k").path
    assert path is not None and check(path).findings == ()
