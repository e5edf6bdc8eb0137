"""Small data that can be learned, with a known ceiling: labels own words, a text is its labels' words."""

from __future__ import annotations

import numpy as np

from megalabel.data.corpus import Corpus


def planted(n_labels: int = 64, n_texts: int = 400, n_test: int = 100, seed: int = 0) -> Corpus:
    """Texts of 1 to 3 labels with frequencies by a power law, two words a label and two words of noise."""
    random = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, n_labels + 1) ** 0.7

    def side(n: int) -> tuple[list[str], list[list[int]]]:
        texts, labels = [], []
        for _ in range(n):
            own = random.choice(n_labels, size=random.integers(1, 4), replace=False, p=weights / weights.sum())
            words = [f"w{label}{part}" for label in own for part in "ab"]
            words += [f"noise{i}" for i in random.integers(0, 30, size=2)]
            random.shuffle(words)
            texts.append(" ".join(words))
            labels.append(sorted(int(label) for label in own))
        return texts, labels

    texts, labels = side(n_texts)
    test_texts, test_labels = side(n_test)
    return Corpus.of(
        texts,
        labels,
        [f"w{label}a w{label}b" for label in range(n_labels)],
        test_texts=test_texts,
        test_labels=test_labels,
        name="planted",
    )
