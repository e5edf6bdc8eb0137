"""`predict_parquet` on a local cluster of Ray; skipped where Ray is not installed."""

import builtins
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.animals import WORDS, animals

import megalabel
from megalabel.errors import DataError, MissingExtra, SettingError
from megalabel.inference.predictor import Predictor
from megalabel.integrations.ray import predict_parquet
from megalabel.recipes import get

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # those of Ray itself
N, PATIENCE = 600, 1800  # seconds, of a busy machine

# Joins the cluster, and predicts until it is killed.
DRIVER = """
import sys
import ray
from megalabel.inference.predictor import Predictor
from megalabel.integrations.ray import predict_parquet
ray.init(address=sys.argv[1], log_to_driver=False)
predict_parquet(Predictor(sys.argv[2], k=2), sys.argv[3], sys.argv[4], actors=1, part_size=2)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    corpus, out = (
        megalabel.Corpus.open(animals(tmp_path_factory.mktemp("animals"))),
        tmp_path_factory.mktemp("run"),
    )
    megalabel.train(get("linear")(corpus), out=out / "r", quiet=True)
    return out / "r"


@pytest.fixture(scope="module")
def texts():
    words = [word for pair in WORDS.values() for word in pair]
    return [f"{words[i % 16]} {words[i * 7 % 16]} {words[i // 16 % 16]}" for i in range(N)]


@pytest.fixture(scope="module")
def lake(texts, tmp_path_factory):
    """Two files of 400 and 200 rows, in row groups of two rows."""
    folder = tmp_path_factory.mktemp("lake")
    for name, rows in (("a", range(400)), ("b", range(400, N))):
        table = pa.table({"id": list(rows), "text": [texts[row] for row in rows]})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=2)
    return folder


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="Ray is not among the dependencies; pip install 'megalabel[ray]'")
    before = signal.getsignal(signal.SIGTERM)
    context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    yield context.address_info["address"]
    ray.shutdown()
    signal.signal(signal.SIGTERM, before)  # Ray leaves a handler that ends the process


def parts(folder):
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob("part-*"))}


def test_every_row_has_the_answer_of_topk_and_a_second_call_computes_what_is_missing(
    cluster, run, lake, texts, tmp_path
):
    predictor = Predictor(run, k=2)
    assert predict_parquet(predictor, lake, tmp_path / "p", actors=2, part_size=100) == N
    found = pa.concat_tables(map(pq.read_table, sorted((tmp_path / "p").glob("part-*"))))
    assert found["id"].to_pylist() == list(range(N))
    wanted = megalabel.load(run).topk(texts, 2)
    assert found["label_ids"].to_pylist() == wanted.ids.tolist()
    np.testing.assert_allclose(found["scores"].to_pylist(), wanted.scores, rtol=1e-6)
    before = parts(tmp_path / "p")
    assert len(before) == 6
    (tmp_path / "p" / "part-000002.parquet").unlink()
    assert predict_parquet(predictor, lake, tmp_path / "p", actors=1, part_size=100) == N
    after = parts(tmp_path / "p")
    assert [name for name in before if before[name] != after[name]] == ["part-000002.parquet"]
    with pytest.raises(SettingError, match="other options"):
        predict_parquet(Predictor(run, k=3), lake, tmp_path / "p", part_size=100)


def test_a_killed_driver_leaves_whole_parts_and_the_next_one_goes_on(cluster, run, lake, tmp_path):
    out = tmp_path / "p"
    arguments = [sys.executable, "-c", DRIVER, cluster, str(run), str(lake), str(out)]
    driver, begun = subprocess.Popen(arguments, env={**os.environ}), time.monotonic()
    while not list(out.glob("part-*")):
        assert driver.poll() is None
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    time.sleep(2)  # actors of a dead driver end
    before = parts(out)
    assert 0 < len(before) < 300
    assert predict_parquet(Predictor(run, k=2), lake, out, part_size=2) == N
    after = parts(out)
    assert {name: after[name] for name in before} == before
    ids = [row for path in sorted(out.glob("part-*")) for row in pq.read_table(path)["id"].to_pylist()]
    assert ids == list(range(N))
    assert not list(out.glob(".part*"))


def test_a_column_of_numbers_is_refused_before_the_start(run, tmp_path):
    pytest.importorskip("ray", reason="Ray is not among the dependencies")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="values of type int64 in the column 'text'"):
        predict_parquet(Predictor(run), tmp_path / "x.parquet", tmp_path / "p")


def test_without_ray_the_extra_is_named(run, lake, tmp_path, monkeypatch):
    known = builtins.__import__

    def refuse(name, *arguments, **more):
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return known(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"megalabel\[ray\]"):
        predict_parquet(Predictor(run), lake, tmp_path / "p")
    assert not (tmp_path / "p").exists()
