"""Annif's folder of documents: NAME.txt with the text, NAME.key with a label per line or NAME.tsv with URIs.

The training documents are in train/ and the test documents in test/, or all in the folder itself. A line of
NAME.tsv is `<uri>`, tab, name. Documents are sorted by name. With a vocabulary beside the folders (see
`subjects`), lines of .key files are names in it, and those that it does not list are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Found, Source
from megalabel.data.formats.subjects import Subjects, read_vocabulary, uri_of, vocabulary_file
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import blocks, find_file, lines
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of

_OTHER = ("train", "test", "vocab", "vocabulary", "subjects")  # tables of other formats


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None."""
    for train in (folder / "train", folder):
        if train.is_dir() and _has_documents(train):
            test = folder / "test"
            return Found(folder, train, test if train != folder and test.is_dir() else None)
    return None


def _has_documents(folder: Path) -> bool:
    key = next(folder.glob("*.key"), None)
    if key is not None:
        return key.with_suffix(".txt").is_file()
    tables = (path for path in folder.glob("*.tsv") if path.stem not in _OTHER)
    return any(path.with_suffix(".txt").is_file() for path in tables)


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the documents."""
    file = vocabulary_file(source.folder)
    if file is None:
        vocabulary = Vocabulary(None, None, findings)

        def plain(path: Path, found: Findings) -> Iterator[Record]:
            return _records(path, {}, found)

        return data_from_records(source, plain, vocabulary, findings)
    names, metadata = read_vocabulary(file, findings)
    by_name = dict(zip(names, metadata.uris or (), strict=True))

    def records(path: Path, found: Findings) -> Iterator[Record]:
        return _records(path, by_name, found)

    return data_from_records(source, records, Subjects(metadata, file, findings), findings, names, metadata)


def _records(folder: Path, uris: dict[str, str], findings: Findings) -> Iterator[Record]:
    texts = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    for number, path in enumerate(texts, 1):
        text = b"".join(block for _, block in blocks(path, findings)).decode()
        labels = _labels(path, uris, findings)
        if labels is None:
            error = DataError(
                f"{path.name} has neither {path.stem}.key nor {path.stem}.tsv",
                wanted="a file of labels for each text, which may be empty",
                where=folder,
            )
            findings.error("key", folder, error)
            continue
        yield Record(number, text, labels)


def _labels(path: Path, uris: dict[str, str], findings: Findings) -> list[str] | None:
    file = find_file(path.parent, f"{path.stem}.key", f"{path.stem}.tsv")
    if file is None:
        return None
    labels = []
    for number, line in lines(file, findings):
        if not line.strip():
            continue
        if file.suffix == ".key":
            labels.append(uris.get(line.strip(), line.strip()))
            continue
        uri = uri_of(line.partition("\t")[0].strip())
        if uri is None:
            error = DataError(
                f"{line[:60]!r} has no URI", wanted="`<uri>`, tab, name", where=line_of(file, number)
            )
            findings.error("key-line", file, error)
            continue
        labels.append(uri)
    return labels
