"""Every irregularity of a file: it raises a DataError that names the line and the value, or is read and noted."""

import gzip
import json

import numpy as np
import pytest

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, MegalabelError, SettingError

GOOD = {"trn_X.txt": "a\nb\nc\n", "trn_X_Y.txt": "0:1\n1:1 2:1\n2:1\n", "Y.txt": "x\ny\nz\n"}


def folder(tmp_path, **changes):
    """A valid raw folder with some files changed, added or (None) left out; `_txt` stands for `.txt`."""
    files = GOOD | {name.replace("_txt", ".txt").replace("_gz", ".gz"): c for name, c in changes.items()}
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def refused(path, where, found):
    """Opening raises a DataError at this place that names this value, and `check` reports the same."""
    with pytest.raises(DataError) as caught:
        Corpus.open(path)
    error = caught.value
    assert str(error.where).endswith(where), error.where
    assert found in error.found, error.found
    report = check(path)
    assert not report.ok
    assert any(found in f.message and f.where == str(error.where) for f in report.findings)
    return report


def noted(path, where, message, count=1):
    """Opening works, and `check` has this finding; returns the corpus."""
    report = check(path)
    assert report.ok, report.lines()
    here = [f for f in report.findings if message in f.message and str(f.where).endswith(where)]
    assert [f.count for f in here] == [count], report.lines()
    return Corpus.open(path)


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


def test_a_truncated_gzip_file(tmp_path):
    rng = np.random.default_rng(0)
    whole = gzip.compress("".join(f"{x}\n" for x in rng.integers(1 << 60, size=30000)).encode())
    path = folder(tmp_path, trn_X_txt=None, trn_X_txt_gz=whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated") as caught:
        Corpus.open(path)
    file, _, line = str(caught.value.where).partition(", line ")
    assert file.endswith("trn_X.txt.gz") and 10000 < int(line) < 20000
    assert "download it again" in caught.value.next_step
    assert "truncated" in check(path).findings[0].message


@pytest.mark.parametrize("cut", [1, 4, 8, 12])
def test_a_gzip_file_without_its_last_bytes(tmp_path, cut):
    path = folder(tmp_path, Y_txt=None, Y_txt_gz=gzip.compress(b"x\ny\nz\n")[:-cut])
    refused(path, "line 4" if cut <= 8 else "", "truncated")


def test_a_damaged_gzip_file(tmp_path):
    data = bytearray(gzip.compress(b"x\ny\nz\n"))
    data[-6] ^= 0xFF  # the checksum
    refused(folder(tmp_path, Y_txt=None, Y_txt_gz=bytes(data)), "Y.txt.gz, line 1", "damaged")


def test_a_plain_file_called_gz_and_gzip_called_plain(tmp_path):
    refused(folder(tmp_path, Y_txt=None, Y_txt_gz="x\ny\nz\n"), "Y.txt.gz, line 1", "damaged")
    (tmp_path / "Y.txt.gz").unlink()
    refused(folder(tmp_path, Y_txt=gzip.compress(b"x\ny\nz\n")), "Y.txt", "without .gz")


def test_gzip_of_several_members_is_one_file(tmp_path):
    parts = gzip.compress(b"x\ny") + gzip.compress(b"\nz\n") + b"\0" * 9
    assert list(Corpus.open(folder(tmp_path, Y_txt=None, Y_txt_gz=parts)).label_texts) == ["x", "y", "z"]


def test_plain_and_gzip_side_by_side(tmp_path):
    path = folder(tmp_path, Y_txt_gz=gzip.compress(b"x\n"))
    refused(path, tmp_path.name, "Y.txt and Y.txt.gz")


def test_bytes_that_are_not_utf8(tmp_path):
    path = folder(tmp_path, trn_X_txt=b"a\nb caf\xe9\nna\xefve\n")
    report = refused(path, "trn_X.txt, line 2", "byte 0xe9 at byte 6")
    assert report.findings[0].count == 2


def test_a_zip_archive_is_named(tmp_path):
    refused(folder(tmp_path, Y_txt=b"PK\x03\x04..."), "Y.txt", "a zip archive")


def test_utf16_is_named(tmp_path):
    refused(folder(tmp_path, Y_txt="x\ny\n".encode("utf-16")), "Y.txt", "UTF-16")


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


def jsonl(tmp_path, *lines):
    (tmp_path / "train.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return tmp_path


LINE = '{"text": "a", "labels": ["x"]}'


@pytest.mark.parametrize(
    "line, found",
    [
        ('{"text": "a", "labels": ["x"]', "does not parse as JSON"),
        ('{"text": "a"}', "without 'labels'"),
        ('["a", ["x"]]', "a JSON array"),
        ('{"text": null, "labels": []}', "'text' is a JSON null"),
        ('{"text": "a", "labels": "x"}', "'labels' is a JSON string"),
        ('{"text": "a", "labels": [1]}', "label 1 is an id, but the labels before it are names"),
        ('{"text": "a", "labels": [NaN]}', "nan"),
        ('{"text": "a", "labels": [true]}', "True"),
        ('{"text": "a", "labels": [""]}', "an empty label name"),
        ('{"text": "\\ud800", "labels": []}', "half of a surrogate pair (U+D800)"),
        ("[" * 100000, "does not parse"),
    ],
)
def test_json_lines_that_are_none(tmp_path, line, found):
    path = jsonl(tmp_path, LINE, line, LINE, line)
    report = refused(path, "train.jsonl, line 2", found)
    assert report.findings[0].count == 2 and report.counts["train.texts"] >= 2


def test_json_ids_below_zero_and_fractions(tmp_path):
    ids = '{"text": "a", "labels": [0]}'
    refused(jsonl(tmp_path, ids, ids.replace("0", "-1")), "line 2", "negative label id -1")
    refused(jsonl(tmp_path, ids, ids.replace("0", "1.0")), "line 2", "1.0")
    (tmp_path / "labels.txt").write_text("x\ny\n")
    refused(jsonl(tmp_path, ids, ids.replace("0", "2")), "line 2", "names label 2")


def test_blank_json_lines_are_ignored(tmp_path):
    corpus = noted(jsonl(tmp_path, LINE, "", LINE), "train.jsonl, line 2", "blank line")
    assert len(corpus.train) == 2


def test_names_outside_the_list(tmp_path):
    (tmp_path / "labels.txt").write_text("y\n")
    refused(jsonl(tmp_path, LINE), "train.jsonl, line 1", "label 'x' is not in")
    (tmp_path / "labels.txt").write_text("x\ny\nx\n")
    refused(jsonl(tmp_path, LINE), "train.jsonl, line 1", "label 'x'")


def test_test_names_never_become_columns(tmp_path):
    jsonl(tmp_path, LINE)
    row = {"text": "t", "labels": ["new", "x", "newer"]}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    corpus = noted(tmp_path, "test.jsonl, line 1", "label 'new'", 2)
    assert list(corpus.label_texts) == ["x"]
    assert corpus.test.n_true().tolist() == [3] and corpus.test.labels.nnz == 1


@pytest.mark.parametrize(
    "table, line, found",
    [
        ("text;labels\na;x\n", 1, "the columns 'text;labels'"),
        ("text,label\na,x\n", 1, "the columns 'text', 'label'"),
        ("text,labels\na,x\nb,x,y\n", 3, "3 cells"),
        ('text,labels\na,x\nb,"[1]"\n', 3, "looks like a JSON list"),
        ('text,labels\na,"[1]"\nb,x\n', 3, "is not a JSON list"),
        ("text,labels\na,x||y\n", 2, "an empty label name"),
        ('text,labels\na,x\nb,"x" y\n', 3, "does not parse as CSV"),
        ('text,labels\na,x\n"b,x\n', 3, "does not parse as CSV"),
    ],
)
def test_csv_traps(tmp_path, table, line, found):
    (tmp_path / "train.csv").write_text(table)
    refused(tmp_path, f"train.csv, line {line}", found)


@pytest.mark.parametrize(
    "content, line, found",
    [
        ("a\tb\t<u:1>\n", 1, "'b' after the first tab"),
        ("a <u:1>\n", 1, "no tab"),
        ("a\t<u:1>\nb\t<u:9>\n", 2, "label 'u:9' is not in"),
    ],
)
def test_annif_traps(tmp_path, content, line, found):
    (tmp_path / "vocab.tsv").write_text("<u:1>\tone\n<u:2>\ttwo\n")
    (tmp_path / "train.tsv").write_text(content)
    refused(tmp_path, f"train.tsv, line {line}", found)


def test_annif_vocabulary_traps(tmp_path):
    (tmp_path / "train.tsv").write_text("a\t<u:1>\n")
    refused(tmp_path, tmp_path.name, "no vocabulary")
    (tmp_path / "vocab.tsv").write_text("<u:1>\tone\n<u:1>\ttwo\n")
    refused(tmp_path, "vocab.tsv, line 2", "<u:1>")


@pytest.mark.parametrize(
    "content, line, found",
    [
        ("0 0:1\n", 1, "is not a header"),
        ("2 3 2\n0 0:1\n", 1, "says 2 rows, but 1 follow"),
        ("1 3 2\n0 3:1\n", 2, "names feature 3"),
        ("1 3 2\n5 0:1\n", 2, "names label 5"),
        ("1 3 2\n0 0:1 0:2\n", 2, "a feature"),
        ("1 3 2\n0 0:nan\n", 2, "the value nan"),
        ("1 3 2\n0 0:1e999\n", 2, "the value inf"),
        ("1 3 2\n0 0:\n", 2, "does not parse"),
        ("1 3 2\nx 0:1\n", 2, "does not parse"),
        ("1 3 999999999\n0 0:1\n", 1, "the header says 999,999,999 labels"),
    ],
)
def test_xmlrepo_traps(tmp_path, content, line, found):
    (tmp_path / "train.txt").write_text(content)
    refused(tmp_path, f"train.txt, line {line}", found)


def test_parquet_traps(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "train.parquet"
    file.write_bytes(b"PAR1 nothing")
    refused(tmp_path, "train.parquet", "Parquet")
    pq.write_table(pa.table({"text": ["a"], "labels": ["x"]}), file)
    refused(tmp_path, "train.parquet", "text: string, labels: string")
    pq.write_table(pa.table({"text": ["a", None], "labels": [["x"], ["x"]]}), file)
    refused(tmp_path, "train.parquet, row 2", "text is null")
    pq.write_table(pa.table({"text": ["a", "b"], "labels": [["x"], [None]]}), file)
    refused(tmp_path, "line 2", "None")


def test_what_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        Corpus.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="it holds: nothing"):
        Corpus.open(tmp_path)
    (tmp_path / "deep").mkdir()
    folder(tmp_path / "deep")
    with pytest.raises(DataError, match=r"Open .*deep"):
        Corpus.open(tmp_path)
    with pytest.raises(DataError, match="one part of a data set"):
        Corpus.open(tmp_path / "deep" / "trn_X.txt")
    (tmp_path / "x.docx").write_text("")
    with pytest.raises(DataError, match=r"suffix '\.docx'"):
        Corpus.open(tmp_path / "x.docx")
    jsonl(tmp_path / "deep", LINE)
    with pytest.raises(DataError, match="found several data sets"):
        Corpus.open(tmp_path / "deep")
    assert Corpus.open(tmp_path / "deep", format="jsonl").train.texts[0] == "a"
    with pytest.raises(SettingError, match="xml"):
        Corpus.open(tmp_path / "deep", format="xml")


@pytest.mark.parametrize("seed", range(30))
def test_noise_never_crashes(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for name in ("trn_X.txt", "trn_X_Y.txt", "Y.txt", "train.jsonl", "train.csv", "train.tsv", "train.txt"):
        part = tmp_path / name.replace(".", "")
        part.mkdir()
        if name in GOOD:
            folder(part)
        noise = bytes(rng.choice(np.frombuffer(b'0123 :.,\n\r\t"[]{}-eN\xff\x00\xc3\xa9', np.uint8), size=60))
        (part / name).write_bytes(noise)
        report = check(part)
        try:
            Corpus.open(part)
        except MegalabelError:
            assert not report.ok, report.lines()
        else:
            assert report.ok, report.lines()
