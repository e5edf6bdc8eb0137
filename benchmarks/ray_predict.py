"""Prediction over a lake of Parquet files with Ray Data: rate against a plain loop, private memory, and many rows.

    python benchmarks/ray_predict.py rate --labels 20000 --dim 128 --parts 4 --rounds 3
    python benchmarks/ray_predict.py memory --labels 500000 --dim 512
    python benchmarks/ray_predict.py flat --rows 1000000

`rate`: one actor and, in a process of its own, a plain loop over `write_lake_part` with the same parts take turns
in changing order, with one thread and the niceness of Ray's actors each: at the same time, the driver, the actor
and the loop would compete for two cores. The rate is that between the first and the last part; the ratio is the
median over the rounds. `memory`: private memory (USS) and the share of all memory (PSS) of one actor, and then of
four, each of which has ranked texts over all labels. `flat`: the largest private memory of the actor and of the
driver in each fifth of the time. Models have random weights.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = [f"w{i}" for i in range(2000)]
ACTOR = "ray::MapWorker"  # how the processes of Ray Data's actors are called
RAY_NICENESS = int(os.environ.get("RAY_worker_niceness", "15"))  # of Ray's actors, and here also of the loop
MB = 1e6


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["rate", "memory", "flat"])
    parser.add_argument("--labels", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--part-size", type=int, default=65_536)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.loop:
        plain_loop(Path(options.loop), options.part_size)
        return
    import ray

    with tempfile.TemporaryDirectory(prefix="ray_predict-") as folder:
        ray.init(num_cpus=4, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
        size, found = {"rate": rate, "memory": memory, "flat": flat}[options.what](options, Path(folder))
        ray.shutdown()
    print(size, *(f"{name:44} {value:12.4g} {unit}" for name, (value, unit) in found.items()), sep="\n")
    if not options.no_record:
        import record

        for name, (value, unit) in found.items():
            record.row("ray_predict", f"{size} ray={ray.__version__}", name, float(value), unit)


def rate(options: argparse.Namespace, folder: Path) -> tuple[str, dict[str, tuple[float, str]]]:
    """Rows per second of an actor and of a plain loop, in turn."""
    n = options.parts * options.part_size
    predictor = prepared(folder, options.labels, options.dim, n, options.part_size)
    rates = np.zeros((options.rounds, 2))
    for i in range(options.rounds):
        for name in ("answers", "loop"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("answers", "loop") if i % 2 == 0 else ("loop", "answers"):
            if name == "answers":
                predict(predictor, folder, name, 1, options.part_size)
            else:
                subprocess.run([sys.executable, __file__, *sys.argv[1:], "--loop", str(folder)], check=True)
        rates[i] = [between_parts(folder / name, options.part_size) for name in ("answers", "loop")]
        print("rows/s of the actor and of the loop:", *rates[i].round(), flush=True)
    tables = [
        pa.concat_tables(map(pq.read_table, sorted((folder / n).glob("part-*")))) for n in ("answers", "loop")
    ]
    ratios = rates[:, 0] / rates[:, 1]
    size = f"L={options.labels} D={options.dim} rows={n} part={options.part_size} rounds={len(rates)} threads=1"
    return size, {
        "plain loop: rate": (float(np.median(rates[:, 1])), "rows/s"),
        "one actor: rate": (float(np.median(rates[:, 0])), "rows/s"),
        "one actor: ratio": (float(np.median(ratios)), "of plain loop"),
        "one actor: smallest ratio": (float(ratios.min()), "of plain loop"),
        "one actor: answers equal": (float(tables[0].equals(tables[1])), "1 = yes"),
    }


def memory(options: argparse.Namespace, folder: Path) -> tuple[str, dict[str, tuple[float, str]]]:
    """Private memory of one actor, and of four."""
    import ray

    predictor = prepared(folder, options.labels, options.dim, 8, 8)
    found: dict[str, tuple[float, str]] = {}
    sums: dict[int, np.ndarray] = {}
    for n in (1, 4):
        actors = [ray.remote(num_cpus=1)(Holder).remote(predictor) for _ in range(n)]
        ray.get([actor.predict.remote() for actor in actors])
        each = np.array(ray.get([actor.sizes.remote() for actor in actors])) / MB
        for actor in actors:
            ray.kill(actor)
        sums[n], word = each.sum(axis=0), "one actor" if n == 1 else "four actors"
        found |= {f"{word}: sum of USS": (sums[n][0], "MB"), f"{word}: sum of PSS": (sums[n][1], "MB")}
    found["four actors: ratio of USS"] = (sums[4][0] / sums[1][0], "of one actor")
    found["four actors: ratio of PSS"] = (sums[4][1] / sums[1][1], "of one actor")
    found["one actor: weights"] = (4 * options.labels * options.dim / MB, "MB")
    return f"L={options.labels} D={options.dim} threads=1", found


class Holder:
    """An actor that predicts, and then says how much memory it takes."""

    def __init__(self, predictor) -> None:
        self.predictor = predictor

    def predict(self) -> None:
        """Ranks a few texts over all labels."""
        self.predictor({"text": [" ".join(WORDS[i : i + 8]) for i in range(16)]})

    def sizes(self) -> tuple[float, float]:
        """USS and PSS of this process in bytes."""
        found = psutil.Process().memory_full_info()
        return float(found.uss), float(found.pss)


def flat(options: argparse.Namespace, folder: Path) -> tuple[str, dict[str, tuple[float, str]]]:
    """The largest private memory of the actor and the driver in each fifth of the time."""
    predictor = prepared(folder, 1000, 32, options.rows, 50_000)
    with Watch() as watch:
        predict(predictor, folder, "answers", 1, 50_000)
    times = sorted(path.stat().st_mtime for path in (folder / "answers").glob("part-*"))
    found: dict[str, tuple[float, str]] = {}
    edges = np.linspace(times[0], times[-1], 6)
    for i in range(5):
        inside = [k for k, at in enumerate(watch.times) if edges[i] <= at <= edges[i + 1] and watch.samples[k]]
        if inside:
            found[f"fifth {i + 1}: USS of the actor"] = (max(watch.samples[k][0][0] for k in inside) / MB, "MB")
            found[f"fifth {i + 1}: USS of the driver"] = (max(watch.driver[k] for k in inside) / MB, "MB")
    found["rows"] = (float(sum(pq.read_metadata(p).num_rows for p in (folder / "answers").glob("part-*"))), "rows")
    return f"rows={options.rows} L=1000 D=32 threads=1", found


def prepared(folder: Path, n_labels: int, dim: int, n_rows: int, group: int):
    """A predictor over random weights, and a lake of rows with row groups of this size in `folder`."""
    import torch

    from megalabel.data.texts import Texts
    from megalabel.encoders.bag import Bag
    from megalabel.heads.dense import DenseHead
    from megalabel.inference.predictor import Predictor
    from megalabel.inputs.tokenizer import learn_tokenizer
    from megalabel.models.neural import NeuralClassifier

    torch.manual_seed(0)
    encoder = Bag(learn_tokenizer([" ".join(WORDS)], 4000), dim=dim, hidden_dim=0)
    head = DenseHead(n_labels, dim, init_std=0.0)
    with torch.no_grad():
        head.weight[:, : dim // 8].uniform_(-1, 1)
    NeuralClassifier(encoder.eval(), head.eval(), Texts.numbers(n_labels), 64).save(folder / "run")
    rng, schema = np.random.default_rng(0), pa.schema([("id", pa.int64()), ("text", pa.string())])
    (folder / "lake").mkdir()
    with pq.ParquetWriter(folder / "lake" / "0.parquet", schema) as writer:
        for start in range(0, n_rows, group):
            ids = np.arange(start, min(start + group, n_rows))
            words = rng.integers(0, len(WORDS), (len(ids), 8)).tolist()
            texts = [" ".join(WORDS[word] for word in row) for row in words]
            writer.write_table(pa.table({"id": ids, "text": texts}, schema), row_group_size=group)
    return Predictor(folder / "run", k=5)


def predict(predictor, folder: Path, out: str, actors: int, part_size: int) -> None:
    """Runs the function that is measured."""
    from megalabel.integrations.ray import predict_parquet

    predict_parquet(predictor, folder / "lake", folder / out, actors=actors, part_size=part_size)


def plain_loop(folder: Path, part_size: int) -> None:
    """Writes the same parts one after the other in this process."""
    import torch

    from megalabel.inference.lake import lake_parts, parquet_files, write_lake_part
    from megalabel.inference.predictor import Predictor

    torch.set_num_threads(1)
    os.nice(RAY_NICENESS - os.nice(0))
    (folder / "loop").mkdir()
    parts, _ = lake_parts(parquet_files(folder / "lake"), ["text"], part_size)
    predictor = Predictor(folder / "run", k=5)
    predictor({"text": WORDS[:8]})
    for i, part in enumerate(parts):
        write_lake_part(predictor, part, folder / "loop" / f"part-{i:06}.parquet")


def between_parts(folder: Path, part_size: int) -> float:
    """Rows per second between the first part and the last."""
    times = sorted(path.stat().st_mtime for path in folder.glob("part-*"))
    return part_size * (len(times) - 1) / (times[-1] - times[0])


class Watch:
    """Samples the memory of the actors (USS and PSS of each) and of this process (USS), once a second."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.samples: list[list[tuple[float, float]]] = []
        self.driver: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(1.0):
            found = []
            for process in psutil.Process().children(recursive=True):
                try:
                    if (process.cmdline() or [""])[0].startswith(ACTOR):
                        sizes = process.memory_full_info()
                        found.append((float(sizes.uss), float(sizes.pss)))
                except psutil.Error:
                    continue
            self.times.append(time.time())
            self.samples.append(found)
            self.driver.append(float(psutil.Process().memory_full_info().uss))


if __name__ == "__main__":
    main()
