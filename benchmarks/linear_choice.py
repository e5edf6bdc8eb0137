"""What `linear` chooses from the data without a preset, and what that is worth.

    python benchmarks/linear_choice.py sets DATA/wordnet-4k DATA/gutenberg-4k
    python benchmarks/linear_choice.py sorted DATA/gutenberg-4k
    python benchmarks/linear_choice.py shapes [NAME ...]

- `sets`: scores on the test side and CPU seconds of the choice and of the whole training, on one thread unless
  --threads is given, without compiling or loading kernels (by a training on 500 texts) and reading the data.
- `sorted`: the words of every text in alphabetical order, so that neighbors mean nothing: the choice beside the
  same recipe with `bigrams = "no"`.
- `shapes`: synthetic data (`shapes.py`): the choice beside fixed members; "below" is the distance to the best
  member in points of P@1 on 5,000 texts (500 of those of 5,000 words).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import record  # first, as it decides how threads wait
import torch
from chosen_tail import at_chosen_tail
from shapes import SHAPES
from shapes import corpus as shaped

import megalabel
from megalabel.data.corpus import Corpus, Split
from megalabel.data.texts import Texts
from megalabel.metrics.table import METRICS
from megalabel.recipes import get

WARM_UP = 500  # texts
PLAIN: dict[str, Any] = {
    "token_pattern": "letters", "bigrams": "yes", "bigram_weight": 1.0, "char_ngrams": "no", "c": 1.0
}  # fmt: skip
MEMBERS: dict[str, dict[str, Any]] = {
    "words": {**PLAIN, "bigrams": "no"},
    "bigrams": PLAIN,
    "parts of words": {**PLAIN, "bigrams": "no", "char_ngrams": "yes"},
    "both": {**PLAIN, "char_ngrams": "yes"},
    "both, c = 4": {**PLAIN, "char_ngrams": "yes", "c": 4.0},
    "signs": {**PLAIN, "token_pattern": "signs"},
}


def run(data: Corpus, **options: Any) -> dict[str, Any]:
    """Trains and measures: scores, CPU seconds, and what was chosen."""
    lines: list[tuple[float, str]] = []
    start = time.process_time()
    recipe = get("linear")(data, **options)
    model = recipe.solve(lambda line: lines.append((time.process_time() - start, line)))
    seconds = time.process_time() - start
    # Making the final features begins with the line that ends the choice.
    choice = max((at for at, line in lines if "held-out nDCG@5" in line), default=0.0)
    scores = megalabel.evaluate(model, data)
    return {
        **{metric: scores[metric] for metric in METRICS},
        **at_chosen_tail(model, data),
        "choice CPU s": choice,
        "train CPU s": seconds,
        "chosen": model.chosen or {},
        "lines": [line for _, line in lines],
    }


def warm_up(data: Corpus) -> None:
    cut = Split(data.train.texts[:WARM_UP], data.train.labels[:WARM_UP])
    get("linear")(replace(data, train=cut)).solve(lambda line: None)


def told(chosen: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in chosen.items())


def sets(folders: list[str], seed: int) -> None:
    for folder in folders:
        data = Corpus.open(folder)
        warm_up(data)
        found = run(data, seed=seed)
        print("\n".join(f"  {line}" for line in found.pop("lines")))
        chosen = told(found.pop("chosen"))
        name = Path(folder).name
        print(name, ", ".join(f"{key} {value:.2f}" for key, value in found.items()), "|", chosen, flush=True)
        for key, value in found.items():
            record.row("linear_choice", f"{name} seed {seed}", key, value, "s" if key.endswith(" s") else "%")
        record.row("linear_choice", f"{name} seed {seed}", "chosen", chosen, "")


def in_order(folder: str, seed: int) -> None:
    """The choice and no bigrams, on texts with their words sorted."""
    data = Corpus.open(folder)

    def of(split: Split) -> Split:
        return replace(split, texts=Texts.from_strings(" ".join(sorted(text.split())) for text in split.texts))

    data = replace(data, train=of(data.train), test=of(data.test))
    for name, options in {"chosen": {}, "without bigrams": {"bigrams": "no"}, "with": {"bigrams": "yes"}}.items():
        found = run(data, seed=seed, **options)
        row = ", ".join(f"{metric} {found[metric]:.2f}" for metric in METRICS)
        print(name, row, "|", told(found["chosen"]), flush=True)
        for metric in METRICS:
            record.row("linear_choice", f"sorted {Path(folder).name} {name}", metric, found[metric], "%")


def shapes(names: list[str], seed: int) -> None:
    worst = 0.0
    for name in names or SHAPES:
        data = shaped(name, seed)
        chosen = run(data, seed=seed)
        members = {member: run(data, seed=seed, **options)["P@1"] for member, options in MEMBERS.items()}
        below = max(members.values()) - chosen["P@1"]
        worst = max(worst, below)
        row = ", ".join(f"{member} {value:.2f}" for member, value in members.items())
        print(
            f"{name}: chosen {chosen['P@1']:.2f}, below {below:+.2f} ({row}) | {told(chosen['chosen'])}",
            flush=True,
        )
        record.row("linear_choice", f"shape {name} seed {seed}", "chosen P@1", chosen["P@1"], "%")
        record.row("linear_choice", f"shape {name} seed {seed}", "below the best member", below, "%")
    print(f"largest distance below the best member: {worst:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("sets", "sorted", "shapes"))
    parser.add_argument("names", nargs="*", help="folders of data sets, or names of shapes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.job == "sets":
        sets(arguments.names, arguments.seed)
    elif arguments.job == "sorted":
        in_order(arguments.names[0], arguments.seed)
    else:
        shapes(arguments.names, arguments.seed)
