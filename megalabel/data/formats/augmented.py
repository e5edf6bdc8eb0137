"""Renée's folder `NAME-Aug`: tokens of texts and label texts in `.dat` files, and labels of both.

The tokens are those of one tokenizer, and no text can be made of them. Its rows are those of the folder NAME and
one row per label, whose text is the label's; the recipes add these rows by themselves. So the folder NAME beside
it is read instead; without it the data set is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats import raw
from megalabel.data.formats.contract import Found, Source
from megalabel.data.text_lines import find_file
from megalabel.data.types import CorpusData
from megalabel.errors import DataError

_ADDED = "-Aug"


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None: labels without texts, with tokens in the folder or in one inside it."""
    labels = find_file(folder, "trn_X_Y.txt")
    if labels is None or any(find_file(folder, name) for name in ("trn_X.txt", "trn_X_Xf.txt")):
        return None
    if next(folder.glob("*.dat"), None) is None and next(folder.glob("*/*.dat"), None) is None:
        return None
    return Found(folder, labels, find_file(folder, "tst_X_Y.txt"))


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder without `-Aug` beside this one."""
    folder = source.folder.resolve()
    base = folder.with_name(folder.name[: -len(_ADDED)]) if folder.name.lower().endswith(_ADDED.lower()) else None
    train = None if base is None else find_file(base, "trn_X.txt")
    if base is None or train is None:
        there = "the folder without -Aug" if base is None else f"trn_X.txt in {base}"
        raise DataError(
            "the folder holds tokens (.dat) of one tokenizer and no texts",
            wanted=f"the texts they were made of: {there}",
            next_step="open the folder with trn_X.txt; the recipes add the label texts by themselves",
            where=source.folder,
        )
    message = (
        f"{base.name} is read instead: {folder.name} holds tokens of one tokenizer and no texts, and its rows of "
        "label texts are added in training (--label-texts)"
    )
    findings.note("taken-base", source.folder, message, severity="info")
    return raw.read(replace(source, folder=base, train=train, test=find_file(base, "tst_X.txt")), findings)
