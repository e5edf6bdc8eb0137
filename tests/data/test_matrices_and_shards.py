"""Sparse matrices of other tools, and Parquet files as Hugging Face and Spark write them."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from support.layouts import label_sets, put

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError


def opened(folder, files, **how):
    return Corpus.open(put(folder, files), **how)


def labels(corpus, split=None):
    return label_sets(split or corpus.train, list(corpus.label_texts))


def test_two_file_sparse_set(tmp_path):
    files = {"trn_X_Xf.txt": "2 3\n0:1 2:.5\n1:1\n", "trn_X_Y.txt": "2 2\n0:1\n0:1 1:1\n"}
    files |= {name.replace("trn", "tst"): content for name, content in files.items()}
    corpus = opened(tmp_path, files)
    one = opened(tmp_path / "one", {"train.txt": "2 3 2\n0 0:1 2:.5\n0,1 1:1\n"})
    assert (corpus.train.features != one.train.features).nnz == 0 and labels(corpus) == labels(one)
    assert labels(corpus, corpus.test) == [["0"], ["0", "1"]]


@pytest.mark.parametrize(
    "name, content, found",
    [
        ("trn_X_Xf.txt", "2 3\n0:1 3:.5\n1:1\n", "line 2: names feature 3"),
        ("trn_X_Xf.txt", "3 3\n0:1\n1:1\n", "says 3 rows, but 2"),
        ("trn_X_Y.txt", "2 2\n0:1\n", "says 2 rows, but 1"),
        ("trn_X_Xf.txt", "0:1 2:.5\n1:1\n", "is not a header"),
    ],
)
def test_two_file_sparse_set_refused(tmp_path, name, content, found):
    files = {"trn_X_Xf.txt": "2 3\n0:1 2:.5\n1:1\n", "trn_X_Y.txt": "2 2\n0:1\n0:1 1:1\n", name: content}
    with pytest.raises(DataError, match=found):
        opened(tmp_path, files)


def test_two_file_features_beside_texts_leave_the_texts(tmp_path):
    files = {"trn_X_Xf.txt": "2 3\n0:1\n1:1\n", "trn_X_Y.txt": "2 2\n0:1\n1:1\n", "trn_X.txt": "a\nb\n"}
    corpus = opened(tmp_path, files)
    assert list(corpus.train.texts) == ["a", "b"] and "bags of words" in corpus.notes[0]


def pecos(folder, texts):
    folder.mkdir(parents=True)
    y = sp.csr_matrix(np.array([[1, 0, 1], [0, 1, 0]], dtype=np.float32))
    for side in ("trn", "tst"):
        sp.save_npz(folder / f"Y.{side}.npz", y)
        if texts:
            (folder / f"X.{side}.txt").write_text("red shoe\nblue hat\n")
    inner = folder / "tfidf-attnxml"
    inner.mkdir()
    for side in ("trn", "tst"):
        sp.save_npz(inner / f"X.{side}.npz", sp.csr_matrix(np.eye(2, 5, dtype=np.float32)))
    (folder / "output-items.txt").write_text("shoes\nhats\nred\n")
    return folder


def test_pecos_texts_and_features(tmp_path):
    corpus = Corpus.open(pecos(tmp_path / "wiki10-31k", texts=True))
    assert list(corpus.train.texts) == ["red shoe", "blue hat"] and labels(corpus) == [["red", "shoes"], ["hats"]]
    assert "bags of words" in corpus.notes[0] and len(corpus.test) == 2
    bag = Corpus.open(pecos(tmp_path / "amazon-670k", texts=False))
    assert bag.train.features.shape == (2, 5) and labels(bag) == labels(corpus)
    assert bag.propensity_constants == (0.6, 2.6)


def test_pecos_damaged_and_ill_fitting_matrices_are_refused(tmp_path):
    folder = pecos(tmp_path / "a", texts=True)
    (folder / "output-items.txt").write_text("shoes\n")
    with pytest.raises(DataError, match="1 label names, but"):
        Corpus.open(folder)
    (folder / "Y.trn.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="cannot be read as a sparse matrix"):
        Corpus.open(folder)
    sp.save_npz(folder / "Y.trn.npz", sp.csr_matrix(([1.0], ([0], [7])), shape=(2, 2**40)))
    (folder / "output-items.txt").unlink()
    with pytest.raises(DataError, match=r"labels"):
        Corpus.open(folder)
    np.savez(folder / "Y.trn.npz", data=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="cannot be read as a sparse matrix"):
        Corpus.open(folder)


# --- Parquet -------------------------------------------------------------------------------------------------


def table(texts, rows, features=None):
    import pyarrow as pa

    made = pa.table({"text": texts, "labels": rows})
    if features is None:
        return made
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@pytest.mark.parametrize("place", ["data/", ""])
def test_hugging_face_shards(tmp_path, place):
    import pyarrow.parquet as pq

    (tmp_path / "data").mkdir()
    pq.write_table(table(["a", "b"], [["x"], ["y"]]), tmp_path / f"{place}train-00000-of-00002.parquet")
    pq.write_table(table(["c"], [["x", "y"]]), tmp_path / f"{place}train-00001-of-00002.parquet")
    pq.write_table(table(["d"], [["y"]]), tmp_path / f"{place}test-00000-of-00001.parquet")
    corpus = Corpus.open(tmp_path)
    assert list(corpus.train.texts) == ["a", "b", "c"] and labels(corpus) == [["x"], ["y"], ["x", "y"]]
    assert list(corpus.test.texts) == ["d"]
    (tmp_path / f"{place}train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="1 of 2 shards"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize("folder", ["train.parquet", "train"])
def test_spark_parts(tmp_path, folder):
    import pyarrow.parquet as pq

    for i, text in enumerate("ab"):
        part = tmp_path / folder / f"part-0000{i}-9f-c000.snappy.parquet"
        part.parent.mkdir(exist_ok=True)
        pq.write_table(table([text], [[text]]), part)
    (tmp_path / folder / "_SUCCESS").touch()
    assert labels(Corpus.open(tmp_path)) == [["a"], ["b"]]
    assert labels(Corpus.open(tmp_path / folder)) == [["a"], ["b"]]


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": ["x", "y", "z"], "_type": "ClassLabel"}, "_type": "Sequence"},
        {"feature": {"names": ["x", "y", "z"], "_type": "ClassLabel"}, "length": -1, "_type": "List"},
        [{"names": ["x", "y", "z"], "_type": "ClassLabel"}],
    ],
)
def test_names_of_class_labels(tmp_path, feature):
    import pyarrow.parquet as pq

    pq.write_table(table(["a", "b"], [[0, 2], [1]], {"labels": feature}), tmp_path / "train.parquet")
    corpus = Corpus.open(tmp_path)
    assert list(corpus.label_texts) == ["x", "y", "z"] and labels(corpus) == [["x", "z"], ["y"]]


def test_other_metadata_of_parquet_is_ignored(tmp_path):
    import pyarrow.parquet as pq

    plain = {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "Sequence"}
    pq.write_table(table(["a", "b"], [[0, 2], [1]], {"labels": plain}), tmp_path / "train.parquet")
    assert list(Corpus.open(tmp_path).label_texts) == ["0", "1", "2"]


@pytest.mark.parametrize("place", ["train/", ""])
def test_arrow_files_of_datasets_are_named(tmp_path, place):
    put(tmp_path, {f"{place}data-00000-of-00001.arrow": b"x", f"{place}state.json": "{}"})
    with pytest.raises(DataError, match="to_parquet"):
        Corpus.open(tmp_path)
