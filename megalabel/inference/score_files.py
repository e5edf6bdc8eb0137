"""Scores of the test texts in files of other programs, and rankings merged from them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, line_of
from megalabel.metrics.topk import checked_arrays, topk_from_csr
from megalabel.models.mixture import DEPTH
from megalabel.types import ScoreType, TopK

SUFFIXES = (".npz", ".jsonl", ".txt")
WANTED = (
    "npz of `megalabel predict` or scipy.sparse.save_npz, JSON lines of `megalabel predict`, or lines label:score"
)
PAIR = re.compile(r"(\d+):(\S+)")


class Scores(NamedTuple):
    """A ranking of the test texts.

    top: (N, k), best first, -1 for none.
    score_type: "probability" where all scores are from 0 to 1, else "logit".
    """

    top: TopK
    score_type: ScoreType


def read_scores(file: str | Path, data: Corpus, n_texts: int) -> Scores:
    """Reads scores of `n_texts` texts over the labels of a data set, at least the best 50 of each.

    Formats: npz with the arrays `labels` and `scores` (N, k), as `megalabel predict` writes it; npz of a scipy
    sparse matrix (N, L), as PECOS and `evaluate --export` write it, or (N, L + 1), as CascadeXML does, whose last
    column is padding; JSON lines of `megalabel predict`, matched by the labels' texts; text with pairs
    `label:score` on each line, optionally below a header `N L`.

    Raises:
        DataError: the file is missing, damaged, or of other texts or labels.
    """
    file = Path(file)
    try:
        if file.suffix == ".npz":
            top = _from_npz(file, data.n_labels)
        else:
            reader = _json_lines if file.suffix == ".jsonl" else _pairs
            top = _ranked(list(reader(file, data)), data.n_labels)
        ids, scores = checked_arrays(top)
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot be read as scores ({error})", wanted=WANTED, where=file) from error
    if len(ids) != n_texts or int(ids.max(initial=-1)) >= data.n_labels:
        raise DataError(
            f"scores of {len(ids):,} texts, labels up to {int(ids.max(initial=-1)):,}",
            wanted=f"{n_texts:,} texts and labels below {data.n_labels:,}, as the test side of {data.name} has",
            where=file,
        )
    known = scores[ids >= 0]
    inside = bool(len(known)) and float(known.min()) >= 0 and float(known.max()) <= 1
    return Scores(TopK(ids, scores), "probability" if inside else "logit")


def _from_npz(file: Path, n_labels: int) -> TopK:
    with open(file, "rb") as raw, np.load(raw, allow_pickle=False) as found:
        if {"labels", "scores"} <= set(found.files):
            return TopK(found["labels"], found["scores"])
    matrix = sp.csr_matrix(sp.load_npz(file))
    if matrix.shape[1] == n_labels + 1:
        matrix = matrix[:, :n_labels]
    if matrix.shape[1] != n_labels:
        raise DataError(f"a matrix of {matrix.shape[1]:,} labels", wanted=f"{n_labels:,} labels", where=file)
    return topk_from_csr(matrix, min(DEPTH, n_labels))


def _json_lines(file: Path, data: Corpus) -> Iterator[list[tuple[int, float]]]:
    ids: dict[str, int] = {}
    for i, text in enumerate(data.label_texts):
        ids.setdefault(text, i)
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        row: Any = json.loads(line)
        pairs: list[tuple[int, float]] = []
        for one in row["labels"]:
            label: int | None = ids.get(str(one["label"])) if "label" in one else int(one["id"])
            if label is None:
                raise DataError(
                    f"the label {one['label']!r}", wanted=f"a label of {data.name}", where=line_of(file, number)
                )
            pairs.append((label, float(one["score"])))
        yield pairs


def _pairs(file: Path, data: Corpus) -> Iterator[list[tuple[int, float]]]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if number == 1 and re.fullmatch(r"\s*\d+\s+\d+\s*", line):
            continue
        if PAIR.sub("", line).strip(" \t,"):
            raise DataError(f"{line[:60]!r}", wanted="pairs label:score", where=line_of(file, number))
        yield [(int(label), float(score)) for label, score in PAIR.findall(line.replace(",", " "))]


def _ranked(rows: list[list[tuple[int, float]]], n_labels: int) -> TopK:
    k = max([len(row) for row in rows] + [1])
    ids, scores = np.full((len(rows), k), -1, np.int64), np.full((len(rows), k), -np.inf, np.float32)
    for i, row in enumerate(rows):
        row = sorted(row, key=lambda pair: -pair[1])
        ids[i, : len(row)] = [label for label, _ in row]
        scores[i, : len(row)] = [score for _, score in row]
    return TopK(ids, scores)
