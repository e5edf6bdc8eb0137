"""What a format is: how its files are recognized, and where it reads from and writes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from megalabel.data.findings import Findings
from megalabel.data.types import CorpusData


@dataclass(frozen=True)
class Source:
    """The files to read.

    Attributes:
        folder: the folder that holds them.
        train: the file of the training texts.
        test: the file of the test texts, or None.
        name: the name of the data set.
        only: "trn" or "tst" where `train` is the only split that is read: which files, such as those of filter
            pairs, belong to it. "" where training and test files are what they are called.
    """

    folder: Path
    train: Path
    test: Path | None
    name: str
    only: str = ""


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
    """

    name: str
    module: str
    train: str
    test: str
    suffixes: tuple[str, ...]
    what: str

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
