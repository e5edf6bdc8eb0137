"""Detects which format a folder or a file has, and reads it.

| format | files, each plain or .gz (the test split is optional) |
|---|---|
| raw | trn_X.txt, trn_X_Y.txt, Y.txt (optional), tst_X.txt, tst_X_Y.txt |
| lf-json | trn.json, lbl.json, tst.json |
| jsonl | train.jsonl, test.jsonl, labels.txt or Y.txt (optional); or one .jsonl, .ndjson or .json file |
| csv | train.csv, test.csv, labels.txt (optional); or one .csv file |
| parquet | train.parquet, test.parquet, labels.txt (optional); or one .parquet file (never .gz) |
| annif | train.tsv, vocab.tsv, test.tsv; or one .tsv file beside its vocab.tsv |
| xmlrepo | train.txt, test.txt, Y.txt (optional); or one .txt file |

Each folder may also hold trn_filter_labels.txt and tst_filter_labels.txt (or filter_labels_train.txt and
filter_labels_test.txt), which list pairs `row label`. Reading is strict: Windows line ends, a byte order mark and
a label repeated within a row are corrected; every other irregularity is an error that names the file and the line.
`check` reports both.

Test labels that no training text has: where a list of labels (Y.txt, lbl.json, labels.txt, vocab.tsv) or a header
says which labels exist, every one of them has a column, whether training has it or not. A test name outside that
list, or a test label outside the training labels where there is no list, gets no column. It is kept in
`Split.unseen`, so that metrics can count it. An *id* outside a list is an error.
"""

from __future__ import annotations

from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats import FORMATS
from megalabel.data.formats.contract import Format, Source
from megalabel.data.text_lines import find_file
from megalabel.data.types import CorpusData
from megalabel.errors import DataError, SettingError

_RAW_PARTS = ("trn_", "tst_", "Y.txt", "trn.json", "tst.json", "lbl.json", "filter_labels_")


def read_data(
    path: str | Path, *, name: str | None = None, format: str | None = None, findings: Findings | None = None
) -> CorpusData:
    """Reads the data set at a path; `findings` collects irregularities. See `Corpus.open`."""
    source, chosen = locate(path, name=name, format=format)
    return chosen.read(source, findings or Findings())


def locate(path: str | Path, *, name: str | None = None, format: str | None = None) -> tuple[Source, Format]:
    """Finds the files of the data set at a path, and their format.

    Raises:
        DataError: there is no data set, one of an unknown format, or several.
        SettingError: there is no format of that name.
    """
    try:
        return _locate(Path(path), name, format)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})",
            wanted="a readable folder",
            next_step="check its permissions",
            where=path,
        ) from error


def _locate(path: Path, name: str | None, format: str | None) -> tuple[Source, Format]:
    if format is not None and format not in FORMATS:
        raise SettingError.choice("format", format, FORMATS)
    if not path.exists():
        raise DataError(
            "there is no such file or folder",
            wanted="a folder or a file of texts with labels",
            next_step="check the path; those of the package are bundled:NAME, in Python Corpus.bundled(NAME)",
            where=path,
        )
    if path.is_file():
        return _locate_file(path, name, format)
    candidates = {f.name: file for f in FORMATS.values() if (file := find_file(path, f.train)) is not None}
    if format is not None:
        candidates = {n: file for n, file in candidates.items() if n == format}
    if len(candidates) > 1:
        raise DataError(
            f"found several data sets: {', '.join(f'{file.name} ({n})' for n, file in candidates.items())}",
            wanted="one",
            next_step='choose one with format="...", or keep only one in the folder',
            where=path,
        )
    if not candidates:
        raise _no_data_set(path)
    chosen, train = next((FORMATS[n], file) for n, file in candidates.items())
    return Source(path, train, find_file(path, chosen.test), name or path.resolve().name), chosen


def _locate_file(path: Path, name: str | None, format: str | None) -> tuple[Source, Format]:
    """A single file is a training split, named after the file without its suffixes."""
    plain = path.name.removesuffix(".gz")
    if plain.startswith(_RAW_PARTS):
        raise DataError(
            "this file is one part of a data set",
            wanted="the folder with all parts",
            next_step=f"open {path.parent} instead",
            where=path,
        )
    for chosen in FORMATS.values():
        if format == chosen.name or (format is None and plain.endswith(chosen.suffixes or ("\0",))):
            return Source(path.parent, path, None, name or plain.rsplit(".", 1)[0]), chosen
    suffixes = sorted(s for f in FORMATS.values() for s in f.suffixes)
    raise DataError(
        f"no format has the suffix {path.suffix!r}",
        wanted=f"one of {', '.join(suffixes)}, or these with .gz; or a folder",
        next_step="convert the file to JSON lines with the keys text and labels",
        where=path,
    )


def _no_data_set(path: Path) -> DataError:
    names = sorted(p.name for p in path.iterdir())
    inside = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    subfolders = [
        p.name for p in path.iterdir() if p.is_dir() and any(find_file(p, f.train) for f in FORMATS.values())
    ]
    only_test = next((f for f in FORMATS.values() if find_file(path, f.test) is not None), None)
    step = "name the files as one of these formats does, or open a single file"
    if subfolders:
        step = f"open {path / subfolders[0]}"
    elif only_test is not None:
        step = f"put {only_test.train} beside {only_test.test}: the folder has a test split but no training split"
    return DataError(
        f"the folder holds no data set (it holds: {inside or 'nothing'})",
        wanted="; or ".join(f.what for f in FORMATS.values()) + " (each also .gz)",
        next_step=step,
        where=path,
    )
