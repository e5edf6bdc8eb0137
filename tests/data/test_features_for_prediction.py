"""Features for prediction are read in every form in which a bag of words can be trained on."""

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.formats.features import read_features
from megalabel.errors import DataError

ROWS = np.array([[1, 0, 0.5], [0, 1, 0]], dtype=np.float32)


@pytest.mark.parametrize("content", ["2 3\n0:1 2:.5\n1:1\n", "2 3 2\n0 0:1 2:.5\n0,1 1:1\n"])
def test_text_files(tmp_path, content):
    (tmp_path / "tst.txt").write_text(content)
    assert (read_features(tmp_path / "tst.txt").toarray() == ROWS).all()


def test_npz(tmp_path):
    sp.save_npz(tmp_path / "X.tst.npz", sp.csr_matrix(ROWS))
    assert (read_features(tmp_path / "X.tst.npz").toarray() == ROWS).all()
    (tmp_path / "X.tst.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read as a sparse matrix"):
        read_features(tmp_path / "X.tst.npz")


def test_a_text_is_refused(tmp_path):
    (tmp_path / "q.txt").write_text("red shoe\n")
    with pytest.raises(DataError, match="header"):
        read_features(tmp_path / "q.txt")
