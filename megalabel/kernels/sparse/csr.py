"""Checks of sparse matrices that come from users or files."""

from __future__ import annotations

from typing import Any

import scipy.sparse as sp

from megalabel.errors import DataError


def checked_csr(matrix: Any, where: str) -> sp.csr_matrix:
    """Converts a sparse matrix to CSR and checks its structure, so that compiled code may follow its indices.

    Args:
        matrix: any scipy sparse matrix with two dimensions.
        where: the name of the argument, for messages.

    Returns:
        The matrix itself if it is CSR already.

    Raises:
        DataError: not a scipy sparse matrix with two dimensions, an index out of range, or a descending indptr.
    """
    if not sp.issparse(matrix) or matrix.ndim != 2:
        raise DataError(
            f"{where} is of type {type(matrix).__name__}",
            wanted="a scipy CSR matrix",
            next_step="convert it with scipy.sparse.csr_matrix",
            where=where,
        )
    matrix = matrix.tocsr()
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise DataError(
            f"{where} is a damaged CSR matrix ({error})",
            wanted="indices within the shape and an ascending indptr",
            where=where,
        ) from error
    return matrix
