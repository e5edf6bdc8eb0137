"""What the pages of the documentation take as given: a small data set `my-set`, runs on it, and files of texts."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

from support.page_shell import called

WORDS = {
    "cat": "purrs whiskers fur",
    "dog": "barks leash fetch",
    "sheep": "wool lamb flock",
    "ewe": "female wool lamb milk",
    "ram": "horns male wool",
    "horse": "hoof mane gallop",
    "an old name": "wool pasture grazing",
    "farm animal": "stable farm feed",
    "violin": "strings bow wood",
    "musical instrument": "music play sound",
    "an old label": "antique attic dust",
    "mammal": "warm blooded milk",
    "insect": "wings legs hive",
}
SETS = {
    "my-set": {"train": 160, "test": 24},
    "larger-set": {"train": 2000, "test": 24},
    "articles": {"train": 60, "test": 10},
}
METADATA = '{"label": "cat", "names": {"fi": "kissa"}, "parents": ["mammal"]}\n'
RUNS = {  # in this order, as a run may read an earlier one
    "linear": "train linear my-set",
    "renee": "train renee my-set --validation-fraction 0.05",
    "hybrid": "train hybrid renee",
    "dexml": "train dexml my-set --encoder bag",
    "half": "train renee larger-set --validation-fraction 0.5",
}


def write_set(folder: Path, n: dict[str, int]) -> None:
    """A data set of n texts per split, one or two labels per text; training texts have sources and weights."""
    chance = random.Random(0)
    folder.mkdir(parents=True)
    for side, count in n.items():
        with open(folder / f"{side}.jsonl", "w", encoding="utf-8") as file:
            for i in range(count):
                labels = (
                    sorted(set(chance.sample(list(WORDS), 2))) if i % 3 == 0 else [list(WORDS)[i % len(WORDS)]]
                )
                words = [word for label in labels for word in chance.sample(WORDS[label].split(), 2)]
                row: dict[str, object] = {"text": f"a thing with {' '.join(words)}", "labels": labels}
                if side == "train":
                    row |= {"source": chance.choice(["library", "web"]), "weight": chance.choice([1, 2])}
                file.write(json.dumps(row) + "\n")


class GivenFiles:
    """Files that are made when a page first asks for them; runs are trained once and then copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, what: str, place: Path) -> None:
        """Copies a data set, a run or a file of texts to a place, or writes a text after "=" there."""
        place.parent.mkdir(parents=True, exist_ok=True)
        if what.startswith("="):
            place.write_text(what[1:], encoding="utf-8")
            return
        found = self._made(what)
        if found.is_dir():
            shutil.copytree(found, place)
        else:
            shutil.copy(found, place)

    def _made(self, what: str) -> Path:
        """A data set or a run of this folder, with what it is trained on."""
        found = self.folder / what
        if found.exists():
            return found
        if what in SETS:
            write_set(found, SETS[what])
            if what == "larger-set":
                (found / "label_metadata.jsonl").write_text(METADATA, encoding="utf-8")
            return found
        words = RUNS[what].split()
        words[2] = str(self._made(words[2]))
        status, _, errors = called([*words, "--out", str(found)], b"")
        assert status == 0, errors
        return found
