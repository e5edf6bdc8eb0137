"""Stores small models of this version in tests/data/v<version>, which later versions have to load.

    python scripts/store_models.py [NAME ...]

Each folder NAME has the run in NAME/run, as the command line left it, and NAME/expected.json with eight texts and
their labels and scores. Models are trained on the made-up data of tests/data/v0.1.0. What is there is replaced, so
the script runs before a release and never after it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import megalabel
from megalabel.cli.main import main as run

ROOT = Path(__file__).parents[1]
STORED = ROOT / "tests" / "data"
DATA = STORED / "v0.1.0" / "data"
COMMON = "--device cpu --threads 1 --quiet --seed 0"
NEURAL = (
    f"{COMMON} --encoder bag --tokenizer words --vocabulary 200 --bigram-min-count 0 --precision float32 "
    "--max-length 16 --batch-size 16 --epochs 4 --validation-fraction 0.2 --head-lr 0.02 --encoder-lr 0.002 "
    "--token-lr 0.02"
)
LINEAR = f"{COMMON} --vocabulary 400 --clusters 4 --trees 1"
BERT = NEURAL.replace(
    "--encoder bag --tokenizer words --vocabulary 200 --bigram-min-count 0", "--encoder tiny-bert"
)
# What is stored: the commands that make NAME/run, in order, as later ones read earlier ones.
COMMANDS = {
    "renee": [f"train renee data {NEURAL} --hidden-dim 0"],
    "cascadexml": [f"train cascadexml data {NEURAL} --hidden-dim 0 --clusters 4,8 --beams 3,5"],
    "spartex": [f"train spartex data {NEURAL} --hidden-dim 0 --fan-in 16 --weights float8"],
    "elmo": [f"train elmo data {NEURAL} --hidden-dim 0 --weights bfloat16"],
    "lightxml": [f"train lightxml data {BERT} --clusters 4 --last-layers 2"],
    "dexml": [f"train dexml data {NEURAL.replace('--head-lr 0.02 ', '')} --hidden-dim 0"],
    "linear": [f"train linear data {LINEAR} --validation-fraction 0.2"],
    "linear-int8": [f"train linear data {LINEAR} --weights int8"],
    "retrieval": [f"train retrieval data {COMMON} --vocabulary 400"],
    "hybrid": [f"train hybrid renee/run {LINEAR}"],
    "chunked": [f"train chunked renee/run data {COMMON.replace('--seed 0', '')} --chunk-words 4"],
    "ensemble": ["ensemble renee/run linear/run --data data --device cpu --out ensemble/run"],
    "relabeled": ["labels linear/run --rename {0}=renamed --remove {1} -o relabeled/run"],
    "indexed": [f"train renee data {NEURAL} --hidden-dim 0", "index indexed/run --kind tree --recall 0.5"],
}
KEPT = 8, 5  # texts and labels in expected.json
LEFT_OUT = ("log.jsonl", "metrics.json", "held_out.npy")


def store(name: str, folder: Path) -> None:
    """Runs the commands of a model in `folder` and stores its answers."""
    os.chdir(folder)  # so that runs are named relative to it in what they store
    labels = (DATA / "Y.txt").read_text(encoding="utf-8").splitlines()
    for command in COMMANDS[name]:
        arguments = command.format(*labels[:2]).split(" ")
        if arguments[0] == "train":
            arguments += ["--out", f"{name}/run"]
        sys.argv = ["megalabel", *filter(None, arguments)]
        try:
            run()
        except SystemExit as stop:
            if stop.code:
                raise
    for left in LEFT_OUT:
        (folder / name / "run" / left).unlink(missing_ok=True)
    recorded = folder / name / "run" / "recipe.json"  # without the path of this machine
    recorded.write_text(recorded.read_text(encoding="utf-8").replace(f"{folder}/", ""), encoding="utf-8")
    texts = (DATA / "tst_X.txt").read_text(encoding="utf-8").splitlines()[: KEPT[0]]
    ids, scores = megalabel.load(folder / name / "run").topk(texts, KEPT[1]).numpy()
    rows = [[None if score == -float("inf") else float(score) for score in row] for row in scores]
    expected = {"texts": texts, "k": KEPT[1], "labels": ids.tolist(), "scores": rows}
    (folder / name / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    folder, names = STORED / f"v{megalabel.__version__}", sys.argv[1:] or list(COMMANDS)
    shutil.copytree(DATA, folder / "data", ignore=shutil.ignore_patterns("tokens"))
    shutil.copytree(STORED / "v0.1.0" / "tiny-bert", folder / "tiny-bert")
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        store(name, folder)
        print(name, sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file()), "bytes")
    for inner in ("data", "tiny-bert"):
        shutil.rmtree(folder / inner)


if __name__ == "__main__":
    main()
