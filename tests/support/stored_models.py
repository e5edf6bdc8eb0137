"""Answers of models that earlier versions stored, compared with those that they gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from megalabel.models.base import Classifier


def assert_as_expected(model: Classifier, folder: Path) -> None:
    """Compares labels and scores with `expected.json` in a folder; neighbors with near scores may be swapped."""
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    ids, scores = model.topk(expected["texts"], expected["k"]).numpy()
    wanted = np.array([[-np.inf if s is None else s for s in row] for row in expected["scores"]])
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
    with np.errstate(invalid="ignore"):  # of differences between missing scores
        near = np.abs(np.diff(wanted, axis=1)) < 2e-5
    clear = ~(np.pad(near, ((0, 0), (0, 1))) | np.pad(near, ((0, 0), (1, 0))))
    assert np.array_equal(ids[clear], np.array(expected["labels"])[clear])
