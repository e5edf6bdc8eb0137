"""Trees, tables, texts and beams to try a cascade on: planted ones, and any that hypothesis comes up with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from heads.cascade_reference import Cascade
from hypothesis import strategies as st
from planted import planted

N_LABELS, DIM, N_TEXTS = 64, 12, 24
SIZES = {2: (4, 16, N_LABELS), 3: (4, 8, 32, N_LABELS)}  # by the number of cluster levels
LEAVES = ("uniform", "ragged leaves", "ragged")


@dataclass(frozen=True)
class Case:
    """A tree as ranges, float32 tables in its order, and a batch: views (B, V, D), the labels of each text."""

    offsets: list[np.ndarray]
    order: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    views: np.ndarray
    labels: list[set[int]]
    beams: list[int]
    level_weights: list[float]

    @property
    def sizes(self) -> list[int]:
        return [len(weight) for weight in self.weights]

    @property
    def cascade(self) -> Cascade:
        return Cascade.of(self.offsets, self.order, self.weights, self.biases)

    def texts(self, part: slice) -> Case:
        """The same cascade with some of the texts."""
        return replace(self, views=self.views[part], labels=self.labels[part])


def ranges(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def shares(rng: np.random.Generator, total: int, parts: int) -> np.ndarray:
    """`total` cut into so many parts of any size, none empty: (parts,)."""
    cuts = np.sort(rng.choice(np.arange(1, total), size=parts - 1, replace=False))
    return np.diff(np.concatenate([[0], cuts, [total]]))


def planted_case(depth: int, leaves: str, shared: bool, *, seed: int = 0, beams: list[int] | None = None) -> Case:
    """The first texts of the planted corpus, a view the mean of random vectors of the text's words."""
    rng = np.random.default_rng(seed)
    sizes = SIZES[depth]
    offsets = []
    for level in range(depth):
        ragged = leaves == "ragged" or (leaves == "ragged leaves" and level == depth - 1)
        n, below = sizes[level], sizes[level + 1]
        offsets.append(ranges(shares(rng, below, n) if ragged else np.full(n, below // n)))
    corpus = planted(N_LABELS, n_texts=N_TEXTS, n_test=1)
    texts = [list(corpus.train.texts)[row].split() for row in range(N_TEXTS)]
    n_views = 1 if shared else depth + 1
    words = {word: rng.standard_normal((n_views, DIM)) for word in sorted({w for text in texts for w in text})}
    rows = corpus.train.labels.tocsr()
    return Case(
        offsets,
        rng.permutation(N_LABELS),
        [(0.5 * rng.standard_normal((n, DIM))).astype(np.float32) for n in sizes],
        [rng.standard_normal(n).astype(np.float32) for n in sizes],
        np.array([np.mean([words[word] for word in text], axis=0) for text in texts], dtype=np.float32),
        [set(rows.indices[rows.indptr[row] : rows.indptr[row + 1]].tolist()) for row in range(N_TEXTS)],
        beams or {2: [3, 5], 3: [3, 4, 6]}[depth],
        [0.5, 2.0, 1.5, 0.75][: depth + 1],
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small cases of any form. Numbers are multiples of 1/4: scores are exact in float32, and ties are real ones.

    Logits stay within ±36, where float64 tells probabilities apart; float32 does so within about ±16.
    """
    depth = draw(st.integers(1, 3))
    counts, n = [], draw(st.integers(1, 4))
    for _ in range(depth):
        counts.append(draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))
        n = sum(counts[-1])
    sizes = [len(count) for count in counts] + [n]
    dim, batch = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    steep = draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def quarters(*shape: int, most: int) -> np.ndarray:
        return (rng.integers(-most, most + 1, size=shape) / 4).astype(np.float32)

    return Case(
        [ranges(np.array(count)) for count in counts],
        rng.permutation(n),
        [quarters(size, dim, most=4) for size in sizes],
        [quarters(size, most=8) for size in sizes],
        steep * quarters(batch, draw(st.sampled_from([1, depth + 1])), dim, most=8),
        [draw(st.sets(st.integers(0, n - 1), max_size=6)) for _ in range(batch)],
        [draw(st.integers(1, size)) for size in sizes[:-1]],
        [draw(st.sampled_from([0.5, 1.0, 2.0])) for _ in sizes],
    )
