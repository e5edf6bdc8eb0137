"""The names of the labels in a model's folder: labels.jsonl, a JSON string per line."""

from __future__ import annotations

import json
from pathlib import Path

from megalabel.data.texts import Texts
from megalabel.errors import RESTORE_FOLDER
from megalabel.storage.files import json_bytes
from megalabel.storage.reading import reading

NAMES = "labels.jsonl"


def save_names(folder: Path, names: Texts) -> None:
    """Writes the names of the labels."""
    with open(folder / NAMES, "wb") as file:
        file.writelines(json_bytes(name) + b"\n" for name in names)


def load_names(folder: Path) -> Texts:
    """Reads what `save_names` wrote; FormatError if it is damaged."""
    with reading(folder, wanted="a JSON string per line", next_step=RESTORE_FOLDER):
        lines = (folder / NAMES).read_text(encoding="utf-8").split("\n")
        return Texts.from_strings(json.loads(line) for line in lines if line)
