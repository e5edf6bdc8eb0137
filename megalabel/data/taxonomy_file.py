"""The plain file of a taxonomy: lines of a parent, a tab and a child, each the name or the URI of a label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.label_lookup import labels_named, some
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.text_lines import lines
from megalabel.errors import DataError, SettingError, line_of


def read_taxonomy(
    file: Path, names: Sequence[str], known: LabelMetadata | None, findings: Findings, *, beside: bool = False
) -> Taxonomy | None:
    """The taxonomy in a file of pairs; None where the file is empty.

    A name that is no label stands for a broader label that is not predicted: its parents become those of its
    children, and it is noted.

    Args:
        file: the file.
        names, known: the names of the labels, and what else is known of them.
        findings: learns of names that are no labels.
        beside: whether the file only lies beside the data, which may have few of the labels or none: None then.

    Raises:
        DataError: a line is no pair, no name is that of a label, several labels have a name, or there is a cycle.
    """
    pairs = list(_pairs(file, findings))
    if not pairs:
        findings.note("no-taxonomy", file, "an empty file: labels have no broader labels", severity="info")
        return None
    return taxonomy_of(pairs, names, known, file, findings, beside=beside)


def taxonomy_of(
    pairs: Sequence[tuple[str, str]],
    names: Sequence[str],
    known: LabelMetadata | None,
    file: str | Path,
    findings: Findings,
    *,
    beside: bool = False,
) -> Taxonomy | None:
    """The taxonomy of pairs of a parent and a child, names or URIs; as `read_taxonomy`, which reads them."""
    wanted = {text for pair in pairs for text in pair}
    try:
        found = labels_named(names, known, wanted)
    except SettingError as error:
        raise DataError(error.found, wanted=error.wanted, next_step=error.next_step, where=file) from error
    several = sorted(text for text, labels in found.items() if len(labels) > 1)
    if several:
        raise DataError(
            f"several labels are called {several[0]!r:.80}", wanted="one label",
            next_step="name labels by their URIs, or make the names differ", where=file,
        )  # fmt: skip
    if not found:
        nothing = DataError(
            f"no name ({some(sorted(wanted))}) is that of a label ({some(names)})",
            wanted="pairs of labels, by name or URI",
            where=file,
        )
        if not beside:
            raise nothing
        findings.note("taxonomy-other", file, f"{nothing.found}; it is not used")
        return None
    return _bridged(pairs, {text: labels[0] for text, labels in found.items()}, names, file, findings)


def _pairs(file: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    for number, line in lines(file, findings):
        if not line.strip():
            findings.note("blank-line", file, "blank line, ignored", line=number)
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 2 or not all(cells):
            error = DataError(
                f"{line[:80]!r}",
                wanted="a parent, one tab and a child, by name or URI",
                where=line_of(file, number),
            )
            findings.error("taxonomy-line", file, error)
            continue
        yield cells[0], cells[1]


def _bridged(
    pairs: Sequence[tuple[str, str]],
    found: dict[str, int],
    names: Sequence[str],
    file: str | Path,
    findings: Findings,
) -> Taxonomy:
    """The taxonomy over the labels of one that also has names that are no labels."""
    others: dict[str, int] = {}
    for text in (text for pair in pairs for text in pair):
        if text not in found:
            others.setdefault(text, len(names) + len(others))
    at = found | others
    parents, children = np.array([[at[text] for text in pair] for pair in pairs], np.int64).T
    whole = Taxonomy.of(parents, children, [*names, *others], file, "remove one of these lines")
    if not others:
        return whole
    findings.note(
        "taxonomy-names", file,
        f"{next(iter(others))!r} is no label; parents of such names become the parents of their children",
        count=len(others), notable=True,
    )  # fmt: skip
    target = np.append(np.arange(len(names)), np.full(len(others), -1))
    return whole.relabeled(target, names)
