"""Tables as others write them: cells separated in another way, one column per label, one label per text."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.layouts import put

from megalabel import Corpus
from megalabel.data.check import check
from megalabel.data.test_side import open_to_measure
from megalabel.errors import DataError


def labels_of(split, corpus):
    rows, names = split.labels, list(corpus.label_texts)
    return [[names[i] for i in rows.indices[rows.indptr[r] : rows.indptr[r + 1]]] for r in range(len(split))]


def said(corpus):
    return " ".join(str(finding) for finding in corpus.findings if finding.notable)


@pytest.mark.parametrize(
    "name, content, shown",
    [
        ("train.csv", "text;labels\na, b;x|y\nc;y\n", "separated by `;`"),
        ("train.csv", 'id;"labels";"text"\n1;x,y;"a, b"\n2;y;c\n3;x;d\n', "separated by `;`"),
        ("train.csv", "text\tlabels\na, b\tx|y\nc\ty\n", "separated by tabs"),
        ("train.csv", "\ufefftext|labels\na, b|x;y\nc|y\n", "separated by `|`"),
        ("train.tsv", "text\tlabels\na, b\tx|y\nc\ty\n", ""),
        ("train.tsv", "id\tTEXT\tLabel\r\n1\ta, b\tx|y\r\n2\tc\ty\r\n", "read from `label`"),
        ("train.tab", "text\tlabels\na, b\tx|y\nc\ty\n", ""),
    ],
)  # fmt: skip
def test_the_header_shows_what_separates_the_cells(tmp_path, name, content, shown):
    where = put(tmp_path, {name: content})
    corpus = Corpus.open(where / name if name.endswith(".tab") else where)
    assert list(corpus.train.texts)[:2] == ["a, b", "c"]
    assert labels_of(corpus.train, corpus)[:2] == [["x", "y"], ["y"]]
    assert shown in said(corpus) and (shown or "separated" not in said(corpus))


def test_each_file_has_its_own_separator_of_cells(tmp_path):
    put(tmp_path, {"train.csv": "text,labels\na,x|y\nb,y\n", "test.csv": "labels;text\ny|x;a, c\n"})
    corpus = Corpus.open(tmp_path)
    assert list(corpus.test.texts) == ["a, c"] and labels_of(corpus.test, corpus) == [["x", "y"]]


def test_uris_after_a_tab_are_still_read_as_annif_does(tmp_path):
    put(tmp_path, {"train.tsv": "text\t<http://e/1>\n", "vocab.tsv": "<http://e/1>\tone\n"})
    assert list(Corpus.open(tmp_path).label_texts) == ["one"]
    (tmp_path / "vocab.tsv").unlink()
    with pytest.raises(DataError, match=r"no vocabulary does.*--format tsv"):
        Corpus.open(tmp_path)


WIDE = "id,comment_text,toxic,obscene,threat\na1,you fool,1,0,0\nb2,hello there,0,0,0\nc3,damn it fool,1,1,0\n"


def test_columns_of_zeros_and_ones_are_labels(tmp_path):
    put(tmp_path, {"train.csv": WIDE, "test.csv": "comment_text,obscene,toxic,threat\nno,1,0,1\n"})
    corpus = Corpus.open(tmp_path, text_field="comment_text")
    assert list(corpus.label_texts) == ["toxic", "obscene", "threat"]
    assert labels_of(corpus.train, corpus) == [["toxic"], [], ["toxic", "obscene"]]
    assert labels_of(corpus.test, corpus) == [["obscene", "threat"]]
    assert "3 columns of zeros and ones are the labels: toxic, obscene, threat; not read: 'id'" in said(corpus)


@pytest.mark.parametrize(
    "content",
    [
        ",text,x,y\n0,a,True,False\n1,b,True,True\n",  # DataFrame.to_csv with its index
        "text,x,y\na,1.0,0.0\nb,1.0,1.0\n",
        "x;text;y\n1;a;0\n1;b;1\n",
        "text\tx\ty\na\t1\t0\nb\t1\t1\n",
    ],
)
def test_flags_of_any_spelling(tmp_path, content):
    corpus = Corpus.open(put(tmp_path, {"train.csv": content}))
    assert labels_of(corpus.train, corpus) == [["x"], ["x", "y"]] and list(corpus.label_texts) == ["x", "y"]


ROWS = [("a", 1, 0, 0), ("b", 0, 0, 0), ("c", 1, 1, 0)]  # a text, two labels, and a column that is never one


def write_wide(file, rows, kind=int, names=("text", "x", "y", "z")):
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    columns = {name: [v if name == "text" else kind(v) for v in values] for name, values in columns.items()}
    if file.suffix == ".parquet":
        pq.write_table(pa.table({**columns, "id": list(range(5, 5 + len(rows)))}), file)
        return
    lines = [dict(zip(columns, row, strict=True)) | {"id": "k"} for row in zip(*columns.values(), strict=True)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("kind", [int, bool, float, str])
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_flags_in_parquet_and_json_lines(tmp_path, suffix, kind):
    write_wide(tmp_path / f"train.{suffix}", ROWS, kind if kind is not str else lambda v: str(int(v)))
    write_wide(tmp_path / f"test.{suffix}", [(0, 1, "d", 0)], int, ("z", "y", "text", "x"))
    corpus = Corpus.open(tmp_path)
    assert list(corpus.label_texts) == ["x", "y", "z"]
    assert labels_of(corpus.train, corpus) == [["x"], [], ["x", "y"]]
    assert labels_of(corpus.test, corpus) == [["y"]]
    assert "3 columns of zeros and ones are the labels: x, y, z; not read: 'id'" in said(corpus)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_flags_in_a_file_alone_and_with_a_list_of_labels(tmp_path, suffix):
    write_wide(tmp_path / f"new.{suffix}", ROWS)
    (tmp_path / "labels.txt").write_text("y\nother\nx\nz\n")
    corpus = Corpus.open(tmp_path / f"new.{suffix}")
    assert list(corpus.label_texts) == ["y", "other", "x", "z"]
    assert labels_of(corpus.train, corpus) == [["x"], [], ["y", "x"]]


def test_flags_in_shards(tmp_path):
    write_wide(tmp_path / "train-00000-of-00002.parquet", ROWS)
    write_wide(tmp_path / "train-00001-of-00002.parquet", [("d", 0, 1, 1), ("e", 0, 0, 2)])
    corpus = Corpus.open(tmp_path)  # z is no flag in the second shard
    assert list(corpus.label_texts) == ["x", "y"] and labels_of(corpus.train, corpus)[3:] == [["y"], []]


@pytest.mark.parametrize("rows", [[("a", 0, 0, 0)], [("a", 2, 5, 1)], [("a", None, None, 1)]])
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_other_columns_of_parquet_and_json_lines_are_no_labels(tmp_path, suffix, rows):
    write_wide(tmp_path / f"train.{suffix}", rows, lambda v: v)
    with pytest.raises(DataError, match="labels"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_test_side_must_have_the_flags_of_training(tmp_path, suffix):
    write_wide(tmp_path / f"train.{suffix}", ROWS)
    write_wide(tmp_path / f"test.{suffix}", [("a", -1, 0, 0)])
    with pytest.raises(DataError, match=r"test.*(row|line) 1: the cell '-1' in the column 'x'; expected 0 or 1"):
        Corpus.open(tmp_path)
    write_wide(tmp_path / f"test.{suffix}", [("a", 1, 0)], int, ("text", "x", "y"))
    with pytest.raises(DataError, match=r"'z'"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_column_of_labels_goes_before_flags(tmp_path, suffix):
    write_wide(tmp_path / f"train.{suffix}", [("a", 1, 0, 1), ("b", 0, 1, 0)], int, ("text", "x", "y", "label"))
    assert labels_of(Corpus.open(tmp_path).train, Corpus.open(tmp_path)) == [["1"], ["0"]]


@pytest.mark.parametrize(
    "content",
    ["text,x\na,1\nb,0\n", "text,x,y\na,2,0\nb,0,1\n", "text,x,y\na,0,0\n", "body,x,y\na,1,0\n", "text,x,y\n"],
)
def test_other_columns_are_no_labels(tmp_path, content):
    report = check(put(tmp_path, {"train.csv": content}))
    assert not report.ok and "one column `labels`" in str(report.findings[0])


def test_a_test_file_must_have_the_columns_of_training(tmp_path):
    put(tmp_path, {"train.csv": "text,x,y\na,1,0\nb,0,1\n", "test.csv": "text,x,y\na,-1,-1\n"})
    with pytest.raises(DataError, match=r"test.csv, line 2: the cell '-1' in the column 'x'; expected 0 or 1"):
        Corpus.open(tmp_path)
    put(tmp_path, {"test.csv": "text,x\na,1\n"})
    with pytest.raises(DataError, match=r"test.csv, line 1: no column 'y'"):
        Corpus.open(tmp_path)


def test_a_list_of_labels_orders_the_columns(tmp_path):
    put(tmp_path, {"train.csv": "text,x,y\na,1,0\nb,0,1\n", "labels.txt": "y\nz\nx\n"})
    corpus = Corpus.open(tmp_path)
    assert list(corpus.label_texts) == ["y", "z", "x"] and labels_of(corpus.train, corpus) == [["x"], ["y"]]


@pytest.mark.parametrize(
    "name, content, labels",
    [
        ("train.jsonl", [{"text": "a", "label": 1}, {"text": "b", "label": 0}], [["1"], ["0"]]),
        ("train.jsonl", [{"text": "a", "label": "red, dark"}, {"text": "b", "label": ""}], [["red, dark"], []]),
        ("train.json", [{"text": "a", "label": [0, 1]}, {"text": "b", "label": [1]}], [["0", "1"], ["1"]]),
    ],
)
def test_one_label_per_text_under_label(tmp_path, name, content, labels):
    corpus = Corpus.open(put(tmp_path, {name: "".join(json.dumps(row) + "\n" for row in content)}))
    assert labels_of(corpus.train, corpus) == labels and "read from `label`" in said(corpus)


def test_a_named_key_may_hold_an_id_and_labels_goes_before_label(tmp_path):
    put(tmp_path, {"train.jsonl": '{"text":"a","star":2,"label":9}\n{"text":"b","star":0,"label":9}\n'})
    corpus = Corpus.open(tmp_path, labels_field="star")
    assert labels_of(corpus.train, corpus) == [["2"], ["0"]]
    put(tmp_path, {"train.jsonl": '{"text":"a","labels":["x"],"label":9}\n'})
    assert list(Corpus.open(tmp_path).label_texts) == ["x"]


@pytest.mark.parametrize("value", ['"label":true', '"label":0.5', '"label":null', '"labels":3', '"label":-1'])
def test_values_that_are_no_label(tmp_path, value):
    with pytest.raises(DataError, match=r"line 1"):
        Corpus.open(put(tmp_path, {"train.jsonl": f'{{"text":"a",{value}}}\n'}))


def test_a_class_label_of_hugging_face_is_called_by_its_name(tmp_path):
    features = {"text": {"_type": "Value"}, "label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    table = pa.table({"text": ["a", "b"], "label": pa.array([1, 0])}).replace_schema_metadata(meta)
    pq.write_table(table, tmp_path / "train.parquet")
    corpus = Corpus.open(tmp_path)
    assert labels_of(corpus.train, corpus) == [["pos"], ["neg"]] and "read from `label`" in said(corpus)
    named = Corpus.open(tmp_path, labels_field="label")
    assert labels_of(named.train, named) == [["pos"], ["neg"]]


def test_single_strings_of_parquet(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x y", ""]}), tmp_path / "train.parquet")
    corpus = Corpus.open(tmp_path)
    assert labels_of(corpus.train, corpus) == [["x y"], []]


def test_a_test_file_alone_is_read_with_the_options(tmp_path):
    put(tmp_path, {"more.csv": "body;tags\na, b;x/y\nc;y\n"})
    corpus, split = open_to_measure(
        tmp_path / "more.csv", text_field="body", labels_field="tags", label_separator="/"
    )
    assert list(split.texts) == ["a, b", "c"] and labels_of(split, corpus) == [["x", "y"], ["y"]]
    corpus, split = open_to_measure(put(tmp_path, {"wide.csv": WIDE}) / "wide.csv", text_field="comment_text")
    assert labels_of(split, corpus) == [["toxic"], [], ["toxic", "obscene"]]
