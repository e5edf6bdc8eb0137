"""What a format is: how its files are recognized, and where it reads from and writes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from megalabel.data.findings import Findings
from megalabel.data.formats.sniff import sniff
from megalabel.data.text_lines import find_file
from megalabel.data.types import CorpusData


@dataclass(frozen=True)
class Source:
    """The files to read.

    Attributes:
        folder: the folder that holds them.
        train: the file of the training texts.
        test: the file of the test texts, or None.
        name: the name of the data set.
        parts: which of title and content make a text: "title", "content" or "both"; "auto" follows the name.
        separator: the text between title and content; None for that of the format.
        only: "trn" or "tst" where `train` is the only split that is read: which files, such as those of filter
            pairs, belong to it. "" where training and test files are what they are called.
    """

    folder: Path
    train: Path
    test: Path | None
    name: str
    parts: str = "auto"
    separator: str | None = None
    only: str = ""


class Found(NamedTuple):
    """Where a folder holds a data set: the folder of its files, and the files of both splits."""

    folder: Path
    train: Path
    test: Path | None


@dataclass
class Sink:
    """Where a data set is written.

    Attributes:
        folder: the folder, which exists.
        gz: whether text files are written as .gz.
        lossy: whether values that the format cannot hold are changed or left out, which `notes` then records;
            otherwise such a value is an error.
        notes: one sentence per kind of change.
    """

    folder: Path
    gz: bool = False
    lossy: bool = False
    notes: list[str] = field(default_factory=list)


class Format(NamedTuple):
    """The description of a format; a module of `megalabel.data.formats` reads and writes it.

    Attributes:
        name: the name of the format in options and messages.
        module: the module that holds `read(source, findings)` and `write(data, sink)`.
        train, test: the file names of the training and the test texts.
        suffixes: the suffixes by which a single file is recognized.
        what: the files that a folder of this format must hold, for messages.
        content: what the file must look like where the name does not tell the format; see `sniff`.
        bag: whether it holds bags of words, which are not read where the folder also holds the texts.
        writes: whether the module has `write`.
        finds: whether the module has `find(folder)`, which returns a `Found` or None; otherwise the file names
            tell the format.
    """

    name: str
    module: str
    train: str
    test: str
    suffixes: tuple[str, ...]
    what: str
    content: str = ""
    bag: bool = False
    writes: bool = True
    finds: bool = False

    def find(self, folder: Path, given: bool = False) -> Found | None:
        """The data set of this format in a folder, or None; `given`: the user says that it has this format."""
        if self.finds:
            found: Found | None = self._import().find(folder)
            return found
        train = _find(folder, self.train, self.suffixes)
        if train is None or not (given or self.looks_right(train)):
            return None
        return Found(folder, train, _find(folder, self.test, self.suffixes))

    def looks_right(self, file: Path) -> bool:
        """Whether the content of a file has this format and not another one with the same names."""
        return not self.content or sniff(file) == self.content

    @property
    def read(self) -> Callable[[Source, Findings], CorpusData]:
        """The function that reads the format."""
        reader: Callable[[Source, Findings], CorpusData] = self._import().read
        return reader

    @property
    def write(self) -> Callable[[CorpusData, Sink], None]:
        """The function that writes the format."""
        writer: Callable[[CorpusData, Sink], None] = self._import().write
        return writer

    def _import(self) -> Any:
        return import_module(f"megalabel.data.formats.{self.module}")


def _find(folder: Path, name: str, suffixes: tuple[str, ...]) -> Path | None:
    """The file of a split; JSON lines may have any of their suffixes."""
    stem, _, suffix = name.rpartition(".")
    return (
        find_file(folder, *(stem + ending for ending in suffixes))
        if suffix == "jsonl"
        else find_file(folder, name)
    )
