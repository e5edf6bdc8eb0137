"""Opening a data set: which format a folder or a file has, and the reader of that format.

| format | files, each plain or .gz (test side optional) |
|---|---|
| raw | trn_X.txt, trn_X_Y.txt, Y.txt (optional), tst_X.txt, tst_X_Y.txt |
| lf-json | trn.json, lbl.json, tst.json |
| jsonl | train.jsonl, test.jsonl, labels.txt or Y.txt (optional); or one .jsonl, .ndjson, .json |
| csv | train.csv, test.csv, labels.txt (optional); or one .csv |
| parquet | train.parquet, test.parquet, labels.txt (optional); or one .parquet (not .gz) |
| annif | train.tsv, vocab.tsv, test.tsv; or one .tsv beside its vocab.tsv |
| xmlrepo | train.txt, test.txt, Y.txt (optional); or one .txt |

Each may have trn_filter_labels.txt and tst_filter_labels.txt (or filter_labels_train.txt and
filter_labels_test.txt): pairs `row label`. Reading is strict: Windows line ends, a byte order mark and a
label twice in a row are read as what they mean; everything else that is not as it should be is an error with
file and line. `check` tells both.

Test labels that training does not know: where a list of labels (Y.txt, lbl.json, labels.txt, vocab.tsv) or a
header says which labels exist, each of them has its column, seen in training or not. A test name outside the
list, or a test label outside training where there is no list, gets no column (training cannot know of it) and
is kept in `Split.unseen`, so that metrics can count it. An *id* outside a list is an error.
"""

from __future__ import annotations

from pathlib import Path

from megalabel.data.corpus import Corpus
from megalabel.data.findings import Findings
from megalabel.data.formats import FORMATS, Format, Source
from megalabel.data.lines import find
from megalabel.errors import DataError, SettingError

_RAW_PARTS = ("trn_", "tst_", "Y.txt", "trn.json", "tst.json", "lbl.json", "filter_labels_")


def read(
    path: str | Path, *, name: str | None = None, format: str | None = None, findings: Findings | None = None
) -> Corpus:
    """Reads the data set at a path; see `Corpus.open`. `findings` takes what is worth telling."""
    source, chosen = locate(path, name=name, format=format)
    return chosen.read(source, findings or Findings())


def locate(path: str | Path, *, name: str | None = None, format: str | None = None) -> tuple[Source, Format]:
    """Which files a path means, and their format.

    Raises:
        DataError: nothing there, no known format, or several.
        SettingError: no format of that name.
    """
    try:
        return _locate(Path(path), name, format)
    except OSError as error:
        raise DataError(
            f"cannot be looked into ({error.strerror or error})",
            wanted="a readable folder",
            next_step="check its permissions",
            where=path,
        ) from error


def _locate(path: Path, name: str | None, format: str | None) -> tuple[Source, Format]:
    if format is not None and format not in FORMATS:
        raise SettingError(
            f"format {format!r}", wanted=", ".join(FORMATS), next_step="choose one of these", where="format"
        )
    if not path.exists():
        raise DataError(
            "there is no such file or folder",
            wanted="a folder or a file of texts with labels",
            next_step="check the path; data sets inside the package open with Corpus.bundled",
            where=path,
        )
    if path.is_file():
        return _file(path, name, format)
    there = {f.name: file for f in FORMATS.values() if (file := find(path, f.train)) is not None}
    if format is not None:
        there = {n: file for n, file in there.items() if n == format}
    if len(there) > 1:
        raise DataError(
            f"found several data sets: {', '.join(f'{file.name} ({n})' for n, file in there.items())}",
            wanted="one",
            next_step='say which with format="...", or keep one in the folder',
            where=path,
        )
    if not there:
        raise _nothing(path)
    chosen, train = next((FORMATS[n], file) for n, file in there.items())
    return Source(path, train, find(path, chosen.test), name or path.resolve().name), chosen


def _file(path: Path, name: str | None, format: str | None) -> tuple[Source, Format]:
    """One file is a training side; its name without suffixes is the data set's."""
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
        f"the suffix {path.suffix!r} is of no format that is read",
        wanted=f"one of {', '.join(suffixes)}, or these with .gz; or a folder",
        next_step="convert the file to JSON lines with the keys text and labels",
        where=path,
    )


def _nothing(path: Path) -> DataError:
    names = sorted(p.name for p in path.iterdir())
    inside = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    deeper = [p.name for p in path.iterdir() if p.is_dir() and any(find(p, f.train) for f in FORMATS.values())]
    alone = next((f for f in FORMATS.values() if find(path, f.test) is not None), None)
    step = "name the files as one of these formats does, or open a single file"
    if deeper:
        step = f"open {path / deeper[0]}"
    elif alone is not None:
        step = f"put {alone.train} beside {alone.test}: there is a test side, but no training side"
    return DataError(
        f"no data set is in the folder (it holds: {inside or 'nothing'})",
        wanted="; or ".join(f.what for f in FORMATS.values()) + " (each also .gz)",
        next_step=step,
        where=path,
    )
