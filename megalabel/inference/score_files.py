"""Scores of the test texts in files of other programs, for rankings merged from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, line_of
from megalabel.inference.stored_files import Stored, columns_of, read_predictions
from megalabel.metrics.topk import checked_arrays
from megalabel.models.mixture import DEPTH
from megalabel.types import ScoreType, TopK

SUFFIXES = (".npz", ".txt", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")  # not .json, which run folders hold
PAIR = re.compile(r"(\d+):(\S+)")


class Scores(NamedTuple):
    """A ranking of the test texts.

    top: (N, k), best first, -1 for none.
    score_type: "probability" where all scores are from 0 to 1, else "logit".
    """

    top: TopK
    score_type: ScoreType


def is_scores(file: str | Path) -> bool:
    """Whether a path names a file of scores by its suffix, and no run."""
    path = Path(file)
    return path.name.endswith(SUFFIXES) and not path.is_dir()


def read_scores(file: str | Path, data: Corpus, n_texts: int) -> Scores:
    """Reads scores of `n_texts` texts over the labels of a data set, the best 50 of each where there are more.

    Formats: those of `inference.stored`, of which a matrix may have one column more than there are labels, the
    padding of CascadeXML; and text with pairs `label:score` on each line, optionally below a header `N L`.

    Raises:
        DataError: the file is missing, damaged, or of other texts or labels.
    """
    file = Path(file)
    if not file.is_file():
        raise DataError("no such file", wanted="a file of scores", where=file)
    top = (
        _ranked(list(_pairs(file)))
        if file.suffix == ".txt"
        else _of_labels(read_predictions(file, DEPTH), data, file)
    )
    ids, scores = checked_arrays(top)
    if len(ids) != n_texts or int(ids.max(initial=-1)) >= data.n_labels:
        raise DataError(
            f"scores of {len(ids):,} texts, labels up to {int(ids.max(initial=-1)):,}",
            wanted=f"{n_texts:,} texts and labels below {data.n_labels:,}, as the test side of {data.name} has",
            where=file,
        )
    known = scores[ids >= 0]
    inside = bool(len(known)) and float(known.min()) >= 0 and float(known.max()) <= 1
    return Scores(TopK(ids, scores), "probability" if inside else "logit")


def _of_labels(stored: Stored, data: Corpus, file: Path) -> TopK:
    """The ranking by the ids of the data set."""
    ids, scores = checked_arrays(stored.top)
    if stored.names is None:
        if stored.n_labels not in (None, data.n_labels, data.n_labels + 1):
            raise DataError(
                f"a matrix of {stored.n_labels:,} labels", wanted=f"{data.n_labels:,} labels", where=file
            )
        padding = (ids == data.n_labels) if stored.n_labels == data.n_labels + 1 else np.zeros_like(ids, bool)
        order = np.argsort(padding, axis=1, kind="stable")
        ids, scores = np.where(padding, -1, ids), np.where(padding, -np.inf, scores).astype(np.float32)
        return TopK(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))
    columns = np.append(columns_of(stored.names, data), -1)  # never empty
    unknown = np.flatnonzero(columns[:-1] < 0)
    if len(unknown):
        name = stored.names[int(unknown[0])].text
        raise DataError(f"the label {name!r}", wanted=f"a label of {data.name}", where=file)
    return TopK(np.where(ids < 0, -1, columns[ids]), scores)


def _pairs(file: Path) -> Iterator[list[tuple[int, float]]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", wanted="lines of pairs label:score", where=file) from error
    for number, line in enumerate(lines, 1):
        if number == 1 and re.fullmatch(r"\s*\d+\s+\d+\s*", line):
            continue
        found = PAIR.findall(line.replace(",", " "))
        try:
            if PAIR.sub("", line.replace(",", " ")).strip():
                raise ValueError("other text")
            pairs = [(int(label), float(score)) for label, score in found]
        except ValueError as error:
            raise DataError(f"{line[:60]!r}", wanted="pairs label:score", where=line_of(file, number)) from error
        yield pairs


def _ranked(rows: list[list[tuple[int, float]]]) -> TopK:
    k = max([len(row) for row in rows] + [1])
    ids, scores = np.full((len(rows), k), -1, np.int64), np.full((len(rows), k), -np.inf, np.float32)
    for i, row in enumerate(rows):
        best = sorted(row, key=lambda pair: -pair[1])
        ids[i, : len(row)] = [label for label, _ in best]
        scores[i, : len(row)] = [score for _, score in best]
    return TopK(ids, scores)
