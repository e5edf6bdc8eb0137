"""What few connections a label cost in accuracy and save in time and memory, beside the dense head.

    python benchmarks/fan_in.py DATA/wordnet DATA/metamath

The dense head is the committed preset of `renee` for the bag; every other line is that of `spartex` for the
same set and encoder, with one knob turned: `fan_in`, and at F = 64 the connections themselves: drawn at random
and left so ("random"), drawn at random and a fifth of them exchanged by gradient every so often ("rewired"),
chosen by the texts of each label before the first step ("by texts", the preset), and that for groups of 32
neighbors in the label tree that share them; three seeds each. Each run is a process of its own.
Seconds are of the whole process, the CPU's the fairer ones where something else is running; "head MB" are the
head's weights, inputs and what its optimizer keeps.

Expected before the first run: with 64 of 256 inputs 28% of the dense head's memory (584 bytes a label against
2056, both with momentum), the head's time a little more than the quarter that its operations are, P@1 within a
point and a half of the dense head's, and PSP@5 further below it, as the rare labels have the fewest texts to
find good inputs by.
"""

from __future__ import annotations

import argparse
import statistics

from quality import set_name, trained
from record import row

COLUMNS = ("P@1", "P@5", "PSP@1", "PSP@5", "train s", "train CPU s", "peak MB", "head MB")
FAN_INS = (16, 32, 64, 128)
SEEDS = (0, 1, 2)
REWIRED = ["--prune", "fraction", "--prune-fraction", "0.2", "--rewire-every", "80", "--regrow", "gradient"]
WAYS = {
    "random": ["--init-connections", "random", "--prune", "none"],
    "rewired": ["--init-connections", "random", *REWIRED],
    "by texts": ["--init-connections", "texts", "--prune", "none"],
    "by texts, shared by 32": ["--init-connections", "texts", "--prune", "none", "--group", "32"],
}


def measure(data: str, name: str, recipe: str, options: list[str], seeds: tuple[int, ...]) -> None:
    """One line: means over the seeds, and the standard deviation of the scores where there are several."""
    found = [trained(data, recipe, [*options, "--encoder", "bag", "--seed", str(seed)]) for seed in seeds]
    for metric in COLUMNS:
        values = [figures[metric] for figures in found]
        unit = "%" if "@" in metric else metric.split()[-1]
        row("fan_in", f"{set_name(data)} {name}", metric, statistics.mean(values), unit)
        if len(values) > 1 and "@" in metric:
            row("fan_in", f"{set_name(data)} {name}", f"{metric} ±", statistics.stdev(values), unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--epochs", type=int, help="of every run but the dense head's; default: the presets'")
    parser.add_argument("--way", nargs="+", default=list(WAYS), help="which ways to connect")
    parser.add_argument("--only", nargs="+", default=["dense", "fan-ins", "ways"], help="parts to measure")
    options = parser.parse_args()
    short = ["--epochs", str(options.epochs)] if options.epochs else []
    told = f", {options.epochs} epochs" if options.epochs else ""
    for data in options.data:
        if "dense" in options.only:
            measure(data, "dense", "renee", [], SEEDS[:1])
        if "fan-ins" in options.only:
            for fan_in in FAN_INS:
                measure(data, f"F={fan_in}{told}", "spartex", ["--fan-in", str(fan_in), *short], SEEDS[:1])
        if "ways" in options.only:
            for name in options.way:
                measure(data, f"F=64 {name}, {len(SEEDS)} seeds{told}", "spartex", [*WAYS[name], *short], SEEDS)


if __name__ == "__main__":
    main()
