"""Converting a data set from any format that is read to any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from megalabel.data.corpus import Corpus
from megalabel.data.formats import FORMATS, Sink
from megalabel.data.records import surrogate
from megalabel.errors import DataError, SettingError
from megalabel.storage.files import atomic_folder


@dataclass(frozen=True)
class Conversion:
    """What `convert` did: the folder, its format, and notes on what was changed or left out."""

    path: Path
    format: str
    files: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def convert(
    source: Corpus | str | Path, out: str | Path, to: str, *, gz: bool = False, lossy: bool = False
) -> Conversion:
    """Writes a data set in another format.

    Args:
        source: a corpus, or the path of one.
        out: the new folder; it appears whole or not at all.
        to: raw, lf-json, jsonl, csv, parquet, annif or xmlrepo.
        gz: write text files as .gz.
        lossy: what the format cannot hold is changed or left out, and the notes say what: line breaks (and,
            for annif, tabs) become spaces, test labels unknown to training are dropped. Otherwise an error.

    Raises:
        SettingError: unknown format, or a folder that is not empty.
        DataError: the source does not read, or holds what the format cannot.
    """
    out = Path(out)
    if to not in FORMATS:
        raise SettingError(
            f"format {to!r}", wanted=", ".join(FORMATS), next_step="choose one of these", where="to"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(
            f"{out} is there already and not an empty folder",
            wanted="a new or an empty folder",
            next_step="choose another name, or remove it first",
            where="out",
        )
    corpus = source if isinstance(source, Corpus) else Corpus.open(source)
    if corpus.train.features is not None and to != "xmlrepo":
        raise DataError(
            f"{corpus.name} holds bag-of-words features and no texts",
            wanted="texts",
            next_step="convert it to xmlrepo, or find the data set's texts",
            where=corpus.path,
        )
    try:
        with atomic_folder(out) as folder:
            sink = Sink(folder, gz, lossy)
            FORMATS[to].write(corpus, sink)
            files = tuple(sorted(p.name for p in folder.iterdir()))
    except UnicodeEncodeError as error:
        raise surrogate(error, corpus.name) from error
    except OSError as error:
        raise SettingError(
            f"{out} cannot be written ({error.strerror or error})",
            wanted="a place with room and the right to write",
            next_step="choose another folder, or free some space",
            where="out",
        ) from error
    return Conversion(out, to, files, tuple(sink.notes))
