"""Files that would fill the memory or last for ever, or are no files; numbers too large; paths that are none."""

import gzip
import json
import os
import pathlib
import socket

import numpy as np
import pytest
from support.read_back import put, read
from support.trap_files import folder, refused

from megalabel.data import file_bytes, text_lines
from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.data.label_parsing import parse_block, parse_line
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.storage.files import read_json

LINE = '{"text":"a","labels":["x"]}\n'


def bomb(path, byte, megabytes):
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(megabytes):
            file.write(byte * (1 << 20))
    return path.parent


@pytest.mark.parametrize("name", ["train.jsonl.gz", "train.csv.gz", "train.txt.gz"])
def test_a_bomb_of_one_line(tmp_path, name):
    refused(bomb(tmp_path / name, b"a", 70), name, "expand to more than 250 times")


def test_a_bomb_of_newlines(tmp_path):
    put(tmp_path, trn_X_Y__txt="0\n")
    refused(bomb(tmp_path / "trn_X.txt.gz", b"\n", 70), "trn_X.txt.gz", "expand to more than 250 times")


def test_texts_that_repeat_are_no_bomb(tmp_path):
    with gzip.open(tmp_path / "train.jsonl.gz", "wt") as file:
        for i in range(20000):
            file.write(json.dumps({"text": f"{i} " + "word " * 50, "labels": ["x"]}) + "\n")
    assert len(Corpus.open(tmp_path).train) == 20000


def test_a_line_longer_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(text_lines, "MAX_LINE_BYTES", 3 << 20)
    put(tmp_path, train__jsonl=LINE + "a" * (5 << 20))
    refused(tmp_path, "train.jsonl, line 2", "a line of more than 3 MB")


@pytest.mark.parametrize(
    "files, where, found",
    [
        ({"trn_X__txt": "a\n" * 3, "trn_X_Y__txt": "3 2147483647\n0\n0\n0\n"}, "line 1", "2,147,483,647 labels"),
        ({"train__jsonl": '{"text":"a","labels":[100999998]}\n'}, "line 1", "label id 100,999,998"),
        ({"train__txt": "1 99999999999999999999 1\n0 0:1\n"}, "line 1", "the header"),
        ({"train__txt": "1 4611686018427387904 1\n0 0:1\n"}, "line 1", "the header"),
        ({"train__txt": "9" * 5000 + " 1 1\n"}, "line 1", "the header"),
        ({"train__jsonl": '{"text":"a","labels":[' + "9" * 5000 + "]}\n"}, "line 1", "too many digits"),
        ({"train__jsonl": '{"text":"a","labels":[' + "9" * 4000 + "]}\n"}, "line 1", "bits"),
        ({"train__jsonl": '{"text":"a","labels":' + "[" * 5000 + "\n"}, "line 1", "does not parse"),
        ({"trn__json": '{"title":"a","target_ind":[' + "9" * 5000 + "]}\n", "lbl__json": '{"title":"x"}\n'},
         "line 1", "too many digits"),
        ({"trn_X__txt": "a\n", "trn_X_Y__txt": "9" * 5000 + "\n"}, "line 1", "is not a label id"),
    ],
)  # fmt: skip
def test_numbers_that_are_too_large(tmp_path, files, where, found):
    refused(put(tmp_path, **files), where, found)


def test_a_slip_of_one_id_among_many_rows(tmp_path):
    rows = (f'{{"text":"t","labels":[{100_999_998 if i == 9 else i % 50}]}}\n' for i in range(20000))
    refused(put(tmp_path, train__jsonl="".join(rows)), "line 10", "label id 100,999,998 among only 20,000")


def test_no_memory_is_an_error_of_the_data(tmp_path, monkeypatch):
    put(tmp_path, train__jsonl=LINE)
    for error in (MemoryError(), MemoryError("Unable to allocate 16 GiB"), OverflowError("too large")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr("megalabel.data.records.make_split", fail)
        refused(tmp_path, "train.jsonl", f"cannot be read ({type(error).__name__}")


@pytest.mark.parametrize(
    "value, good", [("1." + "0" * 16000, True), ("1." + "0" * 9999 + "1", False), ("1" + "0" * 9999, False)]
)
def test_values_with_very_many_digits(tmp_path, value, good):
    path = folder(tmp_path, trn_X_Y_txt=f"0:1\n1:{value}\n2:1\n")
    if good:
        assert Corpus.open(path).train.labels.indices.tolist() == [0, 1, 2]
    else:
        refused(path, "trn_X_Y.txt, line 2", "label 1 has the value '1")


def test_long_values_are_left_to_the_rule():
    assert parse_block(b"3:1." + b"0" * 40 + b"\n") is None and parse_block(b"3:1.000\n") is not None
    assert parse_line(b"3:1." + b"0" * 10_000_000)[0] == [3]
    assert parse_line(b"3:1.0e0")[0] == [3] and parse_line(b"3:10")[0] == []


def test_checking_stops_after_very_many_errors(tmp_path, monkeypatch):
    monkeypatch.setattr("megalabel.data.findings.MAX_ERRORS", 50)
    report = check(put(tmp_path, train__jsonl=(LINE + "{}\n") * 100))
    assert [f.count for f in report.findings] == [51, 1] and "more than 50 errors" in report.findings[1].message


def test_blank_lines_are_counted_once(tmp_path):
    report = check(put(tmp_path, train__jsonl="\n \n" + LINE + "\n" * 1000))
    assert [(f.where[-6:], f.count) for f in report.findings] == [("line 1", 1002)]


@pytest.mark.parametrize("name", ["labels.txt", "test.jsonl", "Y.txt", "tst_filter_labels.txt", "test.jsonl.gz"])
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_file_is_not_passed_over(tmp_path, name, kind):
    put(tmp_path, train__jsonl=LINE)
    path = tmp_path / name
    found = {"link": "a link to nothing", "folder": "a folder", "pipe": "a named pipe"}[kind]
    {"link": lambda: path.symlink_to("nowhere"), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    refused(tmp_path, tmp_path.name, f"{name} is {found}")


def test_paths_of_what_is_no_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.jsonl")
    refused(tmp_path / "pipe.jsonl", "pipe.jsonl", "a named pipe")
    (tmp_path / "link").symlink_to("link")
    refused(tmp_path / "link", "link", "a link to nothing")
    refused("/dev/null", "/dev/null", "a device")
    with socket.socket(socket.AF_UNIX) as made:
        monkeypatch.chdir(tmp_path)  # the name of a socket must be short
        made.bind("s")
        refused("s", "s", "a socket")


def test_a_link_to_a_file_is_a_file(tmp_path):
    put(tmp_path, real=LINE)
    (tmp_path / "train.jsonl").symlink_to("real")
    assert len(Corpus.open(tmp_path).train) == 1


@pytest.mark.parametrize("path", [b"/tmp", 3, None, ["x"], 1.5, "a\0b", pathlib.PurePosixPath("a\0b")])
def test_paths_that_are_none(path):
    for opened in (Corpus.open, check):
        with pytest.raises(SettingError, match="expected a path"):
            opened(path)


def test_names_too_long_for_a_file():
    refused("x" * 5000, "x" * 5000, "cannot be read (File name too long)")


@pytest.mark.parametrize("name", ["Pets.CSV", "PETS.Csv.GZ"])
def test_suffixes_in_capitals(tmp_path, name):
    data = b"text,labels\na,x\n"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("GZ") else data)
    corpus = Corpus.open(tmp_path / name)
    assert list(corpus.train.texts) == ["a"] and corpus.name.lower() == "pets"


def test_a_file_of_another_suffix_with_its_format(tmp_path):
    put(tmp_path, data__log=LINE)
    with pytest.raises(DataError, match="--format"):
        Corpus.open(tmp_path / "data.log")
    assert len(Corpus.open(tmp_path / "data.log", format="jsonl").train) == 1
    with pytest.raises(SettingError, match="xml"):
        Corpus.open(tmp_path / "data.log", format="xml")


@pytest.mark.parametrize(
    "encoding", ["windows-1252", "latin-1", "utf-16", "utf-16-le", "utf-8-sig", "utf-32", "shift_jis"]
)
def test_encodings(tmp_path, encoding):
    word = "日本" if encoding == "shift_jis" else "café"
    data = f"text,labels\n{word},x\r\n".encode(encoding)
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(data))
    put(tmp_path, labels__txt=f"x\n{word}\n".encode(encoding))
    if encoding != "utf-8-sig":
        with pytest.raises(DataError, match=r"--encoding|iconv|damaged|not UTF-8|holds|columns"):
            Corpus.open(tmp_path)
    corpus = Corpus.open(tmp_path, encoding=encoding)
    assert list(corpus.train.texts) == [word] and list(corpus.label_texts) == ["x", word]
    assert corpus.opened == {"encoding": encoding}


def test_an_encoding_across_blocks_and_a_wrong_one(tmp_path):
    texts = ["é" * 700 + str(i) for i in range(2000)]
    data = "".join(json.dumps({"text": t, "labels": ["x"]}, ensure_ascii=False) + "\n" for t in texts)
    put(tmp_path, train__jsonl=data.encode("utf-16"))
    assert read(tmp_path, encoding="utf-16")[0] == texts
    put(tmp_path, train__jsonl=(LINE * 3 + "caf\xe9\n").encode("latin-1"))
    with pytest.raises(DataError, match="is not in the encoding ascii"):
        Corpus.open(tmp_path, encoding="ascii")


def test_a_folder_file_with_too_many_digits_or_too_deep(tmp_path):
    for content in ("9" * 5000, "[" * 100_000, '{"a": ' + "9" * 5000 + "}", b"\xff"):
        put(tmp_path, facts__json=content)
        with pytest.raises(FormatError, match="damaged"):
            read_json(tmp_path / "facts.json", next_step=None)


def test_chunks_are_those_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.bytes(3 << 20)
    for name, content in (("a", data), ("a.gz", gzip.compress(data, 1)), ("a.GZ", gzip.compress(data, 1))):
        (tmp_path / name).write_bytes(content)
        assert b"".join(file_bytes.chunks(tmp_path / name)) == data
