"""What the server tells of a label besides its name."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.models.trained_on import TrainedOn
from megalabel.serving.label_statistics import statistics

NAMES = Texts.from_strings(["cat", "dog", "fish"])
LABELS = sp.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1]], np.float32))


def test_labels_that_occur_together_come_with_the_number_of_texts_most_first():
    known = TrainedOn("pets", 4, np.array([3, 2, 2])).with_pairs(LABELS)
    found = statistics(known, NAMES, 0)
    assert found["share"] == 0.75
    assert [(one["label"], one["texts"]) for one in found["together"]] == [("dog", 2), ("fish", 1)]


def test_what_a_model_does_not_know_is_none():
    assert statistics(TrainedOn("pets", 4, np.array([3, 2, 2])), NAMES, 1) == {"share": 0.5, "together": None}
    assert statistics(None, NAMES, 1) == {"share": None, "together": None}
