"""Predicts the best labels of a stream of texts or bags of words, and writes them as JSON lines or as npz."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import scipy.sparse as sp

from megalabel.data.formats.features import read_features
from megalabel.errors import DataError
from megalabel.inference.expected import ExpectedRows, expected_rows, total_of
from megalabel.inference.guess import BAGS, PLAIN
from megalabel.inference.reading import read_rows
from megalabel.inference.record import Row, Say, TextOptions
from megalabel.labels.ancestors import Ancestors
from megalabel.models.answer import answer, given_in
from megalabel.models.asking import LABELS, Asked, Tail
from megalabel.models.base import Classifier
from megalabel.models.chunked import described
from megalabel.models.label_lists import Choice
from megalabel.models.prediction_files import format_of, save
from megalabel.models.predictions import Predictions
from megalabel.progress import Progress

BLOCK = 8192  # texts that are in memory at once
DEFAULTS = TextOptions()
CELLS = 1 << 26  # labels of the texts of a block together, at most


class Wanted(NamedTuple):
    """What of a ranking is written; see `megalabel.models.asking.Asked`.

    k: labels per text, all where a model has fewer; None for 10, or for all labels of a set with `coverage`.
    probabilities: whether scores are turned into probabilities.
    threshold: the least score of a label; None for no limit. It counts on what is written: probabilities if asked.
    min_labels: the best labels that are written whatever their scores.
    precision, coverage, tail, ancestors, language: as in `Classifier.predict`.
    allow, deny: labels, by name or id, for all texts.
    """

    k: int | None = LABELS
    probabilities: bool = False
    threshold: float | None = None
    min_labels: int = 0
    precision: float | None = None
    coverage: float | None = None
    tail: Tail = 0.0
    ancestors: Ancestors | None = None
    language: str | None = None
    allow: Sequence[str | int] | None = None
    deny: Sequence[str | int] | None = None

    def asked(self, model: Classifier) -> Asked:
        """What is asked of a model; SettingError for values that do not fit each other or the model."""
        return Asked(*self[:-2]).checked(model)

    def check(self, model: Classifier) -> None:
        """SettingError for values that do not fit each other or the model."""
        self.asked(model)
        Choice.read(model, self.allow, self.deny, None)


def stream_texts(
    path: str | Path, stream: IO[bytes] | None = None, options: TextOptions = DEFAULTS
) -> Iterator[str]:
    """Yields the texts of a file or, for "-", of `stream`; errors as `read_rows`."""
    return (row.text for row in read_rows(path, stream, options, lambda line: None))


def read_inputs(
    model: Classifier,
    path: str | Path,
    stream: IO[bytes] | None = None,
    options: TextOptions = DEFAULTS,
    say: Say = lambda line: None,
) -> Iterator[Row] | sp.csr_matrix:
    """Reads the inputs of a model: rows of texts as `read_rows` does, or all rows of a bag-of-words file.

    Raises:
        DataError: as `read_rows`; or the model reads bags of words and the file holds none.
    """
    if model.n_features is None:
        known = model.trained_on
        if not options.data_name and known is not None:
            options = options._replace(data_name=known.name)
        return ExpectedRows(read_rows(path, stream, options, say), expected_rows(path))
    file, wanted = Path(path), "a bag-of-words file, since the model was trained on bags of words"
    if str(path) == "-":
        raise DataError("standard input", wanted=wanted, next_step="give a file with the header `N V L`")
    if file.is_dir() or not file.exists():
        raise DataError("a folder" if file.is_dir() else "no such file", wanted=wanted, where=path)
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix not in (*PLAIN, *BAGS):
        raise DataError(
            f"a file of texts ({suffix})",
            wanted=wanted,
            next_step="give a file with the header `N V L`, or train a model on texts",
            where=path,
        )
    return read_features(file)


def write_jsonl(
    model: Classifier,
    texts: Iterable[Row | str] | sp.csr_matrix,
    wanted: Wanted | int,
    file: IO[str],
    progress: str = "",
) -> int:
    """Writes one line per text, best label first, after the fields that its record has beside the text:

        {"id": 7, "score_type": "probability", "labels": [{"id": …, "label": …, "score": …}, …]}

    Returns:
        The number of texts.
    """
    n = 0
    for block in answers(model, texts, wanted, progress):
        block.write(file)
        n += len(block)
    return n


def write_file(
    model: Classifier,
    texts: Iterable[Row | str] | sp.csr_matrix,
    wanted: Wanted | int,
    path: str | Path,
    progress: str = "",
    *,
    first: int = 0,
) -> int:
    """Writes a file in the format of its suffix (see `prediction_files.format_of`); returns the number of texts.

    A model that cuts texts adds how to npz and Parquet, as `chunks` and `chunk_pooling`.

    Args:
        model: the model.
        texts: rows, texts, or a sparse matrix of bags of words.
        wanted: what of the rankings is written.
        path: the file, which appears whole or not at all.
        progress: the title of a progress bar; "" for none.
        first: the number of the first text among those of several files.

    Raises:
        SettingError: another suffix, or what `Wanted.check` refuses.
        DataError: no texts for npz; and what reading the texts raises.
    """
    blocks = answers(model, texts, wanted, progress)
    if format_of(path) == "npz":
        begin = next(blocks, None)
        if begin is None:
            raise DataError("no texts", wanted="at least one text", where=path)
        blocks = chain([begin], blocks)
    return save(blocks, path, first=first, about=described(model))


def answers(
    model: Classifier, texts: Iterable[Row | str] | sp.csr_matrix, wanted: Wanted | int, progress: str = ""
) -> Iterator[Predictions]:
    """Yields the answers to blocks of texts, with the fields beside the texts."""
    wanted = Wanted(wanted) if isinstance(wanted, int) else wanted
    asked, choice = wanted.asked(model), Choice.read(model, wanted.allow, wanted.deny, None)
    with Progress(progress, total_of(texts)) as shown:
        for fields, block in _blocks(texts, max(1, min(BLOCK, CELLS // (asked.k or 1)))):
            found = answer(model, model.check_texts(block), asked, choice, given=given_in(fields))
            shown.advance(len(found))
            yield replace(found, fields=fields)


def _blocks(texts: Any, size: int) -> Iterator[tuple[list[dict[str, Any]], Any]]:
    """Yields lists of texts with the fields beside them, or blocks of rows of a matrix."""
    if sp.issparse(texts):
        for start in range(0, texts.shape[0], size):
            block = texts[start : start + size]
            yield [{}] * block.shape[0], block
        return
    rows = (row if isinstance(row, Row) else Row(row, {}) for row in texts)
    while part := list(islice(rows, size)):
        yield [row.fields for row in part], [row.text for row in part]
