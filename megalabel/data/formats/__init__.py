"""One file per format, each with `read(source, findings)` and `write(corpus, sink)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.data.findings import Findings


@dataclass(frozen=True)
class Source:
    """What is to be read: the folder, its files of the two sides, and the name of the data set."""

    folder: Path
    train: Path
    test: Path | None
    name: str


@dataclass
class Sink:
    """Where a data set is written.

    lossy: what the format cannot hold is changed or left out, and `notes` say so; otherwise it is an error.
    """

    folder: Path
    gz: bool = False
    lossy: bool = False
    notes: list[str] = field(default_factory=list)


class Format(NamedTuple):
    """How a format is recognised; the work is done by the module of its name."""

    name: str
    module: str
    train: str
    test: str
    suffixes: tuple[str, ...]
    what: str

    @property
    def read(self) -> Callable[[Source, Findings], Corpus]:
        """The format's reader."""
        reader: Callable[[Source, Findings], Corpus] = import_module(f"{__name__}.{self.module}").read
        return reader

    @property
    def write(self) -> Callable[[Corpus, Sink], None]:
        """The format's writer."""
        writer: Callable[[Corpus, Sink], None] = import_module(f"{__name__}.{self.module}").write
        return writer


FORMATS = {
    f.name: f
    for f in (
        Format("raw", "raw", "trn_X.txt", "tst_X.txt", (), "trn_X.txt, trn_X_Y.txt (Y.txt)"),
        Format("lf-json", "lf_json", "trn.json", "tst.json", (), "trn.json, lbl.json"),
        Format("jsonl", "jsonl", "train.jsonl", "test.jsonl", (".jsonl", ".ndjson", ".json"), "train.jsonl"),
        Format("csv", "delimited", "train.csv", "test.csv", (".csv",), "train.csv"),
        Format("parquet", "parquet", "train.parquet", "test.parquet", (".parquet",), "train.parquet"),
        Format("annif", "annif", "train.tsv", "test.tsv", (".tsv",), "train.tsv, vocab.tsv"),
        Format("xmlrepo", "xmlrepo", "train.txt", "test.txt", (".txt",), "train.txt starting with `N V L`"),
    )
}
