"""What `predict` returns and writes, streams of texts, and the memory that all of it takes."""

import gzip
import io
import json
import tracemalloc

import numpy as np
import pytest
from support.known import Known
from untrained import untrained

from megalabel.errors import DataError, SettingError
from megalabel.models.answering import STREAMED
from megalabel.models.facts import add_calibration
from megalabel.models.prediction_files import format_of, save
from megalabel.models.predictions import Predictions

NAMES = ["cat", 'a "b", c', "tab\there", "日本"]


@pytest.fixture
def found():
    ids = np.array([[1, 0], [2, -1], [-1, -1]])
    scores = np.array([[0.75, 0.5], [0.25, -np.inf], [-np.inf, -np.inf]], np.float32)
    return Predictions(ids, scores, NAMES, "calibrated", [{"id": i} for i in range(3)])


def test_they_behave_as_the_lists_before(found):
    assert len(found) == 3
    assert found == [[('a "b", c', 0.75), ("cat", 0.5)], [("tab\there", 0.25)], []]
    assert found[0][1] == ("cat", 0.5)
    assert found.to_list()[2] == []
    assert found[1:].fields == [{"id": 1}, {"id": 2}]
    assert repr(found).splitlines()[0] == "Predictions(3 texts, k = 2)"
    assert "no label" in repr(found)
    assert found.to_csr().toarray().tolist() == [[0.5, 0.75, 0, 0], [0, 0, 0.25, 0], [0, 0, 0, 0]]


def test_a_table_has_a_row_per_label(found):
    pandas = pytest.importorskip("pandas")
    table = found.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table["label"].tolist() == ['a "b", c', "cat", "tab\there"]
    assert table["text"].tolist() == [0, 0, 1]


def test_files_hold_the_same_by_their_suffix(found, tmp_path):
    import csv

    import pyarrow.parquet as pq

    rows = [["0", "1", 'a "b", c', "0.75"], ["0", "0", "cat", "0.5"], ["1", "2", "tab\there", "0.25"]]
    for name, comma in (("a.csv", ","), ("a.tsv", "\t"), ("a.CSV.gz", ",")):
        assert save([found[:1], found[1:]], tmp_path / name) == 3
        raw = (tmp_path / name).read_bytes()
        text = (gzip.decompress(raw) if name.endswith("gz") else raw).decode()
        assert list(csv.reader(io.StringIO(text), delimiter=comma)) == [["text", "id", "label", "score"], *rows]
    found.save(tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines == list(found.records())
    assert lines[1] == {
        "id": 1,
        "score_type": "calibrated",
        "labels": [{"id": 2, "label": "tab\there", "score": 0.25}],
    }
    found.save(tmp_path / "a.annif")
    assert (tmp_path / "a.annif").read_text() == 'a "b", c\t0.75\ncat\t0.5\n\ntab here\t0.25\n\n'
    found.save(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet").to_pylist()
    shown = [list(zip(row["label_ids"], row["labels"], row["scores"], strict=True)) for row in table]
    assert shown == [[(i["id"], i["label"], i["score"]) for i in line["labels"]] for line in lines]
    assert [row["row"] for row in table] == [0, 1, 2]
    assert json.loads(table[2]["fields"]) == {"id": 2}
    found.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["labels"], found.ids)
        assert str(arrays["score_type"]) == "calibrated"


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.parquet.gz", "a.npz.gz"])
def test_other_suffixes_are_refused(name):
    with pytest.raises(SettingError):
        format_of(name)


def test_streams_are_answered_in_order_with_what_their_records_hold():
    model, read = Known(), []

    def records():
        for i in range(2500):
            read.append(i)
            yield {"id": i, "text": str(i), "labels": ["true"], "source": "x"} if i % 2 else str(i)

    answers = model.predict_iter(records(), 2)
    assert read == []
    first = next(answers)
    assert len(read) == STREAMED
    rest = [first, *answers]
    assert len(rest) == 2500
    assert max(model.asked) <= STREAMED
    for i in (0, 1, 1023, 1024, 2499):
        ids, scores = model.row(i)
        expected = [(int(a), float(f"{b:.6g}")) for a, b in zip(ids[:2], scores, strict=False)]
        assert [(label["id"], label["score"]) for label in rest[i]["labels"]] == expected
        assert {k: v for k, v in rest[i].items() if k not in ("labels", "score_type")} == (
            {"id": i, "source": "x"} if i % 2 else {}
        )
    assert list(model.predict_iter([])) == []


@pytest.mark.parametrize("texts", ["one text", {"text": "0"}, b"0", None, 5], ids=str)
def test_what_is_no_stream_is_refused_at_once(texts):
    with pytest.raises(SettingError):
        Known().predict_iter(texts)


def test_tables_and_sets_are_no_streams():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": ["0", "1"], "id": [7, 8]})
    for texts in (table, {"0", "1"}):  # a table would be a stream of the names of its columns
        with pytest.raises(DataError):
            Known().predict_iter(texts)
    assert [answer["id"] for answer in Known().predict_iter(table.to_dict("records"))] == [7, 8]


@pytest.mark.parametrize("record", [{"title": "0"}, {"text": 1}, {}, None, 3], ids=str)
def test_records_without_a_text_are_told_where_they_are(record):
    with pytest.raises(DataError, match=r"text 2"):
        list(Known().predict_iter(["0", "1", record]))


def test_a_saved_model_takes_a_calibration_without_its_weights(tmp_path):
    import megalabel

    known, model = Known(), untrained(["w", "x", "y", "z"])
    known.calibrate([str(i) for i in range(100)], known.truth(range(100)))
    model.save(tmp_path / "model")
    written = (tmp_path / "model" / "head.safetensors").stat().st_mtime_ns
    assert megalabel.load(tmp_path / "model").calibration is None
    for _ in range(2):  # the second one replaces the first
        add_calibration(tmp_path / "model", known.calibration)
        again = megalabel.load(tmp_path / "model")
        assert np.array_equal(again.calibration.scores, known.calibration.scores)
    assert (tmp_path / "model" / "head.safetensors").stat().st_mtime_ns == written
    again.save(tmp_path / "copy")
    assert megalabel.load(tmp_path / "copy").predict(["a"], 2).score_type == "calibrated"


def test_a_million_labels_take_memory_by_texts_and_k_alone():
    n, few = 1_000_000, list(range(0, 1_000_000, 5000))
    model = Known(n)
    held = [str(i) for i in range(200)]
    truth = model.truth(range(200))
    inverse_bytes = 3 * 8 * n  # propensities: a few numbers per label
    tracemalloc.start()
    try:
        assert model.calibrate(held, truth)
        reached = round(model.calibration.reachable, 2) - 0.1
        for asked in ({"precision": 0.2}, {"coverage": reached}, {"k": 5, "deny": few}, {"k": 5, "tail": 0.5}):
            model.predict(held, **asked)
        list(model.predict_iter(held, 5))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < inverse_bytes + 48e6  # N × L would be 800 MB as float32
    assert max(model.asked) * model.deepest <= 1 << 26
