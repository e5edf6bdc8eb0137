"""Irregular files of the other formats are refused by line and value, and noise never crashes."""

import json

import numpy as np
import pytest
from support.trap_files import GOOD, folder, noted, refused

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, MegalabelError, SettingError


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
        ("body;labels\na;x\n", 1, "the columns 'body', 'labels'"),
        ("text,tag\na,x\n", 1, "the columns 'text', 'tag'"),
        ("text,labels\na,x\nb,x,y\n", 3, "3 cells"),
        ('text,labels\na,x\nb,"[1]"\n', 3, "looks like a JSON list"),
        ('text,labels\na,"[1]"\nb,x\n', 3, "is not a JSON list"),
        ("text,labels\na,x||y\n", 2, "an empty label name"),
        ('text,labels\na,x\nb,"x" y\n', 3, "does not parse as a table"),
        ('text,labels\na,x\n"b,x\n', 3, "does not parse as a table"),
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
