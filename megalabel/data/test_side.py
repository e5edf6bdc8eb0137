"""Opens what a model is measured on: a data set, a folder that holds a test split alone, or a single file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from megalabel.data.corpus import Corpus
from megalabel.data.findings import Findings
from megalabel.data.formats import FORMATS
from megalabel.data.formats.contract import Format, Source
from megalabel.data.opening import locate, read_located
from megalabel.data.read_options import ReadOptions
from megalabel.data.recorded import fitting, fitting_format
from megalabel.data.text_lines import find_file
from megalabel.data.types import Split
from megalabel.errors import DataError
from megalabel.storage.paths import as_path

TEST = "tst"  # how the files of a test split begin
TEXTS_OF_TEST = {"pecos": "X.tst.txt"}  # where `Format.test` is not the file of the texts
LABELS_OF_TEST = {"cascadexml": "Y.tst.txt", "spartex": "test_labels.txt"}  # whose texts have the same name


def open_to_measure(
    path: str | Path,
    *,
    known: Iterable[str] = (),
    recorded: Mapping[str, Any] | None = None,
    say: Callable[[str], Any] = lambda line: None,
    **opened: Any,
) -> tuple[Corpus, Split]:
    """The data set at a path, and the split of it that is measured.

    Of a folder with training texts that is its test split. Where a folder holds a test split alone, and of a
    single file, the texts there are the only split of the data set, its `train`; their labels get columns in the
    order in which they appear, or that of a list of labels beside them.

    Args:
        path: a folder or a file.
        known: the label names of the model; they determine how a cell with several labels is split where there
            are no training texts.
        recorded: how the data of the run were opened, as arguments of `Corpus.open`; what of it fits the file is
            used where `opened` does not say otherwise.
        say: gets a sentence on what was taken from `recorded`.
        opened: further arguments of `Corpus.open`.

    Raises:
        DataError: there is no readable data set, or it has training texts and no test texts.
        SettingError: there is no format of that name, or no path.
    """
    place = as_path(path, "data")
    name, propensity = opened.get("name"), opened.get("propensity")
    options = ReadOptions(**{key: value for key, value in opened.items() if key not in ("name", "propensity")})
    if recorded is not None and options.format is None:
        options = replace(options, format=fitting_format(recorded, place))
    source, chosen = _locate(place, options.format)
    if recorded is not None:
        taken, notes = fitting(recorded, source.train, options)
        options = replace(options, **taken)
        opened = {**opened, **options.given()}
        for note in notes:
            say(note)
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


def _test_alone(place: Path, chosen: Format, given: bool) -> tuple[Source, Format] | None:
    """The test side of a format in a folder without training texts; `given`: the user says that it has it."""
    file = find_file(place, TEXTS_OF_TEST.get(chosen.name, chosen.test))
    if file is None or not (given or chosen.looks_right(file)):
        return None
    beside = LABELS_OF_TEST.get(chosen.name)
    if beside is not None and find_file(place, beside) is None and not given:
        return None
    return Source(place, file, None, place.resolve().name, only=TEST), chosen


def _locate(place: Path, format: str | None) -> tuple[Source, Format]:
    """The files at a path; `Source.only` says that they are one split, and which files belong to it."""
    if place.is_dir():
        names = [name for name in FORMATS if format in (None, name)]
        if not any(find_file(place, FORMATS[name].train) for name in names):
            alone = [found for name in names if (found := _test_alone(place, FORMATS[name], format is not None))]
            both = [chosen.name for _, chosen in alone if chosen.name in LABELS_OF_TEST]
            if len(both) > 1:
                raise DataError(
                    f"test texts with the labels of {' and of '.join(both)}",
                    wanted="the labels of one format",
                    next_step='choose it with format="..." (--format)',
                    where=place,
                )
            if alone:
                return alone[0]
    source, chosen = locate(place, format=format)
    if place.is_dir():
        return source, chosen
    plain = place.name.removesuffix(".gz")
    return replace(source, only=TEST if plain == chosen.test else "trn"), chosen
