"""What the header of a table shows: the separator of its cells, and the columns of texts and labels."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.read_options import ReadOptions
from megalabel.errors import DataError, line_of

MARKS = (",", ";", "\t", "|")
LABEL = "label"  # the column of a data set with one label per text
_SHOWN = {"\t": "tabs"}


def mark_of(line: str, options: ReadOptions) -> str:
    """What separates the cells of a header: the first of `MARKS` that leaves a column of texts; else a comma."""
    for mark in MARKS:
        try:
            header = next(csv.reader([line], delimiter=mark), [])
        except csv.Error:
            continue
        if len(header) > 1 and place(header, options.text) is not None:
            return mark
    return ","


def note_mark(mark: str, path: Path, findings: Findings) -> None:
    """Says which separator was found, unless it is a comma in CSV or a tab in TSV."""
    if mark != ("\t" if ".tsv" in path.name.lower() or ".tab" in path.name.lower() else ","):
        message = f"the cells are separated by {_SHOWN.get(mark, f'`{mark}`')}, as the header shows"
        findings.note("delimiter", path, message, severity="info", notable=True)


def place(header: Sequence[str], name: str) -> int | None:
    """The place of the only column of a name, without regard to case and blanks where that is needed; or None."""
    names: Sequence[str] = header
    if not header.count(name):
        names, name = [each.strip().casefold() for each in header], name.strip().casefold()
    return names.index(name) if names.count(name) == 1 else None


def columns(header: Sequence[str], path: Path, findings: Findings) -> tuple[int, int]:
    """The places of the text and of the labels.

    Without a column `labels`, and without `labels_field`, a column `label` is taken, and that is noted.

    Raises:
        DataError: one of the two is not there, or several columns have its name.
    """
    options = findings.options
    at_text, at_labels = place(header, options.text), place(header, options.labels)
    if at_labels is None and options.labels_field is None:
        at_labels = place(header, LABEL)
        if at_labels is not None:
            note_label(path, findings)
    if at_text is not None and at_labels is not None and at_text != at_labels:
        return at_text, at_labels
    raise DataError(
        f"the columns {', '.join(repr(name) for name in _cells(header))[:200]}",
        wanted=f"a header with one column `{options.text}` and one column `{options.labels}`, separated by "
        "commas, semicolons or tabs; or a column of zeros and ones for each of several labels",
        next_step=_step(header, (options.text, options.labels)),
        where=line_of(path, 1),
    )


def _cells(header: Sequence[str]) -> Sequence[str]:
    """The names of the columns, also where the separator was not found: of a single name, its parts."""
    return next((header[0].split(mark) for mark in MARKS if len(header) == 1 and mark in header[0]), header)


def _step(header: Sequence[str], wanted: tuple[str, str]) -> str:
    """What to do about a header in which a column is missing or occurs twice."""
    plain = [name.strip().casefold() for name in header]
    options = ("text_field (--text-field)", "labels_field (--labels-field)")
    missing = [i for i, name in enumerate(wanted) if name.strip().casefold() not in plain]
    if not missing:
        return "rename a column: each of the two names must occur once"
    header = _cells(header)
    named = " and ".join(f"the column of the {('texts', 'labels')[i]} as {options[i]}" for i in missing)
    close = [difflib.get_close_matches(wanted[i], header, n=1) for i in missing]
    meant = ", ".join(repr(names[0]) for names in close if names)
    step = f"name {named}" + (f", such as {meant}" if meant else "")
    return step + (", or add the header, if the first line is a text" if len(missing) == 2 else "")


def note_label(path: Path, findings: Findings) -> None:
    """Says that `label` was read in place of `labels`."""
    message = f"there is no `{findings.options.labels}`; the labels are read from `{LABEL}`"
    findings.note("label", path, message, severity="info", notable=True)


def has_columns(header: Sequence[str], options: ReadOptions) -> bool:
    """Whether a header has a column of texts and one of labels."""
    names = [options.labels] if options.labels_field else [options.labels, LABEL]
    return place(header, options.text) is not None and any(place(header, name) is not None for name in names)
