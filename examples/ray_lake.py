"""Predictions over many Parquet files with Ray Data, which go on after they were stopped.

    pip install "megalabel[ray]"
    python examples/ray_lake.py [FOLDER]

Trains `linear` on the bundled WordNet data set, writes its test texts as a lake of Parquet files, and predicts for
them with two actors. Called a second time, it computes nothing, since all parts are there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import megalabel
from megalabel.inference.predictor import Predictor
from megalabel.integrations.ray import predict_parquet
from megalabel.recipes import from_preset

FILES = 4


def write_lake(corpus: megalabel.Corpus, folder: Path) -> None:
    """The test texts with their numbers, in a few files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = list(corpus.test.texts)
    size = -(-len(texts) // FILES)
    for i in range(FILES):
        rows = range(i * size, min((i + 1) * size, len(texts)))
        table = pa.table({"id": list(rows), "text": [texts[row] for row in rows]})
        pq.write_table(table, folder / f"{i}.parquet", row_group_size=200)


def main(folder: str) -> None:
    corpus, place = megalabel.Corpus.bundled("wordnet-4k"), Path(folder)
    if not (place / "run" / "model").exists():
        megalabel.train(from_preset("linear", corpus), out=place / "run", quiet=True)
        write_lake(corpus, place / "lake")
    predictor = Predictor(place / "run", k=3, keep=["id"])
    n = predict_parquet(predictor, place / "lake", place / "answers", actors=2, part_size=400)
    print(f"{n:,} texts")
    for row in pq.read_table(sorted((place / "answers").glob("part-*"))[0]).slice(0, 3).to_pylist():
        print(row["id"], list(zip(row["labels"], row["scores"], strict=True)))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/ray-lake")
