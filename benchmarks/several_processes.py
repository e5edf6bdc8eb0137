"""Trains recipes on wordnet-4k by 1, 2, 3 and 4 processes of torchrun, and compares their weights and rankings.

    python benchmarks/several_processes.py [renee spartex cascadexml]

The data set is cut to 4,027 labels, a prime number, so that processes have different numbers of labels. All train
one epoch of the bag in float32 without dropout, with the preset for any data set. "largest difference" is
the largest one of any weight from that of one process, divided by the largest weight of its tensor; "top 5" is the
percentage of the test texts whose five labels are the same in the same order.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from record import row
from safetensors.numpy import load_file

import megalabel

LABELS = 4027
COMMON = ["--encoder", "bag", "--epochs", "1", "--precision", "float32", "--validation-fraction", "0", "--quiet",
    "--token-dropout", "0",
]  # fmt: skip
OPTIONS = {
    "renee": ["--dropout", "0"],
    "spartex": ["--dropout", "0"],
    "cascadexml": ["--level-dropout", "0,0,0", "--clusters", "64,512"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        _cut(data)
        for recipe in sys.argv[1:] or list(OPTIONS):
            alone = None
            for n in (1, 2, 3, 4):
                found = _trained(recipe, data, Path(scratch) / f"{recipe}-{n}", n)
                alone = alone or found
                size = f"{recipe} L={LABELS} W={n}"
                difference = max(
                    float(np.abs(found[0][name] - value).max() / max(np.abs(value).max(), 1e-30))
                    for name, value in alone[0].items()
                    if value.size and value.dtype.kind == "f"
                )
                same = 100 * float((found[1] == alone[1]).all(axis=1).mean())
                print(f"{size}: largest difference {difference:.2e}, top 5 {same:.2f}%", flush=True)
                row("several_processes", size, "largest difference", difference, "")
                row("several_processes", size, "top 5", same, "%")


def _cut(folder: Path) -> None:
    """Writes wordnet-4k without its last labels, and without the texts that have no other."""
    whole = megalabel.Corpus.bundled("wordnet-4k")
    folder.mkdir()
    with open(folder / "lbl.json", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"title": text}) + "\n" for text in list(whole.label_texts)[:LABELS])
    for name, split in (("trn", whole.train), ("tst", whole.test)):
        labels = split.labels[:, :LABELS].tocsr()
        with open(folder / f"{name}.json", "w", encoding="utf-8") as file:
            for i in np.flatnonzero(np.diff(labels.indptr)):
                text = {"title": split.texts[int(i)], "content": "", "target_ind": labels[i].indices.tolist()}
                file.write(json.dumps(text) + "\n")


def _trained(recipe: str, data: Path, out: Path, n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The weights of a run of n processes, and its five best labels of each test text."""
    start = ["torchrun", "--standalone", "--nproc-per-node", str(n)] if n > 1 else [sys.executable]
    if n > 1:
        start[0] = str(Path(sys.executable).with_name("torchrun"))
    command = [*start, "-m", "megalabel", "train", recipe, str(data), "--out", str(out), "--threads", "1"]
    subprocess.run([*command, *COMMON, *OPTIONS[recipe]], check=True)
    weights = {
        f"{name} {key}": value
        for name in ("encoder", "head")
        for key, value in load_file(out / "model" / f"{name}.safetensors").items()
    }
    model = megalabel.load(out)
    return weights, model.topk(megalabel.Corpus.open(data).test.texts, 5).numpy()[0]


if __name__ == "__main__":
    main()
