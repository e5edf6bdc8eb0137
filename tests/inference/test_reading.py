"""Texts are read for prediction as data sets are read: the inputs that users report, and neighbors."""

import gzip
import io
import json
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megalabel.errors import DataError, SettingError
from megalabel.inference import source
from megalabel.inference.reading import TextOptions, read_rows

CSV = b'text,labels\n"purr whisker, feline",cat\n"bark\nleash",dog\n'
CSV_TEXTS = ["purr whisker, feline", "bark\nleash"]
RECORD = b'{"id":7,"text":"purr whisker","note":"bark leash puppy milk udder herd"}\n'


def rows_of(path, content=None, **how):
    said = []
    stream = None if content is None else io.BytesIO(content)
    return list(read_rows(path, stream, TextOptions(**how), said.append)), said


def texts_of(path, content=None, **how):
    return [row.text for row in rows_of(path, content, **how)[0]]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("q.csv", CSV, CSV_TEXTS),
        ("Q.CSV", CSV, CSV_TEXTS),
        ("q.csv.gz", gzip.compress(CSV, mtime=0), CSV_TEXTS),
        ("Q.CSV.GZ", gzip.compress(CSV, mtime=0), CSV_TEXTS),
        ("q.csv", b"text;labels\npurr whisker;cat\nbark, leash;dog\n", ["purr whisker", "bark, leash"]),
        ("q.csv", "\ufefftext,labels\npürr,cat\n".encode(), ["pürr"]),
        ("q.csv", b"id,Text\n1,purr\n2,bark\n", ["purr", "bark"]),
        ("q.csv", b"text\npurr\nbark\n", ["purr", "bark"]),
        ("q.csv", b"text,labels\n", []),
        ("q.tsv", b"text\tlabels\npurr whisker\tcat\nbark leash\tdog\n", ["purr whisker", "bark leash"]),
        ("q.tsv", b"purr whisker\t<http://e/1> <http://e/9>\nbark\t<http://e/2>\n", ["purr whisker", "bark"]),
        ("q.TAB", b"id\ttext\n1\tpurr\n", ["purr"]),
        ("w.jsonl", RECORD, ["purr whisker"]),
        ("w.ndjson", RECORD, ["purr whisker"]),
        ("W.JSONL", RECORD, ["purr whisker"]),
        ("w.json.gz", gzip.compress(RECORD, mtime=0), ["purr whisker"]),
        ("w.json", b'[{"text":"purr"},\n {"text":"bark"}]', ["purr", "bark"]),
        ("w.json", b'{"uid":"1","title":"red shoe","content":" a  b ","target_ind":[0,1]}\n', ["red shoe a b"]),
        ("w.jsonl", b'\n{"text":"purr"}\n\n', ["purr"]),
        ("w.txt", b"purr whisker\n\nbark\tleash", ["purr whisker", "", "bark\tleash"]),
        ("w.txt", RECORD, ["purr whisker"]),
        ("w", RECORD, ["purr whisker"]),
        ("w.txt", gzip.compress(b"purr\nbark\n", mtime=0), ["purr", "bark"]),
        ("w.txt", b"[Update] purr\nbark\n", ["[Update] purr", "bark"]),
        ("w.txt", b"{purr}\nbark\n", ["{purr}", "bark"]),
        ("w.txt", b"3 4 2\npurr\n", ["3 4 2", "purr"]),
        ("w.txt", b"text, images and video\npurr\n", ["text, images and video", "purr"]),
        ("w.txt", b"", []),
    ],
)
def test_a_file_is_read_by_its_suffix_and_its_start(tmp_path, name, content, texts):
    (tmp_path / name).write_bytes(content)
    assert texts_of(tmp_path / name) == texts


@pytest.mark.parametrize(
    ("content", "texts", "said"),
    [
        (RECORD, ["purr whisker"], "JSON lines"),
        (CSV, CSV_TEXTS, "CSV"),
        (b"id\ttext\n1\tpurr\n", ["purr"], "TSV"),
        (b'[{"text": "purr"}]', ["purr"], "JSON array"),
        (gzip.compress(RECORD, mtime=0), ["purr whisker"], "JSON lines"),
        (b"purr whisker\nbark\n", ["purr whisker", "bark"], "one text per line"),
        (b"text\npurr\n", ["text", "purr"], "one text per line"),
        (b"text, images, video\npurr\n", ["text, images, video", "purr"], "one text per line"),
        (b"", [], "one text per line"),
    ],
)
def test_a_pipe_is_read_by_its_first_line_and_the_guess_is_told(content, texts, said):
    rows, told = rows_of("-", content)
    assert [row.text for row in rows] == texts
    assert len(told) == 1
    assert told[0].startswith("standard input: read as ")
    assert said in told[0]


def test_the_format_can_be_said(tmp_path):
    assert texts_of("-", CSV, format="lines") == CSV.decode().splitlines()
    assert texts_of("-", b"text\npurr\n", format="csv") == ["purr"]
    (tmp_path / "texts.log").write_bytes(b"purr\n")
    assert texts_of(tmp_path / "texts.log", format="raw") == ["purr"]
    assert rows_of("-", RECORD, format="jsonl")[1] == []
    with pytest.raises(SettingError, match="'xls' is not one of lines, jsonl"):
        texts_of("-", b"a", format="xls")


def test_parquet_is_read_from_files_and_pipes(tmp_path):
    table = pa.table({"id": [4, 5], "text": pa.array(["purr", "bark"]).dictionary_encode(), "labels": [["a"], []]})
    pq.write_table(table, tmp_path / "t.PARQUET")
    rows, _ = rows_of(tmp_path / "t.PARQUET")
    assert [(row.text, row.fields) for row in rows] == [("purr", {"id": 4}), ("bark", {"id": 5})]
    assert texts_of("-", (tmp_path / "t.PARQUET").read_bytes()) == ["purr", "bark"]
    pq.write_table(pa.table({"text": ["purr", None]}), tmp_path / "null.parquet")
    with pytest.raises(DataError, match="no text"):
        texts_of(tmp_path / "null.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "t.PARQUET").read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        texts_of(tmp_path / "cut.parquet")


def test_other_fields_are_passed_on_but_labels_are_not(tmp_path):
    rows, _ = rows_of("-", b'{"id":7,"text":"purr","labels":["cat"],"url":{"a":[1]}}\n"bark"\n')
    assert [row.fields for row in rows] == [{"id": 7, "url": {"a": [1]}}, {}]
    rows, _ = rows_of("-", b"id,text,labels\n7,purr,cat\n")
    assert rows[0].fields == {"id": "7"}


def test_the_column_and_the_encoding_can_be_named(tmp_path):
    (tmp_path / "q.csv").write_bytes("Beschreibung,text\nBär,x\n".encode("cp1252"))
    assert texts_of(tmp_path / "q.csv", text_field="Beschreibung", encoding="cp1252") == ["Bär"]
    assert texts_of("-", b'{"abstract":"purr"}\n', text_field="abstract") == ["purr"]
    for encoding in ("utf-16", "utf-16-le", "gb18030"):
        (tmp_path / "t.txt").write_bytes("猫\n狗\r\n".encode(encoding))
        assert texts_of(tmp_path / "t.txt", encoding=encoding) == ["猫", "狗"]
    for wrong in ("utf-99", "rot13", ""):
        with pytest.raises(SettingError, match="not an encoding of text") if wrong else pytest.raises(DataError):
            texts_of("-", b"\xff", encoding=wrong)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", b"PK\x03\x04", r"no format of texts has the suffix '\.xlsx'.*table as CSV"),
        ("t.docx.gz", gzip.compress(b"a", mtime=0), r"suffix '\.docx'"),
        ("t.csv", b"title,labels\npurr,cat\n", "the columns 'title', 'labels'.*--text-field"),
        ("t.csv", b"text,text\npurr,cat\n", "the columns 'text', 'text'"),
        ("t.csv", b"text,labels\npurr\n", "line 2: 1 cells, but the header has 2"),
        ("t.csv", b'text,labels\n"purr,cat\n', "does not parse as a table"),
        ("t.jsonl", b'{"a":"purr"}\n', "no text in the keys 'a'.*--text-field"),
        ("t.jsonl", b'{"text":["purr"]}\n', "no text in"),
        ("t.jsonl", b"[" * 100_000 + b"\n", "line 1: not JSON"),
        ("t.jsonl", b'{"text": "a", "n": ' + b"9" * 5000 + b"}\n", "line 1: not JSON"),
        ("t.json", b'{\n "text": "a"\n}\n', "line 1: not JSON.*jq"),
        ("t.json", b'[{"text": "a"}', "not JSON"),
        ("t.txt", b"3 4 2\n1 0:1 2:.5\n0,1 1:1\n\n", "bag-of-words"),
        ("t.txt", b"2 3 4\n0 1:1\n", "bag-of-words"),
        ("t.txt", b"1 1:0.5 3:1\n0 2:1\n", "bag-of-words"),
        ("t.svm", b"1 1:0.5 3:1\n", "bag-of-words"),
        ("t.txt", "purr\n".encode("utf-16-le"), "zero bytes.*--encoding utf-16"),
        ("t.txt", b"purr\nb\xe4r\n", "line 2: bytes that are not UTF-8.*--encoding"),
    ],
)
def test_what_is_no_text_is_refused_with_the_cause(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"(?s){said}"):
        texts_of(tmp_path / name)


def test_a_line_without_an_end_is_bounded(monkeypatch):
    monkeypatch.setattr(source, "LONGEST", 1 << 20)
    with pytest.raises(DataError, match="a line of more than 1,048,576 bytes"):
        texts_of("-", b"a" * (1 << 21))
    with pytest.raises(DataError, match="a line of more than"):
        texts_of("-", gzip.compress(b"a" * (1 << 24), mtime=0))
    assert len(texts_of("-", b"a" * (1 << 20))[0]) == 1 << 20

    class Zero(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    with pytest.raises(DataError, match="zero bytes"):
        list(read_rows("-", io.BufferedReader(Zero()), TextOptions(), lambda line: None))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize(("name", "content"), [("p", RECORD), ("p.csv", CSV), ("p.other", b"purr\n")])
def test_a_named_pipe_is_read_once_and_whole(tmp_path, name, content):
    os.mkfifo(tmp_path / name)
    writer = threading.Thread(target=lambda: (tmp_path / name).write_bytes(content))
    writer.start()
    found = texts_of(tmp_path / name)
    writer.join()
    assert found == {RECORD: ["purr whisker"], CSV: CSV_TEXTS}.get(content, ["purr"])


def test_a_slow_pipe_is_read_as_far_as_it_goes():
    reader, writer = os.pipe()
    os.write(writer, b'{"text": ')
    threading.Timer(0.05, lambda: (os.write(writer, b'"purr"}\n'), os.close(writer))).start()
    with open(reader, "rb") as file:
        assert [row.text for row in read_rows("-", file, TextOptions(), lambda line: None)] == ["purr"]


def test_a_closed_standard_input_and_odd_paths_are_refused(tmp_path):
    with pytest.raises(SettingError, match="standard input is closed"):
        list(read_rows("-", None, TextOptions(), print))
    for path, said in (
        (tmp_path, "a folder"),
        (tmp_path / "x", "no such file"),
        ("", "empty path"),
        ("a\0", "NUL"),
    ):
        with pytest.raises((DataError, SettingError), match=said):
            texts_of(path)


def test_a_record_that_json_writes_is_read_back():
    text = 'a "quoted"\nline\u2028 and \ud83d\ude00'
    assert texts_of("-", (json.dumps({"text": text}) + "\n").encode()) == ['a "quoted"\nline\u2028 and 😀']
