"""`Predictor` on batches of tables, as Ray Data and Spark call it, and weights that stay in their files."""

import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from untrained import untrained

import megalabel
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.inference import predictor
from megalabel.inference.lake import lake_parts, parquet_files, write_lake_part
from megalabel.inference.predictor import Predictor
from megalabel.storage import mapped_weights

TEXTS = ["purr whisker", "bark leash", None, "", "milk udder purr"]


@pytest.fixture
def table():
    return pa.table({"id": range(5), "text": TEXTS, "labels": [["cat"]] * 5})


def answers(model, k=2):
    """What `topk` says of the texts that are there."""
    ids, scores = model.topk([text for text in TEXTS if text is not None], k).numpy()
    rows = [
        (row.tolist(), [model.label_texts[i] for i in row], s.tolist()) for row, s in zip(ids, scores, strict=True)
    ]
    return [*rows[:2], (None, None, None), *rows[2:]]


def test_an_arrow_table_gets_the_labels_of_topk_in_place_of_its_texts(run, linear, table):
    found = Predictor(run, k=2)(table)
    assert found.column_names == ["id", "label_ids", "labels", "scores"]
    assert [found.schema.field(name).type for name in found.column_names[1:]] == [
        pa.list_(pa.int64()),
        pa.list_(pa.string()),
        pa.list_(pa.float32()),
    ]
    rows = found.to_pylist()
    assert [(row["label_ids"], row["labels"], row["scores"]) for row in rows] == answers(linear)
    assert [row["id"] for row in rows] == [0, 1, 2, 3, 4]
    assert Predictor(run, k=2, keep=["text"])(table)["text"].to_pylist() == TEXTS


def test_dictionaries_record_batches_and_categories_hold_the_same(run, table):
    wanted, ours = Predictor(run, k=2)(table), Predictor(run, k=2)
    found = ours({name: table[name].to_numpy(zero_copy_only=False) for name in ("id", "text")})
    assert found["id"].tolist() == [0, 1, 2, 3, 4]
    for name in ("label_ids", "labels", "scores"):
        assert [None if row is None else row.tolist() for row in found[name]] == wanted[name].to_pylist()
    batches = list(ours.frames(table.to_batches(max_chunksize=2)))
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches)
    assert pa.Table.from_batches(batches) == wanted
    coded = table.set_column(1, "text", table["text"].combine_chunks().dictionary_encode())
    assert ours(coded) == wanted
    assert ours(table.set_column(1, "text", table["text"].cast(pa.large_string()))) == wanted


def test_an_empty_batch_and_one_without_texts_have_the_same_columns(run, table):
    ours = Predictor(run)
    for batch in (table.slice(0, 0), table.slice(2, 1), pa.table({"id": [1, 2], "text": [None, None]})):
        found = ours(batch)
        assert found.schema == ours(table).schema
        assert found["labels"].to_pylist() == [None] * len(batch)


def test_frames_of_pandas_get_the_same_labels(run, table):
    pytest.importorskip("pandas", reason="pandas is not among the dependencies")
    ours, frame = Predictor(run, k=2), table.to_pandas()
    frame.index = [7, 7, 3, 1, 0]  # as Spark or a user left it
    found = list(ours.frames(iter([frame.iloc[:2], frame.iloc[2:]])))
    wanted = ours(table).to_pylist()
    rows = [row for part in found for row in part.to_dict("records")]
    for row, other in zip(rows, wanted, strict=True):
        assert row["id"] == other["id"]
        assert (row["labels"] is None) == (other["labels"] is None)
        if row["labels"] is not None:
            assert [list(row[n]) for n in ("label_ids", "labels")] == [other["label_ids"], other["labels"]]


def test_it_is_pickled_without_the_model_and_loads_it_once(run, table, monkeypatch):
    loads, load = [], predictor.load
    monkeypatch.setattr(predictor, "load", lambda *a, **b: loads.append(b) or load(*a, **b))
    monkeypatch.setattr(predictor, "_models", {})
    sent = pickle.dumps(Predictor(run, k=1))
    assert len(sent) < 2000
    first, second = pickle.loads(sent), pickle.loads(sent)
    assert first(table) == second(table)
    assert [given["mapped"] for given in loads] == [True]


def test_another_model_at_the_same_place_is_refused(run, table, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    ours = Predictor(tmp_path / "run")
    manifest = tmp_path / "run" / "model" / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(FormatError, match="another model"):
        ours(table)


@pytest.mark.parametrize(
    ("arguments", "batch", "said"),
    [
        ({"text_field": "body"}, {"text": ["a"]}, "a column 'body'"),
        ({"keep": ["id"]}, {"text": ["a"]}, "a column 'id'"),
        ({}, {"text": [1, 2]}, "values of type int64"),
        ({}, {"text": ["a", 2]}, "no texts in the column 'text'"),
        ({}, ["a"], "a batch of type list"),
        ({}, {"text": [b"a"]}, "values of type binary"),
    ],
)
def test_batches_without_texts_are_refused(run, arguments, batch, said):
    with pytest.raises(DataError, match=said):
        Predictor(run, **arguments)(batch)


@pytest.mark.parametrize("arguments", [{"k": 0}, {"keep": "id"}, {"keep": ["scores"]}, {"threshold": 2.0}])
def test_arguments_that_do_not_fit_are_refused(run, arguments):
    with pytest.raises(SettingError):
        Predictor(run, **arguments)({"text": ["a"]})


def test_a_lake_is_divided_into_row_groups_and_every_row_is_answered_once(run, linear, tmp_path):
    folder = tmp_path / "lake" / "day=1"
    folder.mkdir(parents=True)
    words = np.random.default_rng(0).choice(["purr", "bark", "milk"], (50, 2))
    for i, (start, stop, group) in enumerate([(0, 23, 5), (23, 24, 9), (24, 50, 30), (50, 50, 1)]):
        rows = {"id": range(start, stop), "text": [" ".join(pair) for pair in words[start:stop].tolist()]}
        schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
        pq.write_table(pa.table(rows, schema), folder / f"{i}.parquet", row_group_size=group)
    (tmp_path / "lake" / "_temporary").mkdir()
    (tmp_path / "lake" / "_temporary" / "x.parquet").write_text("x")
    files = parquet_files(tmp_path / "lake")
    parts, facts = lake_parts(files, ["text"], 10)
    assert [(part.groups, part.n_rows) for part in parts] == [
        ((0, 1), 10),
        ((2, 3), 10),
        ((4,), 3),
        ((0,), 1),
        ((0,), 26),
    ]
    assert (facts["files"], facts["rows"]) == (4, 50)
    ours = Predictor(run, k=1)
    assert [write_lake_part(ours, part, tmp_path / f"{i}.parquet") for i, part in enumerate(parts)] == [
        10,
        10,
        3,
        1,
        26,
    ]
    found = pa.concat_tables([pq.read_table(tmp_path / f"{i}.parquet") for i in range(5)])
    assert found["id"].to_pylist() == list(range(50))
    best = linear.topk([" ".join(pair) for pair in words.tolist()], 1)
    assert found["label_ids"].to_pylist() == best.ids.tolist()
    assert found.schema.metadata == {b"score_type": b"probability"}
    (folder / "3.parquet").unlink()
    assert lake_parts(parquet_files(tmp_path / "lake"), ["text"], 10)[1] != facts


def test_lakes_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    for inputs, said in ((tmp_path / "none", "no such file"), ([], r"no file that ends in \.parquet"),
                         ("s3://lake/x", "mount the storage")):  # fmt: skip
        with pytest.raises(DataError, match=f"(?i){said}"):
            parquet_files(inputs)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        lake_parts([tmp_path / "a.parquet"], ["text"], 10)
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="values of type int64 in the column 'text'"):
        lake_parts([tmp_path / "a.parquet"], ["text"], 10)
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="a column 'text'"):
        lake_parts([tmp_path / "a.parquet"], ["text"], 10)


def test_mapped_weights_give_the_same_answers_and_the_file_never_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_weights, "LEAST", 1)
    untrained([f"label {i}" for i in range(50)]).save(tmp_path / "m")
    file = tmp_path / "m" / "head.safetensors"
    before, texts = file.read_bytes(), ["a b", "c", "d d a", ""]
    read, mapped = megalabel.load(tmp_path / "m"), megalabel.load(tmp_path / "m", mapped=True)
    assert torch.equal(read.head.weight, mapped.head.weight)
    ours, theirs = read.topk(texts, 7), mapped.topk(texts, 7)
    assert np.array_equal(ours.ids, theirs.ids)
    assert np.array_equal(ours.scores, theirs.scores)
    with torch.no_grad():
        mapped.head.weight += 1
    assert file.read_bytes() == before
    assert torch.equal(megalabel.load(tmp_path / "m", mapped=True).head.weight, read.head.weight)
