"""The file of labels beside a file of texts or features: a row of ids for each line, perhaps after a header.

Folders of several layouts have such pairs of files, which differ in their names alone.
"""

from __future__ import annotations

from pathlib import Path

from megalabel.data.assembly import check_largest_id
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Source
from megalabel.data.label_rows import LabelRows, check_count, read_label_rows
from megalabel.data.text_lines import find_file
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of


def label_file(source: Source, file: Path, name: str, row: str) -> Path:
    """The file of this name beside `file`; DataError if it is missing. `row` says what a row of it is."""
    found = find_file(source.folder, name)
    if found is None:
        raise DataError(
            f"{file.name} exists, but {name} does not", wanted=f"{name} (or .gz) with {row}", where=source.folder
        )
    return found


def label_rows(labels: Path, file: Path, texts: Texts, findings: Findings) -> tuple[LabelRows, int | None]:
    """The ids of each text of `file`, and L where a header `N L` says it.

    Raises:
        DataError: as `read_label_rows`; also for another number of rows than of texts.
    """
    rows, colons = read_label_rows(labels, findings)
    rows, n_labels = _without_header(rows, colons, len(texts))
    check_count(texts, file, rows)
    return rows, n_labels


def _without_header(rows: LabelRows, colons: tuple[bool, bool], n_texts: int) -> tuple[LabelRows, int | None]:
    """Splits off a header `N L`: a first line without colons where rows have them, or one row more than texts."""
    in_first, in_rest = colons
    if len(rows) == 0 or rows.counts[0] != 2 or in_first:
        return rows, None
    if not in_rest and len(rows) != n_texts + 1:
        return rows, None
    n_rows, n_labels = int(rows.ids[0]), int(rows.ids[1])
    rest = LabelRows(rows.file, rows.ids[2:], rows.counts[1:], rows.lines[1:])
    if n_rows != len(rest):
        raise DataError(
            f"the header says {n_rows:,} rows, but {len(rest):,} follow",
            wanted="as many rows as the header says",
            next_step="check that the file is complete, then correct the header",
            where=line_of(rows.file, 1),
        )
    return rest, n_labels


def count_labels(rows: LabelRows, header: int | None, names: Texts | None, file: Path | None) -> tuple[int, str]:
    """L, from the label names in `file`, the header of the training rows or their largest id; and how it is known.

    Raises:
        DataError: the header contradicts the names, or L is far larger than the data suggest.
    """
    if names is not None and file is not None:
        known_from = f"{file.name} has"
        check_header(rows, header, len(names), known_from)
        return len(names), known_from
    n_labels = int(rows.ids.max(initial=-1)) + 1 if header is None else header
    check_largest_id(rows, n_labels, header_line=None if header is None else 1)
    return n_labels, "training has" if header is None else "the header says"


def check_header(rows: LabelRows, header: int | None, n_labels: int, known_from: str) -> None:
    """DataError unless a header, where there is one, says L."""
    if header is not None and header != n_labels:
        raise DataError(
            f"the header says {header:,} labels, but {known_from} {n_labels:,}",
            wanted="the same number of labels everywhere",
            next_step="check that the files belong to one version of the data",
            where=line_of(rows.file, 1),
        )
