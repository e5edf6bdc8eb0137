"""What `fit` and `predict` are given as X: texts, or a matrix of features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

from megalabel.data.given import given_texts
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError
from megalabel.models.text_list import as_texts

LOOKED_AT = 100  # values, of which one that is a string shows that these are texts


def read_inputs(estimator: Any, X: Any, *, reset: bool) -> Texts | sp.csr_matrix:
    """The N texts, or the features as CSR (N, V) float32.

    Texts are a list, an array of one dimension or a column of a table with a string among the first values;
    everything else is a matrix of features, which scikit-learn checks.

    Args:
        estimator: takes `n_features_in_` and `feature_names_in_` of features.
        X: what the caller gave.
        reset: True in `fit`; otherwise the features must be those of `fit`.

    Raises:
        ValueError: values that are neither.
    """
    if isinstance(X, str):
        raise ValueError("X is a single string; expected a list of texts. Write [text] for a single text.")
    if isinstance(X, dict):
        raise ValueError(f"X is a dictionary with the keys {list(X)[:3]}; expected a list of texts, or a matrix")
    if isinstance(X, Iterator):
        X = list(X)
    if _are_texts(X):
        with as_value_errors():
            return given_texts(as_texts(X), "X")
    if _is_table_of_texts(X):
        raise ValueError(
            "X is a table with texts; expected a list of texts, such as one of its columns, or features"
        )
    if X is None or (isinstance(X, (list, tuple)) and not len(X)):
        raise ValueError("X holds no texts; expected a list of texts, or a matrix of features")
    features = validate_data(estimator, X, accept_sparse="csr", dtype=np.float32, reset=reset)
    return sp.csr_matrix(features)


def n_rows(X: Texts | sp.csr_matrix) -> int:
    """The number of texts or rows."""
    return len(X) if isinstance(X, Texts) else int(X.shape[0])


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Raises megalabel's errors of data and arguments as the ValueError that scikit-learn's users expect."""
    try:
        yield
    except (DataError, SettingError) as error:
        raise ValueError(str(error)) from error


def _are_texts(X: Any) -> bool:
    if isinstance(X, Texts):
        return True
    if sp.issparse(X) or getattr(X, "ndim", 1) != 1:
        return False
    return any(isinstance(text, str) for text in islice(X, LOOKED_AT)) if isinstance(X, Iterable) else False


def _is_table_of_texts(X: Any) -> bool:
    """Whether X is a data frame, an array of two dimensions or nested lists with strings."""
    if sp.issparse(X):
        return False
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        X = X.head(1).to_numpy()
    rows = islice(X, 1) if isinstance(X, Iterable) and not isinstance(X, (str, bytes)) else ()
    return any(isinstance(cell, str) for row in rows if isinstance(row, Iterable) for cell in row)
