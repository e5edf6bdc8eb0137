"""BagOfWords of words as input: the features of a file without texts, scaled to rows of length 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError, of_type
from megalabel.inputs.needs_texts import check_texts
from megalabel.inputs.tfidf import l2_rows
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus, Split
    from megalabel.data.texts import Texts

MAX_FEATURES = 2**31 - 1  # the kernels number features in int32


class BagOfWords:
    """The V features of bags of words, of which only the number is known; the counterpart of `SparseText`.

    Raises:
        DataError: there are no features, or more than int32 can number.
    """

    def __init__(self, size: int) -> None:
        if type(size) is not int or not 0 < size <= MAX_FEATURES:
            raise DataError(
                f"bags of words of {size} features",
                wanted=f"1 to {MAX_FEATURES:,}",
                next_step="correct the header `N V L` of the training file",
            )
        self.size = size

    @classmethod
    def from_rows(cls, rows: sp.csr_matrix) -> BagOfWords:
        """The features of training rows (N, V); DataError if all rows are empty, or a value is NaN or inf."""
        bags = cls(rows.shape[1])
        if not bags.check(rows).count_nonzero():
            raise DataError(
                f"none of {rows.shape[0]:,} training rows has a feature",
                wanted="rows such as `label,label feature:value feature:value`",
            )
        return bags

    def check(self, rows: object) -> sp.csr_matrix:
        """Checks rows, and returns them as CSR (N, V).

        Raises:
            DataError: the rows are not a sparse matrix (but texts, for example), are damaged, have another
                number of columns, or hold NaN or inf.
        """
        if not sp.issparse(rows):
            raise DataError(
                of_type(rows),
                wanted=f"a scipy sparse matrix (N, {self.size:,}), since the model was trained on bags of words",
                next_step="give each text as a row of the features of the training file, or train on texts",
                where="texts",
            )
        found = as_rows(rows, "texts")
        if found.shape[1] != self.size:
            raise DataError(
                f"rows of {found.shape[1]:,} features",
                wanted=f"{self.size:,}, as in training",
                next_step="make them with the vocabulary of the training file",
                where="texts",
            )
        return found

    def transform(self, rows: object) -> sp.csr_matrix:
        """A copy of the rows with length 1: (N, V) float32 CSR; rows of zeros stay. Raises as `check` does."""
        found = self.check(rows)
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            found = l2_rows(found.astype(np.float32))
        check_finite(found.data, "texts")
        return found


def model_inputs(split: Split, data: Corpus, n_features: int | None) -> Texts | sp.csr_matrix:
    """The inputs of a split for a model: its texts or, for a model of bags of words, its features (N, V).

    Args:
        split: the split.
        data: the data set of the split, for messages.
        n_features: the number of features that the model reads; None for a model that reads texts.

    Raises:
        DataError: the split holds texts where the model reads features, or the other way around.
    """
    if n_features is None:
        check_texts(split, data)
        return split.texts
    if split.features is None:
        raise DataError(
            f"{data.name} holds texts, the model was trained on bags of words",
            wanted=f"rows of its {n_features:,} features",
            next_step="give bag-of-words files of the same vocabulary, or train on these texts",
            where=data.path,
        )
    return split.features


def check_text_settings_unused(function: Callable[..., Any], **settings: Any) -> None:
    """Raises SettingError if one of these arguments of `function`, which only texts need, is not its default."""
    for name, value in settings.items():
        default = inspect.signature(function).parameters[name].default
        if value != default:
            raise SettingError(
                f"{name} = {value!r}, which has no meaning for bags of words",
                wanted=f"{name} = {default!r}, the default",
                where=name,
                next_step=f"leave {name} out, or give the default where a preset has another value",
            )
