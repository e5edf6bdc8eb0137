"""Columns of zeros and ones, one per label, in place of a column of labels: in tables, Parquet and JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.table_header import place
from megalabel.data.read_options import ReadOptions
from megalabel.data.texts import Texts
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError

_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def flag_vocabulary(names: Sequence[str], beside: Vocabulary, file: Path, findings: Findings) -> Vocabulary:
    """The vocabulary beside a file or, without one, the names of its columns of zeros and ones, if there are."""
    if not names or beside.listed is not None:
        return beside
    return Vocabulary(Texts.from_strings(list(names)), file, findings)


def flag(cell: object) -> bool | None:
    """Whether a cell is a one or a zero, also as 1.0 or True; None for anything else."""
    return _FLAGS.get(str(cell).strip().casefold())


def flag_columns(
    header: Sequence[str], rows: Iterable[Sequence[object]], at_text: int, taken: Sequence[str | None] = ()
) -> list[str]:
    """The names of the columns that hold only zeros and ones, if they are two or more and not all zeros.

    Columns without a name, as pandas gives to an index, are none; rows of another length are skipped, since
    reading them is an error. `taken` are columns that were said to be something else.
    """
    possible = {i for i, name in enumerate(header) if i != at_text and name.strip() and name not in taken}
    some = False
    for row in rows:
        if len(row) != len(header):
            continue
        flags = {i: value for i in possible if (value := flag(row[i])) is not None}
        possible, some = set(flags), some or any(flags.values())
        if len(possible) < 2:
            return []
    return [header[i].strip() for i in sorted(possible)] if some else []


def note_flags(names: Sequence[str], header: Sequence[str], at_text: int, path: Path, findings: Findings) -> None:
    """Says which columns of zeros and ones are taken for labels, and which others are not read."""
    known = {*names, *findings.options.row_fields(usual=False)}
    rest = [name for i, name in enumerate(header) if i != at_text and name.strip() not in known]
    message = (
        f"there is no column `{findings.options.labels}`; {len(names):,} columns of zeros and ones are the "
        f"labels: {', '.join(names)[:120]}"
    )
    message += f"; not read: {', '.join(map(repr, rest))[:120]}" if rest else ""
    findings.note("flag-columns", path, message, severity="info", notable=True)


def flag_places(
    header: Sequence[str], names: Sequence[str], where: str, options: ReadOptions
) -> tuple[int, list[int]]:
    """The places of the text and of these columns of zeros and ones; DataError if one is missing."""
    found = {name.strip(): i for i, name in enumerate(header)}
    at_text, missing = place(header, options.text), [name for name in names if name not in found]
    if at_text is None or missing:
        raise DataError(
            f"no column {', '.join(map(repr, missing or [options.text]))[:200]}",
            wanted="the column of the texts, and one of zeros and ones for each label, as in the training file",
            next_step="add the columns, or write the labels of each text into one column `labels`",
            where=where,
        )
    return at_text, [found[name] for name in names]


def flagged(row: Sequence[object], names: Sequence[str], places: Sequence[int], where: str) -> list[str]:
    """The names of the columns in which a row has a one; DataError for a cell that is neither zero nor one."""
    labels = []
    for name, i in zip(names, places, strict=True):
        value = flag(row[i])
        if value is None:
            raise DataError(
                f"the cell {str(row[i])[:40]!r} in the column {name!r}",
                wanted="0 or 1, as in the training file",
                next_step="remove texts whose labels are not known, or correct the cell",
                where=where,
            )
        if value:
            labels.append(name)
    return labels
