"""A folder of predictions in numbered parts, which jobs that end early and several processes fill together.

Each part appears whole or not at all. `predictions.json` says of which model, input and options the parts are, so
that a job which goes on with the folder cannot mix two kinds of answers.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError, SettingError
from megalabel.models.find import find_model
from megalabel.storage.files import read_json, sha256, write_json
from megalabel.storage.manifest import NAME as MODEL_MANIFEST
from megalabel.storage.paths import as_path
from megalabel.version import __version__

NAME = "predictions.json"
FORMAT = 1
COMPARED = ("model", "input", "options")  # facts on which the content of parts depends
FORMATS = {"jsonl": ".jsonl", "jsonl.gz": ".jsonl.gz", "npz": ".npz", "parquet": ".parquet"}
WAIT = 0.2  # seconds between two looks for the parts of other processes
_DIGITS = 6
_PATTERN = re.compile(rf"part-(\d{{{_DIGITS},}})(\..+)")


class PartsFolder:
    """The folder of one job of prediction.

    Args:
        folder: where the parts are written; it may not exist yet, or hold parts of the same job.
        format: of the parts, a key of `FORMATS`.
        facts: what the answers depend on: mappings of plain values under "model", "input" and "options".

    Raises:
        SettingError: no path, or an unknown format.
    """

    def __init__(self, folder: str | Path, format: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        if format not in FORMATS:
            raise SettingError.choice("parts", format, FORMATS)
        self.folder, self.suffix = as_path(folder, "out"), FORMATS[format]
        self.facts = {key: {**facts[key]} for key in COMPARED}
        self.facts["options"]["parts"] = format

    def open(self) -> set[int]:
        """Prepares the folder for writing, and returns the numbers of the parts that it holds.

        What an earlier job left unfinished is removed. To be called by one process, which no other job disturbs.

        Raises:
            SettingError: the folder holds something else, or parts of another model, input or other options.
            FormatError: its `predictions.json` is damaged.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise SettingError(
                f"{self.folder} is a file",
                wanted="a folder for the parts",
                next_step="give another name with -o",
                where="out",
            )
        if (self.folder / NAME).exists():
            self.check()
        else:
            others = [path.name for path in self.folder.glob("*") if path.name != ".lock"]
            if others:
                raise SettingError(
                    f"{self.folder} holds something else than parts of predictions ({', '.join(others[:3])})",
                    wanted="a new folder, or one of the same job",
                    next_step="give another name with -o",
                    where="out",
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / NAME, {"format": FORMAT, "version": __version__, **self.facts})
        for left in self.folder.glob(".part-*.new-*"):
            left.unlink(missing_ok=True)
        return self.there()

    def check(self) -> None:
        """Raises SettingError unless the parts in the folder are those of this job; FormatError for damage."""
        found = self._described()
        for key in COMPARED:
            theirs = found.get(key)
            if theirs == self.facts[key]:
                continue
            theirs, ours = theirs if isinstance(theirs, dict) else {}, self.facts[key]
            name = next(n for n in {**ours, **theirs} if ours.get(n) != theirs.get(n))
            said = f"another {key}" if key != "options" else "other options"
            raise SettingError(
                f"the parts in {self.folder} are of {said} ({name} {_short(theirs.get(name))}, now "
                f"{_short(ours.get(name))})",
                wanted="the model, the input and the options of the parts that are there",
                next_step="give these, or another folder with -o",
                where="out",
            )

    def there(self) -> set[int]:
        """The numbers of the parts that are finished."""
        matches = (_PATTERN.fullmatch(name) for name in os.listdir(self.folder))
        return {int(match[1]) for match in matches if match is not None and match[2] == self.suffix}

    def finished(self) -> tuple[int, int] | None:
        """The numbers of texts and of parts where every part is there; None where some may be missing."""
        found = self._described().get("finished")
        texts, parts = (found.get("texts"), found.get("parts")) if isinstance(found, dict) else (None, None)
        if not isinstance(texts, int) or not isinstance(parts, int) or not self.there() >= set(range(parts)):
            return None
        return texts, parts

    def path(self, part: int) -> Path:
        """The file of a part."""
        return self.folder / f"part-{part:0{_DIGITS}}{self.suffix}"

    def wait_for(self, parts: Collection[int]) -> None:
        """Returns when all these parts are there, which other processes write."""
        while not self.there() >= set(parts):
            time.sleep(WAIT)

    def finish(self, n_texts: int, n_parts: int) -> None:
        """Records that all parts are there.

        Raises:
            FormatError: there are others, such as those of a larger input.
        """
        if self.there() != set(range(n_parts)):
            raise FormatError(
                f"{len(self.there()):,} parts", wanted=f"{n_parts:,}, numbered from 0", where=self.folder
            )
        finished = {"texts": n_texts, "parts": n_parts}
        write_json(
            self.folder / NAME, {"format": FORMAT, "version": __version__, **self.facts, "finished": finished}
        )

    def _described(self) -> dict[str, Any]:
        step = "give another folder with -o, or remove this one"
        found = read_json(self.folder / NAME, next_step=step)
        if found.get("format") != FORMAT:
            raise FormatError(
                f"parts of format {found.get('format')!r:.40}",
                wanted=f"format {FORMAT}",
                next_step=step,
                where=self.folder / NAME,
            )
        return found


def model_facts(run: str | Path) -> dict[str, Any]:
    """Which model lies in a run folder: its class, and the hash of its manifest, which has those of its files."""
    folder, manifest = find_model(run)
    return {"class": manifest.get("model"), "sha256": sha256(folder / MODEL_MANIFEST)}


def file_facts(path: str | Path) -> dict[str, Any]:
    """Which content a file has: its size in bytes and its hash. Reads the whole file."""
    return {"bytes": Path(path).stat().st_size, "sha256": sha256(path)}


def _short(value: Any) -> str:
    text = "not there" if value is None else f"{value}"
    return text if len(text) <= 12 else f"{text[:12]}…"
