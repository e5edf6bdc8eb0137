"""Opens what a model is measured on: a data set, a folder that holds a test split alone, or a single file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from megalabel.data.corpus import Corpus
from megalabel.data.findings import Findings
from megalabel.data.formats import FORMATS
from megalabel.data.formats.contract import Format, Source
from megalabel.data.opening import locate, read_located
from megalabel.data.read_options import ReadOptions
from megalabel.data.text_lines import find_file
from megalabel.data.types import Split
from megalabel.errors import DataError
from megalabel.storage.paths import as_path

TEST = "tst"  # how the files of a test split begin


def open_to_measure(path: str | Path, *, known: Iterable[str] = (), **opened: Any) -> tuple[Corpus, Split]:
    """The data set at a path, and the split of it that is measured.

    Of a folder with training texts that is its test split. Where a folder holds a test split alone, and of a
    single file, the texts there are the only split of the data set, its `train`; their labels get columns in the
    order in which they appear, or that of a list of labels beside them.

    Args:
        path: a folder or a file.
        known: the label names of the model; they determine how a cell with several labels is split where there
            are no training texts.
        opened: further arguments of `Corpus.open`.

    Raises:
        DataError: there is no readable data set, or it has training texts and no test texts.
        SettingError: there is no format of that name, or no path.
    """
    place = as_path(path, "data")
    name, propensity = opened.get("name"), opened.get("propensity")
    options = ReadOptions(**{key: value for key, value in opened.items() if key not in ("name", "propensity")})
    source, chosen = _locate(place, options.format)
    if not source.only:
        corpus = Corpus.open(place, **opened)
        return corpus, test_split(corpus)
    findings = Findings(options=options, known=known, measured=True)
    data = read_located(source if name is None else replace(source, name=name), chosen, findings)
    corpus = Corpus.from_data(replace(data, notes=findings.taken()), propensity)
    return corpus, corpus.train


def test_split(corpus: Corpus) -> Split:
    """The test split of a data set; DataError where there is none."""
    if corpus.test is None:
        raise DataError(
            f"{corpus.name} has no test split",
            wanted="test texts with labels, such as test.jsonl, or tst_X.txt and tst_X_Y.txt",
            next_step="add them, name one file to measure its texts, or use `predict` where there are no labels",
            where=corpus.path,
        )
    return corpus.test


def _locate(place: Path, format: str | None) -> tuple[Source, Format]:
    """The files at a path; `Source.only` says that they are one split, and which files belong to it."""
    if place.is_dir():
        names = [name for name in FORMATS if format in (None, name)]
        if not any(find_file(place, FORMATS[name].train) for name in names):
            for name in names:
                file = find_file(place, FORMATS[name].test)
                if file is not None and (format is not None or FORMATS[name].looks_right(file)):
                    return Source(place, file, None, place.resolve().name, only=TEST), FORMATS[name]
    source, chosen = locate(place, format=format)
    if place.is_dir():
        return source, chosen
    plain = place.name.removesuffix(".gz")
    return replace(source, only=TEST if plain == chosen.test else "trn"), chosen
