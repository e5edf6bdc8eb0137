"""Subjects of reports with rankings that are made up."""

from __future__ import annotations

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.inference.matching import Truth
from megalabel.metrics.propensity import inverse_propensity
from megalabel.models.trained_on import TrainedOn
from megalabel.reporting.subject import Subject


def subject(ids, truth, counts, *, names=None, texts=None, title="made up", probabilities=None, sources=None):
    """A subject of N texts: ids (N, K), the true labels of each text, and the training texts of each label."""
    counts, n_labels, n = np.asarray(counts), len(counts), len(truth)
    names = names or [f"label {i}" for i in range(n_labels)]
    texts = texts or [f"text {i}" for i in range(n)]
    data = Corpus.of(
        ["a"], [[0]], names, test_texts=texts, test_labels=truth, test_sources=sources, name="made up"
    )
    split = data.test
    ids = np.asarray(ids, np.int64)
    scores = np.tile(np.linspace(1, 0.1, ids.shape[1], dtype=np.float32), (n, 1))
    known = TrainedOn("made up", int(counts.sum()) + 3, counts)
    gains = inverse_propensity(counts, known.n_texts)
    truths = Truth(split.labels, split.n_true(), None, np.arange(n_labels))
    return Subject(title, data, split, ids, scores, "probability", probabilities, truths, names, known, gains)


def random_subject(n=300, n_labels=40, width=12, seed=0, title="random"):
    """Rankings that hold each true label with the probability 1/2, at a random rank."""
    random = np.random.default_rng(seed)
    truth = [sorted(random.choice(n_labels, random.integers(1, 8), replace=False).tolist()) for _ in range(n)]
    ids = []
    for labels in truth:
        kept = [label for label in labels if random.random() < 0.5]
        wrong = [label for label in random.permutation(n_labels).tolist() if label not in labels]
        ids.append(random.permutation(kept + wrong[: width - len(kept)]))
    return subject(ids, truth, np.arange(1, n_labels + 1) ** 2 // 4, title=title)
