"""Reads the labels of texts that callers give a model, by name or id, as a matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, of_type

SHOWN = 3  # labels that a message lists
ADD = "add them first: model = model.with_labels({name: texts, …}); `megalabel update` does both"


def label_rows(names: Sequence[str], labels: Any, n: int, where: str) -> sp.csr_matrix:
    """The labels of n texts as (n, L) CSR of ones, from such a matrix or a list for each text; None is none.

    Raises:
        DataError: another number of texts, or labels that are not among the names.
    """
    shape = (n, len(names))
    if labels is None:
        return sp.csr_matrix(shape, dtype=np.float32)
    if sp.issparse(labels):
        if labels.shape != shape:
            raise DataError(f"labels {labels.shape} for {n:,} texts", wanted=f"{shape}", where=where)
        return (labels.tocsr() > 0).astype(np.float32)
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Sequence) or len(labels) != n:
        found = f"a list of {len(labels):,}" if isinstance(labels, (list, tuple)) else of_type(labels)
        raise DataError(f"{found} as labels of {n:,} texts", wanted="a list for each text", where=where)
    return Columns(names).matrix(labels, 0)


class Columns:
    """The ids of labels by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self.n, self.ids = len(names), dict[str, int]()
        self.twice = {name for i, name in enumerate(names) if self.ids.setdefault(name, i) != i}

    def matrix(self, labels: Sequence[Any], first: int) -> sp.csr_matrix:
        """The labels of texts, of which the first has the number `first`: (n, L) CSR of ones."""
        rows, columns, missing = [], [], dict[str, int]()
        for i, own in enumerate(labels):
            if isinstance(own, (str, bytes)) or not isinstance(own, Iterable):
                raise DataError(
                    f"{own!r:.80} as the labels of text {first + i}",
                    wanted="a list of names or ids",
                    where="labels",
                )
            for label in own:
                if isinstance(label, str) and label not in self.ids:
                    missing.setdefault(label, first + i)
                    continue
                rows.append(i)
                columns.append(self._id(label, first + i))
        if missing:
            raise unknown(list(missing), f"text {next(iter(missing.values()))}")
        found = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(labels), self.n))
        found.data[:] = 1
        return found

    def _id(self, label: Any, text: int) -> int:
        if isinstance(label, str):
            if label in self.twice:
                raise DataError(f"several labels are called {label!r:.80}", wanted="ids of these", where="labels")
            return self.ids[label]
        whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
        if not (whole and 0 <= label < self.n):
            raise DataError(
                f"the label {label!r:.80} of text {text}",
                wanted=f"names of labels of the model, or ids from 0 to {self.n - 1}",
                where="labels",
            )
        return int(label)


def unknown(names: Sequence[str], where: str) -> DataError:
    """The error for labels that a model does not have."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return DataError(
        f"labels that the model does not have: {', '.join(repr(name) for name in names[:SHOWN])}{more}",
        wanted="labels of the model",
        next_step=ADD,
        where=where,
    )
