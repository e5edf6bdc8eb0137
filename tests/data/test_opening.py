"""Each format reads to the same small data set, however it is written."""

import gzip
import json

import numpy as np
import pytest

from megalabel.data.corpus import Corpus

TEXTS, ROWS = ["a b", "c", "d"], [[0, 2], [], [1]]
NAMES = ["tabby cat", "dog", "owl"]


def put(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_txt", ".txt").replace("_json", ".json")).write_text(content, encoding="utf-8")


def is_the_set(corpus, texts=TEXTS, names=NAMES, test=True):
    assert list(corpus.train.texts) == texts and list(corpus.label_texts) == names
    assert [corpus.train.labels[i].indices.tolist() for i in range(3)] == ROWS
    assert corpus.train.labels.dtype == np.float32 and corpus.train.labels.shape == (3, 3)
    assert corpus.train.labels.has_canonical_format
    assert len(corpus.train) == 3
    if test:
        assert corpus.test is not None and list(corpus.test.texts) == ["t"]
        assert corpus.test.labels.toarray().tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("header", ["", "3 3\n"])
@pytest.mark.parametrize("value", ["", ":1", ":1.0"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_raw_with_and_without_header_and_value(tmp_path, header, value, newline):
    rows = header + f"0{value} 2{value}\n\n1{value}\n"
    put(tmp_path, trn_X_txt="a b\nc\nd\n", Y_txt="\n".join(NAMES), tst_X_txt="t\n")
    (tmp_path / "trn_X_Y.txt").write_bytes(rows.replace("\n", newline).encode())
    (tmp_path / "tst_X_Y.txt").write_text((header and "1 3\n") + f"1{value}\n")
    is_the_set(Corpus.open(tmp_path))


def test_a_first_row_that_looks_like_a_header_is_a_row_if_the_counts_say_so(tmp_path):
    put(tmp_path, trn_X_txt="a\nb\n", trn_X_Y_txt="1 3\n0\n", Y_txt="w\nx\ny\nz\n")
    assert Corpus.open(tmp_path).train.labels[0].indices.tolist() == [1, 3]


def test_raw_without_names_and_test_side(tmp_path):
    put(tmp_path, trn_X_txt="a b\nc\nd\n", trn_X_Y_txt="0 2\n\n1\n")
    corpus = Corpus.open(tmp_path, name="mine")
    is_the_set(corpus, names=["0", "1", "2"], test=False)
    assert corpus.test is None and corpus.name == "mine"
    assert Corpus.open(tmp_path).name == tmp_path.name


def test_raw_all_gzip_with_filters(tmp_path):
    files = {
        "trn_X": "a b\nc\nd\n",
        "trn_X_Y": "0,2\n\n1\n",
        "Y": "\n".join(NAMES),
        "tst_X": "t",
        "tst_X_Y": "1",
    }
    files |= {"trn_filter_labels": "0 1\n2 2\n", "tst_filter_labels": "0 0\n"}
    for name, content in files.items():
        (tmp_path / f"{name}.txt.gz").write_bytes(gzip.compress(content.encode()))
    corpus = Corpus.open(tmp_path)
    is_the_set(corpus)
    assert corpus.train.filter.tolist() == [[0, 1], [2, 2]] and corpus.train.filter.dtype == np.int64
    assert corpus.test.filter.tolist() == [[0, 0]]


@pytest.mark.parametrize("relevance", [{}, {"target_rel": True}])
def test_lf_json(tmp_path, relevance):
    def line(title, content, ids):
        rel = {"target_rel": [1.0] * len(ids)} if relevance else {}
        return json.dumps({"uid": "B00", "title": title, "content": content, "target_ind": ids} | rel) + "\n"

    (tmp_path / "trn.json.gz").write_bytes(
        gzip.compress((line(" a", "b\n", [2, 0]) + line("", " c", []) + line("d", None, [1])).encode())
    )
    (tmp_path / "lbl.json").write_text("".join(json.dumps({"title": name}) + "\n" for name in NAMES))
    (tmp_path / "tst.json").write_text(line("t", "", [1]))
    (tmp_path / "filter_labels_test.txt").write_text("0 2\n")
    corpus = Corpus.open(tmp_path)
    is_the_set(corpus)
    assert corpus.train.filter is None and corpus.test.filter.tolist() == [[0, 2]]


def lines(rows, keys=("text", "labels")):
    return "".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows)


def test_jsonl_by_names_in_order_of_appearance(tmp_path):
    train = [("a b", ["tabby cat", "owl"]), ("c", []), ("d", ["dog"])]
    (tmp_path / "train.jsonl").write_text(lines(train))
    (tmp_path / "test.jsonl").write_text(lines([("t", ["dog"])]))
    corpus = Corpus.open(tmp_path)
    assert list(corpus.label_texts) == ["tabby cat", "owl", "dog"]
    assert corpus.train.labels.indices.tolist() == [0, 1, 2] and corpus.test.labels.indices.tolist() == [2]
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    is_the_set(Corpus.open(tmp_path))


def test_jsonl_by_ids(tmp_path):
    (tmp_path / "train.jsonl").write_text(lines([("a b", [2, 0]), ("c", []), ("d", [1])]))
    is_the_set(Corpus.open(tmp_path), names=["0", "1", "2"], test=False)
    (tmp_path / "Y.txt").write_text("\n".join(NAMES))
    is_the_set(Corpus.open(tmp_path / "train.jsonl"), test=False)


def test_one_file_is_a_training_side(tmp_path):
    (tmp_path / "pets.ndjson.gz").write_bytes(gzip.compress(lines([("a", ["x"])]).encode()))
    corpus = Corpus.open(tmp_path / "pets.ndjson.gz")
    assert corpus.name == "pets" and corpus.test is None and list(corpus.label_texts) == ["x"]


@pytest.mark.parametrize(
    "cells",
    [
        ("tabby cat|owl", "", "dog"),
        ('"[""tabby cat"", ""owl""]"', "[]", '"[""dog""]"'),
        ('"[0, 2]"', "", "[1]"),
    ],
)
def test_csv(tmp_path, cells):
    rows = zip(["1", "2", "3"], ['"a b"', "c", "d"], cells, strict=True)
    (tmp_path / "train.csv").write_text("\ufeffid,text,labels\r\n" + "".join(",".join(r) + "\r\n" for r in rows))
    (tmp_path / "test.csv").write_text("labels,text\n" + cells[2] + ",t\n")
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    is_the_set(Corpus.open(tmp_path))


def test_csv_cells_may_hold_line_breaks_and_any_length(tmp_path):
    long = "x" * 200_000
    (tmp_path / "train.csv").write_text(f'text,labels\n"one, ""two""\nthree\u2028",x\n{long},y\n', newline="")
    assert list(Corpus.open(tmp_path).train.texts) == ['one, "two"\nthree\u2028', long]


@pytest.mark.parametrize("labels", [[["tabby cat", "owl"], [], ["dog"]], [[0, 2], [], [1]]])
def test_parquet(tmp_path, labels):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    pq.write_table(pa.table({"n": [1, 2, 3], "text": TEXTS, "labels": labels}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"text": ["t"], "labels": labels[2:]}), tmp_path / "test.parquet")
    is_the_set(Corpus.open(tmp_path))


def test_annif(tmp_path):
    (tmp_path / "vocab.tsv").write_text("<u:0>\ttabby cat\n<u:1>\tdog\tnotation\nu:2\towl\n")
    (tmp_path / "train.tsv").write_text("a b\t<u:2>\t<u:0>\nc\t\nd\tu:1\n")
    (tmp_path / "test.tsv").write_text("t\t<u:1>\n")
    corpus = Corpus.open(tmp_path)
    is_the_set(corpus)
    assert list(corpus.label_uris) == ["u:0", "u:1", "u:2"]


def test_xmlrepo(tmp_path):
    (tmp_path / "train.txt").write_text("3 4 3\n2,0 0:0.5 3:1e-2\n 1:2\n1 \n")
    (tmp_path / "test.txt").write_text("1 4 3\n1 2:1\n")
    corpus = Corpus.open(tmp_path)
    assert [corpus.train.labels[i].indices.tolist() for i in range(3)] == ROWS
    np.testing.assert_array_equal(
        corpus.train.features.toarray(), np.array([[0.5, 0, 0, 0.01], [0, 2, 0, 0], [0, 0, 0, 0]], np.float32)
    )
    assert list(corpus.train.texts) == ["", "", ""] and list(corpus.label_texts) == ["0", "1", "2"]
    assert corpus.test.features.shape == (1, 4)


def test_reading_keeps_one_copy_of_a_large_file(tmp_path):
    import tracemalloc

    text = ("word " * 200 + "\n") * 20000  # 20 MB
    put(tmp_path, trn_X_txt=text, trn_X_Y_txt="0\n" * 20000)
    Corpus.open(tmp_path)
    tracemalloc.start()
    corpus = Corpus.open(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corpus.train.texts.n_bytes == len(text) - 20000
    assert peak < 1.4 * len(text)
