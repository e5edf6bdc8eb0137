"""Parquet files in which labels are columns of zeros and ones; see `flag_columns`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats import shards
from megalabel.data.formats.flag_columns import flag, flag_places, flagged, note_flags
from megalabel.data.formats.shards import damaged_file
from megalabel.data.formats.table_header import has_columns
from megalabel.data.records import Record
from megalabel.errors import DataError

ROWS = 16384  # that are read together


def columns_of_flags(path: Path, findings: Findings) -> list[str]:
    """The columns that hold only zeros and ones, where there is a column of texts and none of labels."""
    import pyarrow.parquet as pq

    options, header = findings.options, list[str]()
    possible: dict[str, bool] = {}  # the columns that may be labels, and whether one of their values is a one
    for file in shards.files_of(path):
        with damaged_file(file), pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            if not header:
                header = names
                if options.labels_field is not None or has_columns(names, options) or options.text not in names:
                    return []
                taken = {options.text, *options.row_fields(usual=False)}
                possible = {name: False for name in names if name not in taken and name.strip()}
            possible = {name: one for name, one in possible.items() if names.count(name) == 1}
            for batch in table.iter_batches(batch_size=ROWS, columns=list(possible)):
                for name in list(possible):
                    values = [flag(value) for value in _distinct(batch.column(name))]
                    if None in values:
                        del possible[name]
                    else:
                        possible[name] |= any(values)
    if len(possible) < 2 or not any(possible.values()):
        return []
    found = [name.strip() for name in possible]
    note_flags(found, header, header.index(options.text), path, findings)
    return found


def fields_beside(names: Sequence[str], wanted: Sequence[str | None]) -> list[str | None]:
    """The wanted columns, each None where it does not exist."""
    return [name if name in names else None for name in wanted]


def _distinct(column: Any) -> list[Any]:
    """The values of a column without repetition; [None] where there are more than zeros and ones can be."""
    import pyarrow as pa

    try:
        values = column.unique()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # of lists and the like
        return [None]
    return values.to_pylist() if len(values) <= 2 else [None]


def flag_records(path: Path, findings: Findings, flags: Sequence[str]) -> Iterator[Record]:
    """Yields the text of each row, and the names among `flags` of the columns that have a one."""
    import pyarrow.parquet as pq

    with damaged_file(path), pq.ParquetFile(path) as file:
        header, options = file.schema_arrow.names, findings.options
        at_text, places = flag_places(header, flags, str(path), options)
        more = fields_beside(header, options.row_fields(usual=False))
        flagged_columns = [header[i] for i in places]
        columns = [header[at_text], *(name for name in more if name is not None), *flagged_columns]
        row = 0
        for batch in file.iter_batches(batch_size=ROWS, columns=columns):
            read = {name: batch.column(name).to_pylist() for name in columns}
            beside = [[None] * len(batch) if name is None else read[name] for name in more]
            values = zip(read[columns[0]], *beside, *(read[name] for name in flagged_columns), strict=True)
            for row, (text, weight, source, *cells) in enumerate(values, row + 1):  # noqa: B020
                where = f"{path}, row {row}"
                try:
                    if not isinstance(text, str):
                        raise DataError("the text is null", wanted="a text", next_step="drop the row", where=where)
                    marked = flagged(cells, flags, range(len(flags)), where)
                    yield Record(row, text, marked, weight, source)
                except DataError as error:
                    findings.error("null", path, error)
