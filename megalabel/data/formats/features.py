"""Reads the features of a file for prediction, in any of the forms that training reads."""

from __future__ import annotations

from pathlib import Path

import scipy.sparse as sp

from megalabel.data.findings import Findings
from megalabel.data.formats import two_file, xmlrepo
from megalabel.data.formats.pecos import load_matrix
from megalabel.data.text_lines import lines


def read_features(file: Path) -> sp.csr_matrix:
    """The features of the texts in a file: (N, V) float32 CSR. Labels in the file are ignored.

    It is a scipy matrix (.npz), a file with the header `N V` of the two-file form, or one with `N V L`.

    Raises:
        DataError: it is none of these, or damaged.
    """
    if file.suffix.lower() == ".npz":
        return load_matrix(file)
    _, first = next(lines(file, Findings()), (0, ""))
    if len(first.split()) == 2 and ":" not in first:
        return two_file.features_of(file, Findings())
    return xmlrepo.read_features(file)
