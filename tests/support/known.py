"""A classifier whose scores and true labels are known: texts are numbers, labels true as often as scores say."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.models.base import Classifier
from megalabel.models.trained_on import TrainedOn
from megalabel.types import TopK

DEPTH = 60  # labels of a text that have a score


class Known(Classifier):
    """Text "7" gets the labels and scores of row 7; the probability of a label is the square of its score.

    deepest: the largest k that was asked for. asked: the numbers of texts of each call.
    """

    score_type = "probability"

    def __init__(self, n_labels: int = 500, seed: int = 0) -> None:
        self.label_texts, self.seed = Texts.numbers(n_labels), seed
        counts = np.maximum(1000 // np.arange(1, n_labels + 1), 1)
        self.trained_on = TrainedOn("known", 1000, counts)
        self.deepest, self.asked = 0, list[int]()

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Labels and scores of a text, best first."""
        random = np.random.default_rng([self.seed, number])
        scores = np.sort(random.beta(0.4, 2.0, DEPTH).astype(np.float32) * random.uniform(0.5, 1))[::-1]
        return random.choice(len(self.label_texts), DEPTH, replace=False), scores

    def rank(self, texts, k, *, exclude, batch_size, advance):
        self.deepest = max(self.deepest, k)
        self.asked.append(len(texts))
        hidden = set() if exclude is None else set(map(tuple, exclude.tolist()))
        ids, scores = np.full((len(texts), k), -1, np.int64), np.full((len(texts), k), -np.inf, np.float32)
        for i, text in enumerate(texts):
            found = [(a, b) for a, b in zip(*self.row(int(text)), strict=True) if (i, int(a)) not in hidden][:k]
            ids[i, : len(found)], scores[i, : len(found)] = zip(*found, strict=True)
        return TopK(ids, scores)

    def truth(self, numbers) -> sp.csr_matrix:
        """True labels of texts, drawn with their probabilities; a fifth of them has no score at all."""
        rows, labels = [], []
        for at, number in enumerate(numbers):
            random = np.random.default_rng([self.seed, number, 1])
            ids, scores = self.row(number)
            own = set(ids[random.random(DEPTH) < scores**2].tolist())
            own |= set(random.choice(len(self.label_texts), random.binomial(len(own), 0.2)).tolist())
            rows += [at] * len(own)
            labels += sorted(own)
        ones = np.ones(len(rows), np.float32)
        return sp.csr_matrix((ones, (rows, labels)), shape=(len(numbers), len(self.label_texts)))

    def save(self, folder):
        raise NotImplementedError

    @classmethod
    def load(cls, folder, *, device="cpu", trust=()):
        raise NotImplementedError
