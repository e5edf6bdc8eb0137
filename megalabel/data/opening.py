"""Detects which format a folder or a file has, and reads it.

`docs/data-formats.md` lists the formats and their files; `megalabel.data.formats` is their registry. Where a
folder holds texts and bags of words, the texts are read. A folder `raw_text` has the name of the folder around it.

Each folder may also hold trn_filter_labels.txt and tst_filter_labels.txt (or filter_labels_train.txt and
filter_labels_test.txt), which list pairs `row label`, and files of label metadata (see `metadata_files`). Reading
is strict: Windows line ends, a byte order mark and a label repeated within a row are corrected; every other
irregularity is an error that names the file and the line. `check` reports both.

Test labels that no training text has: where a list of labels (Y.txt, lbl.json, labels.txt, vocab.tsv) or a header
says which labels exist, every one of them has a column, whether training has it or not. A test name outside that
list, or a test label outside the training labels where there is no list, gets no column. It is kept in
`Split.unseen`, so that metrics can count it. An *id* outside a list is an error.

What the files do not say is guessed where the data are evident (the separator of labels in a cell, rows of zeros
and ones), and every guess is a notable finding of the data set; `ReadOptions` states it instead.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from megalabel.data.catalog import check_name
from megalabel.data.file_bytes import kind_of, step_for
from megalabel.data.findings import Findings
from megalabel.data.formats import FORMATS
from megalabel.data.formats.contract import Format, Found, Source
from megalabel.data.metadata_files import with_files_beside
from megalabel.data.not_found import no_data_set, nothing_there, unlabeled_texts
from megalabel.data.read_options import IGNORED
from megalabel.data.subsets import without_source
from megalabel.data.types import CorpusData
from megalabel.errors import DataError, SettingError
from megalabel.storage.paths import as_path

_PARTS = (
    "trn_", "tst_", "Y.txt", "Y.t", "X.t", "trn.json", "tst.json", "lbl.json", "trn.raw.", "tst.raw.", "lbl.raw.",
    "filter_labels_", "train_raw_texts", "test_raw_texts", "train_labels", "test_labels",
)  # fmt: skip
_INNER = ("raw_text",)  # folders of texts inside the folder that has the name of the data set


def read_data(path: str | Path, *, name: str | None = None, findings: Findings | None = None) -> CorpusData:
    """Reads the data set at a path; `findings` collects irregularities and says how to read. See `Corpus.open`."""
    findings = findings or Findings()
    source, chosen = locate(path, name=name, format=findings.options.format, findings=findings)
    return replace(read_located(source, chosen, findings), notes=findings.taken())


def read_located(source: Source, chosen: Format, findings: Findings) -> CorpusData:
    """Reads a data set that `locate` found.

    Raises:
        DataError: as the reader of the format; also for data that do not fit into memory.
    """
    options = findings.options
    if options.text_parts is not None:
        source = replace(source, parts=options.text_parts)
    try:
        data = chosen.read(replace(source, separator=options.text_separator), findings)
    except (MemoryError, OverflowError, RecursionError) as error:
        raise DataError(
            f"cannot be read ({type(error).__name__}{f': {error}' if str(error) else ''})",
            wanted="data that fit into memory",
            next_step="check that the numbers of the header and the ids are right, or read a part of the data",
            where=source.train,
        ) from error
    return _as_stated(with_files_beside(data, source.folder, findings), findings, source.train)


def _as_stated(data: CorpusData, findings: Findings, file: Path) -> CorpusData:
    """The data without the source to leave out; DataError where a named field of weights or sources is missing."""
    options, train = findings.options, data.train
    fields = (options.weight_field, train.weights, "weight"), (options.source_field, train.sources, "source")
    for field, values, what in fields:
        if field not in (None, IGNORED) and values is None:
            raise DataError(
                f"no text has a {what} in the field {field!r}",
                wanted="a column or key of this name (of JSON lines, CSV or Parquet)",
                next_step=f"correct {what}_field (--{what}-field)",
                where=file,
            )
    return data if options.leave_out_source is None else without_source(data, options.leave_out_source)


def locate(
    path: str | Path, *, name: str | None = None, format: str | None = None, findings: Findings | None = None
) -> tuple[Source, Format]:
    """Finds the files of the data set at a path, and their format.

    `findings` learns what was chosen among several formats.

    Raises:
        DataError: there is no data set, one of an unknown format, or several.
        SettingError: there is no format of that name, or `path` is not a path, or `name` not a string.
    """
    path, name = as_path(path, "data"), None if name is None else check_name(name)
    try:
        return _locate(path, name, format, findings or Findings())
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})",
            wanted="a readable folder",
            next_step="check its permissions",
            where=path,
        ) from error


def _locate(path: Path, name: str | None, format: str | None, findings: Findings) -> tuple[Source, Format]:
    if format is not None and format not in FORMATS:
        raise SettingError.choice("format", format, FORMATS)
    if not path.is_file() and not path.is_dir() and os.path.lexists(path):
        raise DataError(
            f"this is {kind_of(path)}",
            wanted="a folder or a file of texts with labels",
            next_step="write the data to a file first",
            where=path,
        )
    if not path.exists():
        raise nothing_there(path)
    if path.is_file():
        return _locate_file(path, name, format)
    candidates = _candidates(path, format)
    if format is None and all(f.bag for f, _ in candidates) and unlabeled_texts(path):
        raise no_data_set(path)  # rather than a bag of words whose texts lie beside it
    if not candidates:
        raise no_data_set(path, format)
    chosen, found = _choose(path, candidates, findings)
    return Source(found.folder, found.train, found.test, name or set_name(path)), chosen


def set_name(path: Path) -> str:
    """The name of the data set in a folder: that of the folder, or of the one around it if that one is generic."""
    folder = path.resolve()
    return folder.parent.name if folder.name in _INNER and folder.parent.name else folder.name


def _candidates(path: Path, format: str | None) -> list[tuple[Format, Found]]:
    """The formats that a folder or, where it has none, a folder of texts inside it could be read as."""
    formats = [f for f in FORMATS.values() if format in (None, f.name)]
    inner = [path / name for name in _INNER if (path / name).is_dir()]
    found = [
        (f, there) for folder in (path, *inner) for f in formats if (there := f.find(folder, format is not None))
    ]
    outer_texts = any(not f.bag and there.folder == path for f, there in found)
    return [(f, there) for f, there in found if there.folder == path or not outer_texts]


def _choose(path: Path, candidates: list[tuple[Format, Found]], findings: Findings) -> tuple[Format, Found]:
    """The only candidate, or the only one with texts beside bags of words."""
    bags = [(f, there) for f, there in candidates if f.bag]
    texts = [(f, there) for f, there in candidates if not f.bag]
    rest = texts or bags
    if len(rest) > 1:
        raise DataError(
            f"found several data sets: {', '.join(f'{there.train.name} ({f.name})' for f, there in rest)}",
            wanted="one",
            next_step='choose one with format="..." (--format), or keep only one in the folder',
            where=path,
        )
    if texts and bags:
        left = ", ".join(f"{there.train.name} ({f.name})" for f, there in bags)
        chosen, there = rest[0]
        read = f"{there.train.relative_to(path)} ({chosen.name})"
        message = f"the texts of {read} are read, not the bags of words of {left}"
        findings.note("taken-format", path, message, severity="info")
    return rest[0]


def _locate_file(path: Path, name: str | None, format: str | None) -> tuple[Source, Format]:
    """A single file is a training split, named after the file without its suffixes."""
    plain = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    if plain.startswith(_PARTS):
        raise DataError(
            "this file is one part of a data set",
            wanted="the folder with all parts",
            next_step=f"open {path.parent} instead",
            where=path,
        )
    for chosen in FORMATS.values():
        fits = plain.lower().endswith(chosen.suffixes or ("\0",)) and chosen.looks_right(path)
        if format == chosen.name or (format is None and fits):
            return Source(path.parent, path, None, name or plain.rsplit(".", 1)[0]), chosen
    suffixes = sorted({s for f in FORMATS.values() for s in f.suffixes})
    raise DataError(
        f"no format has the suffix {Path(plain).suffix!r}",
        wanted=f"one of {', '.join(suffixes)}, or these with .gz; or a folder",
        next_step=step_for(plain)
        or 'say what it is with format="..." (--format), or convert it to JSON lines with text and labels',
        where=path,
    )
