"""Reads stored predictions: npz and JSON lines of `megalabel predict`, and sparse npz as PECOS writes it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.types import CorpusData
from megalabel.errors import DataError, MegalabelError, line_of
from megalabel.inference.source import open_source
from megalabel.metrics.topk import checked_arrays, topk_from_csr
from megalabel.types import TopK

NPZ, LINES = (".npz",), (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
BY_NAME = '{"labels": [{"label": …, "score": …}, …]}'


class Name(NamedTuple):
    """A label in a file: its name, and its id and its URI, if it has them there."""

    text: str
    id: int | None = None
    uri: str = ""


class Stored(NamedTuple):
    """Rankings of N texts.

    top: (N, k) ids, of `names` where there are some, else of the labels of the data set in their order.
    names: the names of the labels; None where the file holds ids alone.
    n_labels: the number of labels that the file says there are; None where it does not say.
    score_type: what the scores are; "" where the file does not say.
    """

    top: TopK
    names: list[Name] | None
    n_labels: int | None = None
    score_type: str = ""

    @property
    def names_and_uris(self) -> list[str] | None:
        """The names and the URIs of the labels, in no columns; None where the file holds ids alone."""
        if self.names is None:
            return None
        return [text for name in self.names for text in (name.text, name.uri) if text]


def is_predictions(path: Path) -> bool:
    """Whether a path is a file with the suffix of stored predictions."""
    return path.is_file() and path.name.lower().endswith((*NPZ, *LINES))


def read_predictions(path: Path, k: int) -> Stored:
    """The rankings in a file, at most k labels of each text where the file is a sparse matrix.

    Raises:
        DataError: the file is damaged, or holds something else than rankings.
    """
    return _read_npz(path, k) if path.name.lower().endswith(NPZ) else _read_lines(path)


def _read_npz(path: Path, k: int) -> Stored:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            if {"labels", "scores"} <= set(found.files):
                top = TopK(*checked_arrays(TopK(found["labels"], found["scores"])))
                kind = str(found["score_type"]) if "score_type" in found.files else ""
                return Stored(top, None, score_type=kind)
            names = ", ".join(found.files)[:80]
        if "indptr" in names:
            matrix = sp.load_npz(path).tocsr()
            most = int(np.diff(matrix.indptr).max(initial=1))
            return Stored(topk_from_csr(matrix, max(min(k, most), 1)), None, matrix.shape[1])
    except MegalabelError as error:  # of the shapes and types of the arrays
        raise DataError(error.found, wanted=error.wanted, next_step=error.next_step, where=path) from error
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot be read as npz ({str(error)[:80]})",
            wanted="an npz file of predictions",
            next_step="write it again with `megalabel predict -o FILE.npz`",
            where=path,
        ) from error
    raise DataError(
        f"an npz file with the arrays {names}",
        wanted="the arrays labels and scores, or a scipy sparse matrix (texts × labels)",
        next_step="write it with `megalabel predict -o FILE.npz` or scipy.sparse.save_npz",
        where=path,
    )


def _read_lines(path: Path) -> Stored:
    index: dict[Name, int] = {}
    rows: list[tuple[list[int], list[float]]] = []
    kind = ""
    with open_source(path) as source:
        for number, line in source.lines():
            if line.strip():
                names, scores, kind = _ranking(line, line_of(path, number))
                rows.append(([index.setdefault(name, len(index)) for name in names], scores))
    width = max((len(ids) for ids, _ in rows), default=0)
    ids, values = np.full((len(rows), max(width, 1)), -1, np.int64), np.full((len(rows), max(width, 1)), -np.inf)
    for i, (row, scores) in enumerate(rows):
        ids[i, : len(row)], values[i, : len(row)] = row, scores
    order = np.argsort(-values, axis=1, kind="stable")
    ids, values = np.take_along_axis(ids, order, 1), np.take_along_axis(values, order, 1)
    return Stored(TopK(ids, values.astype(np.float32)), list(index), score_type=kind)


def _ranking(line: str, where: str) -> tuple[list[Name], list[float], str]:
    """The names of the labels on a line, their scores, and what these are; without scores the order counts."""
    try:
        value = json.loads(line)
        labels = value["labels"] if isinstance(value, dict) else value
        names: list[Name] = []
        scores: list[float] = []
        for i, label in enumerate(labels):
            name = label["label"] if isinstance(label, dict) else label
            score = label.get("score", -i) if isinstance(label, dict) else -i
            if isinstance(name, bool) or not isinstance(name, (str, int)) or score != score:
                raise ValueError(f"label {name!r}")
            at, uri = (label.get(key) if isinstance(label, dict) else None for key in ("id", "uri"))
            names.append(Name(str(name), at if isinstance(at, int) else None, uri if isinstance(uri, str) else ""))
            scores.append(float(score))
        kind = value.get("score_type", "") if isinstance(value, dict) else ""
        return names, scores, str(kind)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"no ranking of labels ({str(error)[:60]})",
            wanted=f"a line as `megalabel predict` writes it, {BY_NAME}",
            next_step="give a file that `megalabel predict -o FILE.jsonl` wrote",
            where=where,
        ) from error


def columns_of(names: Sequence[Name], data: CorpusData) -> np.ndarray:
    """The labels of a data set that names in a file stand for, −1 for none: (n,) int64.

    A label is found by its URI, else by name and id, else by name.
    """
    by_name: dict[str, int] = {}
    for i, text in enumerate(data.label_texts):
        by_name.setdefault(text, i)
    uris = None if data.metadata is None else data.metadata.for_matching()
    by_uri = {uri: i for i, uri in enumerate(uris or ()) if uri}

    def column(name: Name) -> int:
        if name.uri in by_uri:
            return by_uri[name.uri]
        if name.id is not None and 0 <= name.id < data.n_labels and data.label_texts[name.id] == name.text:
            return name.id
        return by_name.get(name.text, -1)

    return np.array([column(name) for name in names], np.int64)
