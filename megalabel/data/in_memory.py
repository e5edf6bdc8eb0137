"""Makes a data set from values in memory: lists of texts with lists of labels, or a sparse matrix of labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.assembly import check_data, check_largest_id
from megalabel.data.catalog import check_name
from megalabel.data.findings import Findings
from megalabel.data.given import GivenRows, given_row, given_rows, given_texts, given_values
from megalabel.data.id_forms import IdForm
from megalabel.data.label_rows import LabelRows, label_matrix
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split, Unseen
from megalabel.data.vocabulary import Vocabulary
from megalabel.data.zeros_and_ones import are_flags, as_integers
from megalabel.errors import DataError, MegalabelError

GivenSplit = tuple[Iterable[str] | None, Any, np.ndarray | None]  # texts, labels, filter pairs


def data_from_memory(
    train: GivenSplit,
    test: GivenSplit,
    *,
    label_texts: Iterable[str] | None,
    name: str,
    weights: Any = None,
    sources: Any = None,
    test_sources: Any = None,
) -> CorpusData:
    """Makes a data set of a training and a test split; see `Corpus.of`."""
    findings, name = Findings(), check_name(name)
    given = given_rows(train[1], "labels")
    texts = given_texts(train[0], "texts")
    vocabulary = _vocabulary(given, label_texts, findings)
    rows, _, flags = _label_rows(given, vocabulary, "labels")
    vocabulary.stop_learning()
    if vocabulary.n_listed is None and not vocabulary.by_name:
        check_largest_id(rows, vocabulary.n_labels)
    if (test[0] is None) != (test[1] is None):
        raise DataError("only one of test_texts and test_labels is given", wanted="both or none")
    if test[0] is None and test[2] is not None:
        raise DataError("test_filter without test_texts", wanted="the texts and labels that it belongs to")
    test_given, test_rows, unseen = None, None, None
    if test[0] is not None:
        test_given = given_rows(test[1], "test_labels")
        test_rows, unseen, _ = _label_rows(test_given, vocabulary, "test_labels")
    filtered, form = train[2] is not None or test[2] is not None, IdForm()
    if given.width is None:
        compared = test_rows if test_given is not None and test_given.width is None else None
        form = IdForm.of(rows, compared, vocabulary, findings, flags=flags, filtered=filtered)
        rows, _ = form.apply(rows, None)
    n_labels, names = form.n_labels(vocabulary), form.names(vocabulary)
    first = _split(texts, rows, train[2], n_labels, "texts", None)
    second = None
    if test_given is not None and test_rows is not None:
        if test_given.width is None:
            test_rows, unseen = form.apply(test_rows, unseen)
        second = _split(given_texts(test[0], "test_texts"), test_rows, test[2], n_labels, "test_texts", unseen)
    first = replace(first, **given_values(weights, sources, len(first))._asdict())
    if second is not None:
        second = replace(second, **given_values(None, test_sources, len(second), "test_")._asdict())
    elif test_sources is not None:
        raise DataError("test_sources without test_texts", wanted="the texts that they belong to")
    return check_data(CorpusData(name, first, second, names), findings, "label_texts")


def _vocabulary(given: GivenRows, label_texts: Iterable[str] | None, findings: Findings) -> Vocabulary:
    """The label names: those that are given, else those of a table, else the numbers of a matrix."""
    listed = None if label_texts is None else given_texts(label_texts, "label_texts")
    if listed is None and given.names is not None:
        listed = given_texts(given.names, "labels.columns")
    elif listed is None and given.width is not None:
        listed = Texts.numbers(given.width)
    return Vocabulary(listed, None if listed is None else Path("label_texts"), findings, in_memory=True)


def _label_rows(given: GivenRows, vocabulary: Vocabulary, argument: str) -> tuple[LabelRows, Unseen | None, bool]:
    """The labels of each text, those without a column, and whether a row can only be zeros and ones."""
    ids: list[int] = []
    counts: list[int] = []
    unseen_rows: list[int] = []
    unseen_names: list[str] = []
    flags = False  # the first row with labels decides
    for i, row in enumerate(given.rows):
        plain: Sequence[object] = given_row(row, f"{argument}[{i}]")
        if are_flags(plain) and (flags or not ids):
            flags, plain = True, as_integers(plain)
        try:
            columns, unknown = vocabulary.columns(plain, Path(argument), i)
        except MegalabelError as error:
            raise DataError(
                error.found, wanted=error.wanted, next_step=error.next_step, where=f"{argument}[{i}]"
            ) from None
        ids += columns
        counts.append(len(columns))
        unseen_rows += [i] * len(unknown)
        unseen_names += unknown
    rows = LabelRows(
        Path(argument), np.array(ids, dtype=np.int64), np.array(counts, dtype=np.int64), np.arange(len(counts))
    )
    if not unseen_names:
        return rows, None, flags
    return rows, Unseen(np.array(unseen_rows, dtype=np.int64), Texts.from_strings(unseen_names)), flags


def _split(
    texts: Texts, rows: LabelRows, pairs: Any, n_labels: int, argument: str, unseen: Unseen | None
) -> Split:
    if len(texts) != len(rows):
        raise DataError(
            f"{len(texts):,} texts and {len(rows):,} rows of labels",
            wanted="one row of labels for each text",
            next_step="give an empty list for a text without labels",
            where=argument,
        )
    if pairs is not None:
        try:
            pairs = np.asarray(pairs)
        except ValueError:  # rows of several lengths
            pairs = np.zeros(0)
        valid = pairs.ndim == 2 and pairs.shape[1] == 2 and np.issubdtype(pairs.dtype, np.integer)
        if not valid or (pairs < 0).any() or (pairs >= (len(texts), n_labels)).any():
            raise DataError(
                "filter pairs that are not rows and labels of this split",
                wanted=f"integers (F, 2): rows below {len(texts)}, labels below {n_labels}",
                next_step="check the array's shape, dtype and largest values",
                where="filter",
            )
        pairs = pairs.astype(np.int64)
    return Split(texts, label_matrix(rows, n_labels, Findings(), "label_texts has"), pairs, None, unseen)
