"""Looks at label names: those that differ in nothing but their writing, and those that are only numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData


def note_label_names(data: CorpusData, findings: Findings, where: str) -> None:
    """Notes label names that are nearly equal, and label texts that say nothing."""
    names = data.label_texts
    pairs = near_equal(names)
    if pairs:
        a, b = pairs[0]
        findings.note(
            "near-equal",
            where,
            f"labels {a} and {b} ({names[a]!r} and {names[b]!r}) differ only in "
            f"{_difference(names[a], names[b])}; they are two labels",
            count=len(pairs),
            notable=True,
        )
    if data.train.features is None and data.label_texts_are_numbers:
        findings.note(
            "numbers",
            where,
            f"the label texts are only numbers (such as {names[0]!r}), so they are not used as texts to train on",
            severity="info",
            notable=True,
        )


def note_unseen_names(data: CorpusData, findings: Findings) -> None:
    """Notes test labels without a column that are those of training in another writing, or several in one."""
    unseen = None if data.test is None else data.test.unseen
    if unseen is None or not len(unseen):
        return
    keys = {_key(name): name for name in data.label_texts}
    for name in unseen.names:
        where = "test"
        if (known := keys.get(_key(name))) is not None and name.strip():
            message = f"test label {name!r} is not in the training data, which has {known!r}; it has no column"
            findings.note("unseen-near", where, message, notable=True)
            continue
        for separator in "|;,":
            parts = [_key(part) for part in name.split(separator)]
            if len(parts) > 1 and all(part in keys for part in parts):
                message = (
                    f"test label {name!r} has no column, but its parts between `{separator}` are labels of the "
                    "training data; write several labels as the training data do"
                )
                findings.note("unseen-parts", where, message, notable=True)


def near_equal(names: Texts) -> list[tuple[int, int]]:
    """Pairs of labels whose names differ, but not in letters and digits: the first of its kind and a later one."""
    hashes = np.fromiter((hash(_key(name)) for name in names), dtype=np.int64, count=len(names))
    order = np.argsort(hashes, kind="stable")
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = hashes[order][1:] != hashes[order][:-1]
    starts = np.flatnonzero(begins)
    sizes = np.diff(starts, append=len(order))
    pairs = []
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        first = int(order[start])
        written, key = {names[first]}, _key(names[first])
        for other in order[start + 1 : start + size].tolist():
            name = names[other]
            if name not in written and _key(name) == key and key:
                written.add(name)
                pairs.append((first, other))
    return sorted(pairs)


def _key(name: str) -> str:
    """The name without what people do not see as a difference."""
    if not name.isascii():
        name = "".join(_visible(unicodedata.normalize("NFKC", name)))
    return " ".join(name.casefold().split())


def _visible(name: str) -> Iterator[str]:
    return (sign for sign in name if unicodedata.category(sign) != "Cf")


def _difference(a: str, b: str) -> str:
    if " ".join(a.split()) == " ".join(b.split()):
        return "blanks"
    if unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b):
        return "their Unicode form"
    if a.lower() == b.lower():
        return "upper and lower case"
    return "case, blanks, invisible characters or Unicode form"
