"""Bags of words as input: rows of features that a file has in place of texts, brought to length 1 and no more."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.inputs.tfidf import l2_rows
from megalabel.inputs.token_store import check_texts
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus, Split
    from megalabel.data.texts import Texts

MOST = 2**31 - 1  # features: the kernels number them in int32


class Bags:
    """V features of which nothing is known but their number: what `SparseText` is for texts.

    Raises:
        DataError: no feature, or more than can be numbered.
    """

    def __init__(self, size: int) -> None:
        if type(size) is not int or not 0 < size <= MOST:
            raise DataError(
                f"bags of words of {size} features",
                wanted=f"1 to {MOST:,}",
                next_step="correct the header `N V L` of the training file",
            )
        self.size = size

    @classmethod
    def of(cls, rows: sp.csr_matrix) -> Bags:
        """The features of a training side (N, V); DataError where no row has any, or a value is NaN or inf."""
        bags = cls(rows.shape[1])
        if not bags.check(rows).count_nonzero():
            raise DataError(
                f"not one of {rows.shape[0]:,} training rows has a feature",
                wanted="rows such as `label,label feature:value feature:value`",
                next_step="look at the training file",
            )
        return bags

    def check(self, rows: object) -> sp.csr_matrix:
        """The rows (N, V) as CSR.

        Raises:
            DataError: no sparse matrix, such as texts; a damaged one, one of other columns, NaN or inf.
        """
        if not sp.issparse(rows):
            raise DataError(
                f"a {type(rows).__name__}",
                wanted=f"a scipy sparse matrix (N, {self.size:,}): the model was trained on bags of words",
                next_step="give each text as a row of the training file's features, or train on texts",
                where="texts",
            )
        found = as_rows(rows, "texts")
        if found.shape[1] != self.size:
            raise DataError(
                f"rows of {found.shape[1]:,} features",
                wanted=f"{self.size:,}, as many as the model was trained on",
                next_step="make them with the vocabulary of the training file",
                where="texts",
            )
        return found

    def transform(self, rows: object) -> sp.csr_matrix:
        """A copy, (N, V) float32 CSR with rows of length 1; rows of zeros stay. Errors as `check` has them."""
        found = self.check(rows)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            found = l2_rows(found.astype(np.float32))
        check_finite(found.data, "texts")
        return found


def given(split: Split, data: Corpus, n_features: int | None) -> Texts | sp.csr_matrix:
    """What a model is asked about: a side's texts or, where the model reads rows of `n_features`, its features.

    Raises:
        DataError: the side holds the other of the two.
    """
    if n_features is None:
        check_texts(split, data)
        return split.texts
    if split.features is None:
        raise DataError(
            f"{data.name} holds texts, the model was trained on bags of words",
            wanted=f"rows of its {n_features:,} features",
            next_step="give the bag-of-words files of the same vocabulary, or train on these texts",
            where=data.path,
        )
    return split.features


def refuse_text_settings(of: Callable[..., Any], **settings: Any) -> None:
    """SettingError for the first of these arguments of a function that is not at its default."""
    for name, value in settings.items():
        default = inspect.signature(of).parameters[name].default
        if value != default:
            raise SettingError(
                f"{name} = {value!r}, which bags of words do not have: they come as they are",
                wanted=f"{name} = {default!r}, the default",
                next_step="leave it out (or give the default, where a preset has another value)",
            )
