"""Values that users pass in memory: texts and rows of labels from lists, arrays, series, sets and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.row_values import Values, check_not_all_zero, parsed_source, parsed_weight
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.vocabulary import surrogate_error
from megalabel.errors import DataError, of_type


def given_texts(texts: Any, argument: str) -> Texts:
    """The texts, checked to be strings without lone surrogates.

    Raises:
        DataError: something else than one-dimensional texts, named with what to give instead.
    """
    if isinstance(texts, Texts):
        return texts
    builder = TextsBuilder()
    for i, text in enumerate(_sequence(texts, argument, "a list of strings")):
        if not isinstance(text, str):
            raise DataError(
                f"{of_type(text)}{_shown_if_missing(text)}", wanted="a string", where=f"{argument}[{i}]"
            )
        try:
            builder.add_valid(text)
        except UnicodeEncodeError as error:
            raise surrogate_error(error, f"{argument}[{i}]") from None
    return builder.done()


def given_values(weights: Any, sources: Any, n: int, side: str = "") -> Values:
    """The weights and sources of n texts; a weight that is None is 1, a source that is None has no name.

    Raises:
        DataError: another number of values than texts, or a value that is no weight or source.
    """
    of_texts = _parsed(weights, f"{side}weights", parsed_weight, 1.0, n)
    names = _parsed(sources, f"{side}sources", parsed_source, "", n)
    found = Values(
        None if of_texts is None else np.array(of_texts, dtype=np.float64),
        None if names is None else Texts.from_strings(names),
    )
    if found.weights is not None and not side:
        check_not_all_zero(found.weights, "weights")
    return found


def _parsed(
    values: Any, argument: str, parse: Callable[[object, str], Any], missing: Any, n: int
) -> list[Any] | None:
    """The parsed values of n texts, with `missing` in place of None; None where no values are given."""
    if values is None:
        return None
    found = [
        missing if value is None else parse(_plain(value), f"{argument}[{i}]")
        for i, value in enumerate(_sequence(values, argument, "a list of one value per text"))
    ]
    if len(found) != n:
        raise DataError(f"{len(found):,} {argument}", wanted=f"{n:,}, one per text", where=argument)
    return found


class GivenRows(NamedTuple):
    """Rows of labels as they were given.

    Attributes:
        rows: the labels of each text.
        names: the label names, where the columns of a table are those; the rows then hold names.
        width: the number of labels of a matrix, whose rows then hold ids.
    """

    rows: Iterable[Any]
    names: list[str] | None = None
    width: int | None = None


def given_rows(labels: Any, argument: str) -> GivenRows:
    """The labels row by row; those of a matrix or table of ones and zeros are the columns of the ones.

    Raises:
        DataError: something else than rows of labels, named with what to give instead.
    """
    if not sp.issparse(labels) and _n_dimensions(labels) < 2:
        return GivenRows(
            _sequence(labels, argument, "a list of labels for each text, or a matrix of ones and zeros")
        )
    if getattr(getattr(labels, "dtype", None), "kind", "") == "U":
        return GivenRows(labels)
    rows = _matrix_rows(labels if sp.issparse(labels) else _array(labels, argument), argument)
    names = getattr(labels, "columns", None)
    if names is not None and all(isinstance(name, str) for name in names):
        names = list(names)
        return GivenRows(([names[i] for i in row.tolist()] for row in rows), names)
    return GivenRows(rows, width=int(labels.shape[1]))


def given_row(row: Any, where: str) -> list[Any]:
    """The labels of one text as plain values; those of a set are sorted, since its order changes from run to run.

    Raises:
        DataError: no several labels, or labels with scores.
    """
    if isinstance(row, Mapping):
        raise DataError(
            f"{of_type(row)} of labels with values: {str(dict(row))[:100]}",
            wanted="the labels alone, since a text either has a label or does not",
            next_step="keep those of a high score: [name for name, score in row.items() if score > 0.5]",
            where=where,
        )
    if isinstance(row, str | bytes) or not isinstance(row, Iterable) or getattr(row, "ndim", 1) == 0:
        raise DataError(
            f"{row!r} instead of several labels"[:200],
            wanted="a list of labels for each text, [] where it has none",
            next_step="write [label] for a single label, and split a string that holds several",
            where=where,
        )
    plain = [_plain(label) for label in _listed(row)]
    if isinstance(row, set | frozenset):
        plain.sort(key=lambda label: (0, label, "") if isinstance(label, int) else (1, 0, str(label)))
    return plain


def _sequence(values: Any, argument: str, wanted: str) -> Iterable[Any]:
    """The values, if they are a sequence; else DataError that says what was given."""
    columns = _columns(values)
    step = None
    if isinstance(values, str | bytes):
        found = "one string" if isinstance(values, str) else "bytes"
    elif isinstance(values, Mapping):
        found, step = f"{of_type(values)} with keys", "give one of its values, or list(….values())"
    elif isinstance(values, set | frozenset):
        found = f"{of_type(values)}, which has no order"
        step = "give a list, in the order of the other argument"
    elif columns:
        found = f"a table with the columns {', '.join(columns)[:120]}"
        step = f'give one column, for example data["{columns[0]}"]'
    elif _n_dimensions(values) != 1:
        found = f"an array of shape {tuple(getattr(values, 'shape', ()))}"
        step = "give one dimension, for example array.ravel()"
    elif isinstance(values, Iterable):
        return _listed(values)
    else:
        found = of_type(values)
    raise DataError(found, wanted=wanted, next_step=step, where=argument)


def _columns(values: Any) -> list[str]:
    """The names of the columns of a table of pandas, polars, Arrow or Hugging Face; none for anything else."""
    for attribute in ("column_names", "columns"):
        names = getattr(values, attribute, None)
        if isinstance(names, Iterable) and not isinstance(names, str):
            return [str(name) for name in names]
    return []


def _listed(values: Iterable[Any]) -> Iterable[Any]:
    """The values; those of Arrow as Python's."""
    to_list = getattr(values, "to_pylist", None)
    found: Iterable[Any] = to_list() if callable(to_list) else values
    return found


def _plain(label: Any) -> Any:
    """A label as Python's own value, where it is a scalar of numpy or a tensor."""
    scalar = isinstance(label, np.generic) or (getattr(label, "ndim", None) == 0 and hasattr(label, "item"))
    return label.item() if scalar else label


def _shown_if_missing(value: Any) -> str:
    """How a missing text is shown, such as nan."""
    shown = str(value)
    return f" ({shown})" if shown in ("nan", "<NA>", "NaT", "None") else ""


def _n_dimensions(values: Any) -> int:
    n = getattr(values, "ndim", 1)
    return n if isinstance(n, int) else 1


def _array(labels: Any, argument: str) -> np.ndarray:
    """A dense matrix as a numpy array; DataError unless it is one of zeros and ones."""
    array = np.asarray(labels)
    if array.ndim == 2 and (array.dtype.kind in "biuf" or array.dtype == object):
        wrong = ~np.isin(array, (0, 1)) if array.dtype != object else np.ones_like(array, dtype=bool)
        if not wrong.any():
            return array
        value = f", which holds {array[wrong][0]!s:.40}"
    else:
        value = f" and type {array.dtype}"
    raise DataError(
        f"a dense array of shape {array.shape}{value}",
        wanted="a list of labels for each text, or a matrix (N, L) of zeros and ones",
        next_step="give array.tolist() if its rows are ids or names of labels",
        where=argument,
    )


def _matrix_rows(labels: Any, argument: str) -> list[np.ndarray]:
    matrix = sp.csr_matrix(labels)
    if matrix.nnz and not (matrix.data == 1).all():
        value = matrix.data[matrix.data != 1][0]
        raise DataError(
            f"the value {value} in the matrix",
            wanted="ones only, since a text either has a label or does not",
            next_step="drop stored zeros (eliminate_zeros) and set the other values to 1",
            where=argument,
        )
    return np.split(matrix.indices, matrix.indptr[1:-1]) if matrix.shape[0] else []
