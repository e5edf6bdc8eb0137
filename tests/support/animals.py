"""A data set of 120 training and 30 test texts over 8 animals, with two words per text that imply the label."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = {
    "cat": ("purr", "whisker"),
    "dog": ("bark", "leash"),
    "fish": ("fin", "gill"),
    "bird": ("wing", "nest"),
    "horse": ("hoof", "mane"),
    "cow": ("milk", "udder"),
    "ant": ("colony", "antenna"),
    "bee": ("hive", "honey"),
}


def animals(folder: Path) -> Path:
    """Writes train.jsonl and test.jsonl; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, n, seed in (("train", 120, 1), ("test", 30, 2)):
        chance = random.Random(seed)
        with open(folder / f"{side}.jsonl", "w") as file:
            for i in range(n):
                label = list(WORDS)[i % 8] if side == "train" else chance.choice(list(WORDS))
                text = " ".join(chance.sample(WORDS[label], 2))
                file.write(json.dumps({"text": text, "labels": [label]}) + "\n")
    return folder
