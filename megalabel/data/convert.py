"""Converts a data set from any format to any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from megalabel.data.corpus import Corpus
from megalabel.data.formats import FORMATS
from megalabel.data.formats.contract import Sink
from megalabel.data.formats.output import write_row_values
from megalabel.data.metadata_files import write_records
from megalabel.data.opening import locate
from megalabel.data.records import surrogate_error
from megalabel.errors import DataError, SettingError
from megalabel.storage.files import atomic_folder

WRITTEN = tuple(f.name for f in FORMATS.values() if f.writes)
_WITH_FIELDS = ("jsonl", "csv", "parquet")  # whose files hold weights and sources
_OF_BAGS = tuple(f.name for f in FORMATS.values() if f.writes and f.bag)


@dataclass(frozen=True)
class Conversion:
    """The result of `convert`: the folder, its format and files, and notes on changed or dropped values."""

    path: Path
    format: str
    files: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def check_target(out: Path, to: str) -> None:
    """SettingError unless a data set can be written there in that format."""
    if to not in WRITTEN:
        raise SettingError.choice("to", to, WRITTEN)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(
            f"{out} exists and is not an empty folder",
            wanted="a new or an empty folder",
            next_step="choose another name, or remove it first",
            where="out",
        )


def same_format(path: str | Path, format: str | None = None) -> str:
    """The format of the data set at a path, or jsonl in place of one that is not written.

    Args:
        path: a folder or a file.
        format: the format where a folder holds several; None to find it.

    Raises:
        DataError, SettingError: as `Corpus.open`.
    """
    chosen = locate(path, format=format)[1]
    return chosen.name if chosen.writes else "jsonl"


def convert(
    source: Corpus | str | Path, out: str | Path, to: str, *, gz: bool = False, lossy: bool = False
) -> Conversion:
    """Writes a data set in another format.

    Args:
        source: a corpus, or the path of one.
        out: the new folder, which is written completely or not at all.
        to: the format, one of `WRITTEN`.
        gz: whether to write text files as .gz.
        lossy: whether to change or drop values that the format cannot hold: line breaks (for annif, tabs as well)
            become spaces, and test labels that training lacks are dropped. The notes of the result list the
            changes. Without `lossy`, such a value is an error.

    Raises:
        SettingError: the format is unknown, or the folder is not empty or cannot be written.
        DataError: the source cannot be read, or has values that the format cannot hold.
    """
    out = Path(out)
    check_target(out, to)
    corpus = source if isinstance(source, Corpus) else Corpus.open(source)
    if corpus.train.features is not None and to not in _OF_BAGS:
        raise DataError(
            f"{corpus.name} holds bag-of-words features and no texts",
            wanted="texts",
            next_step=f"convert it to {' or '.join(_OF_BAGS)}, or use the raw text files of the data set",
            where=corpus.path,
        )
    try:
        with atomic_folder(out) as folder:
            sink = Sink(folder, gz, lossy)
            FORMATS[to].write(corpus, sink)
            if to not in _WITH_FIELDS:
                write_row_values(corpus, sink)
            if corpus.metadata is not None and (
                to != "annif" or corpus.metadata.terms or corpus.metadata.taxonomy
            ):
                write_records(corpus, sink)
            files = tuple(sorted(p.name for p in folder.iterdir()))
    except UnicodeEncodeError as error:
        raise surrogate_error(error, corpus.name) from error
    except OSError as error:
        raise SettingError(
            f"{out} cannot be written ({error.strerror or error})",
            wanted="a writable folder with enough free space",
            next_step="choose another folder, or free some space",
            where="out",
        ) from error
    return Conversion(out, to, files, tuple(sink.notes))
