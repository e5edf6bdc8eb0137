"""Accuracy, time and memory of heads with few connections per label, compared with the dense head.

    python benchmarks/fan_in.py DATA/wordnet DATA/metamath

The dense head is the committed preset of `renee` for the bag encoder; every other row is the preset of `spartex`
for the same data set and encoder with one option changed: `fan_in` or, at F = 64, the choice of connections:
random and fixed ("random"), random with a fifth regularly replaced by gradient ("rewired"), chosen by the texts of
each label before the first step ("by texts", the preset), and the same shared by groups of 32 neighbors in the
label tree; three seeds each. In "F=64 of 1,024" they are chosen from a linear layer after the encoder.
"bottleneck" is a dense head on a linear layer of the width at which both together have the multiply-adds of the
preset of `spartex`: what the same operations give without sparsity. Each run is a separate process. Seconds are
those of the whole process; CPU seconds are more reliable if other programs are running. "head MB" is the memory of
the head's weights, inputs and optimizer state.

Expected before the first run: with 64 of 256 inputs, 28% of the memory of the dense head (584 bytes per label
against 2056, both with momentum), slightly more than a quarter of its time, as it has a quarter of the operations,
P@1 within 1.5 points of the dense head, and a larger difference in PSP@5, as rare labels have the fewest texts for
choosing inputs.
"""

from __future__ import annotations

import argparse
import statistics

from data_sets import set_name
from quality import trained
from record import row

from megalabel.data.corpus import Corpus
from megalabel.recipes.find import get
from megalabel.recipes.presets import resolve

COLUMNS = ("P@1", "P@5", "PSP@1", "PSP@5", "train s", "train CPU s", "peak MB", "head MB")
FAN_INS = (16, 32, 64, 128)
SEEDS = (0, 1, 2)
WIDTH = 256  # of the bag's embedding
# These two were chosen on held-out training texts of a part of wordnet.
BOTTLENECK = ["--dropout", "0.2", "--epochs", "6", "--head-lr", "0.002"]
PROJECTED = ["--projection-dim", "1024", "--projection-lr", "0.002"]
REWIRED = ["--prune", "fraction", "--prune-fraction", "0.2", "--rewire-every", "80", "--regrow", "gradient"]
PARTS = ["dense", "bottleneck", "projected", "fan-ins", "ways"]
WAYS = {
    "random": ["--init-connections", "random", "--prune", "none"],
    "rewired": ["--init-connections", "random", *REWIRED],
    "by texts": ["--init-connections", "texts", "--prune", "none"],
    "by texts, shared by 32": ["--init-connections", "texts", "--prune", "none", "--group", "32"],
}


def measure(data: str, name: str, recipe: str, options: list[str], seeds: tuple[int, ...]) -> None:
    """Writes one row: means over the seeds, and the standard deviation of the scores for several seeds."""
    found = [trained(data, recipe, [*options, "--encoder", "bag", "--seed", str(seed)]) for seed in seeds]
    for metric in COLUMNS:
        values = [figures[metric] for figures in found]
        unit = "%" if "@" in metric else metric.split()[-1]
        row("fan_in", f"{set_name(data)} {name}", metric, statistics.mean(values), unit)
        if len(values) > 1 and "@" in metric:
            row("fan_in", f"{set_name(data)} {name}", f"{metric} ±", statistics.stdev(values), unit)


def bottleneck_width(data: str) -> int:
    """The width at which bottleneck and dense head have the multiply-adds of the preset of `spartex`.

    With L labels a text takes L·F of them in the sparse layer, and (L + D)·width with the bottleneck.
    """
    corpus = Corpus.open(data)
    fan_in = resolve(get("spartex"), corpus.name, {"encoder": "bag"}).options.fan_in
    return round(corpus.n_labels * fan_in / (corpus.n_labels + WIDTH))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--epochs", type=int, help="of the runs of spartex; default: the presets'")
    parser.add_argument("--way", nargs="+", default=list(WAYS), help="which ways to connect")
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="parts to measure")
    options = parser.parse_args()
    short = ["--epochs", str(options.epochs)] if options.epochs else []
    told = f", {options.epochs} epochs" if options.epochs else ""
    for data in options.data:
        if "dense" in options.only:
            measure(data, "dense", "renee", [], SEEDS[:1])
        if "bottleneck" in options.only:
            width = bottleneck_width(data)
            measure(data, f"bottleneck of {width}", "renee", ["--bottleneck", str(width), *BOTTLENECK], SEEDS[:1])
        if "projected" in options.only:
            measure(data, f"F=64 of 1,024{told}", "spartex", [*PROJECTED, *short], SEEDS[:1])
        if "fan-ins" in options.only:
            for fan_in in FAN_INS:
                measure(data, f"F={fan_in}{told}", "spartex", ["--fan-in", str(fan_in), *short], SEEDS[:1])
        if "ways" in options.only:
            for name in options.way:
                measure(data, f"F=64 {name}, {len(SEEDS)} seeds{told}", "spartex", [*WAYS[name], *short], SEEDS)


if __name__ == "__main__":
    main()
