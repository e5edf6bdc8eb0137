"""Columns of Parquet in each of Arrow's types for strings and lists."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.read_back import read
from support.trap_files import refused

TEXTS, ROWS = ["a", "b", "a"], [["x"], ["y", "x"], []]
STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
           pa.dictionary(pa.int32(), pa.large_string())]  # fmt: skip
LISTS = [pa.list_, pa.large_list]


def table(tmp_path, texts, labels, **more):
    pq.write_table(pa.table({"text": texts, "labels": labels, **more}), tmp_path / "train.parquet")
    return tmp_path


@pytest.mark.parametrize("kind", STRINGS, ids=str)
@pytest.mark.parametrize("wrap", LISTS, ids=["list", "large_list"])
def test_strings_of_every_type(tmp_path, kind, wrap):
    try:
        path = table(tmp_path, pa.array(TEXTS, kind), pa.array(ROWS, wrap(kind)))
    except pa.ArrowNotImplementedError:
        pytest.skip("this version of Arrow does not write the type")
    assert read(path) == (TEXTS, [["x"], ["x", "y"], []], [])


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.int64(), pa.uint16(), pa.dictionary(pa.int8(), pa.int32())], ids=str
)
def test_integers_of_every_type(tmp_path, kind):
    path = table(tmp_path, pa.array(TEXTS), pa.array([[2], [0, 1], []], pa.list_(kind)))
    assert read(path)[1] == [["2"], ["0", "1"], []]


@pytest.mark.parametrize("kind", [pa.int8(), pa.bool_(), pa.float32(), pa.float64()], ids=str)
def test_zeros_and_ones_of_every_type(tmp_path, kind):
    rows = pa.array([[1, 0], [0, 0], [1, 1]]).cast(pa.list_(kind)).cast(pa.list_(kind, 2))
    assert read(table(tmp_path, pa.array(TEXTS), rows))[1] == [["0"], [], ["0", "1"]]


def test_a_string_of_several_labels(tmp_path):
    path = table(tmp_path, pa.array(TEXTS), pa.array(["x;y", "", "y"]))
    report = refused(path, "train.parquet", "labels: string")
    assert "--label-separator" in report.findings[0].message
    assert read(path, label_separator=";")[1] == [["x", "y"], [], ["y"]]


def test_other_names_of_the_columns(tmp_path):
    pq.write_table(pa.table({"body": TEXTS, "tags": ROWS}), tmp_path / "train.parquet")
    report = refused(tmp_path, "train.parquet", "body: string")
    assert "--text-field" in report.findings[0].message
    assert read(tmp_path, text_field="body", labels_field="tags")[0] == TEXTS


@pytest.mark.parametrize(
    "labels, said",
    [
        (pa.array([[("x", 0.5)], [], []], pa.map_(pa.string(), pa.float64())), "no scores"),
        (pa.array([[{"label": "x", "score": 0.5}], [], []]), "list<"),
        (pa.array([[0.5], [], []]), "0.5 is not a label"),
        (pa.array(["x", "y", "z"], pa.binary()), "binary"),
        (pa.array([1, 2, 3]), "int64"),
        (pa.array([None, None, None]), "null"),
    ],
)
def test_columns_that_are_no_labels(tmp_path, labels, said):
    from megalabel.data.check import check

    report = check(table(tmp_path, pa.array(TEXTS), labels))
    assert not report.ok and said in report.findings[0].message


def test_categories_of_pandas(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": TEXTS, "labels": ROWS})
    frame.assign(text=frame.text.astype("category")).to_parquet(tmp_path / "train.parquet")
    assert read(tmp_path)[:2] == (TEXTS, [["x"], ["x", "y"], []])
