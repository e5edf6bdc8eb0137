"""Explains labels of linear trees: what words add to the logits of the nodes, and to the log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.inputs.spans import feature_shares, on_words, words_of
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.linear.paths import Step, path_slopes, steps_to
from megalabel.models.explain import explained, words_with
from megalabel.models.explanation import Explanation, Node, Word
from megalabel.models.linear import LinearClassifier


class PathValues(NamedTuple):
    """The log-probability of a label by several trees.

    features: (V,) CSR row (1, V), what each feature of the text adds. dense: (E,), the weights by which dense
    inputs are multiplied. base, value: without words and with them. steps: the paths.
    """

    features: sp.csr_matrix
    dense: np.ndarray
    base: float
    value: float
    steps: list[list[Step]]


def tree_values(
    trees: Sequence[SparseBeam], x: sp.csr_matrix, label: int, inputs: np.ndarray | None = None
) -> PathValues:
    """What features and dense inputs add to the log-probability of a label.

    Trees whose beam does not reach the label count as probability 0, as in predictions, unless none reaches it.

    Args:
        trees: trees whose probabilities are averaged.
        x: (1, V) CSR, the features.
        label: its id.
        inputs: (1, E) the dense inputs, if the trees have weights for them.
    """
    steps = [steps_to(tree, label, x, inputs) for tree in trees]
    used = [i for i, path in enumerate(steps) if path[-1].kept] or list(range(len(trees)))
    row = np.zeros(x.shape[1])
    row[x.indices] = x.data
    dense_row = np.zeros(0) if inputs is None else inputs[0].astype(np.float64)
    gains = [np.array([_gain(step, row, dense_row) for step in steps[i]]) for i in used]
    biases = [np.array([step.bias for step in steps[i]]) for i in used]
    slopes, first, last = path_slopes(biases, gains, [trees[i].post_processor for i in used])
    added = np.zeros(x.shape[1])
    dense = np.zeros(len(dense_row))
    for i, own in zip(used, slopes, strict=True):
        for step, slope in zip(steps[i], own.tolist(), strict=True):
            np.add.at(added, step.features, slope * step.weights * row[step.features])
            if len(dense):
                dense += slope * step.dense
    unreached = float(np.log(len(used) / len(trees)))
    return PathValues(sp.csr_matrix(added), dense, first + unreached, last + unreached, steps)


def _gain(step: Step, row: np.ndarray, dense_row: np.ndarray) -> float:
    """What features and dense inputs add to the score of a node."""
    found = float(step.weights @ row[step.features])
    return found + float(step.dense @ dense_row) if len(dense_row) else found


def feature_words(text: SparseText, line: str, added: sp.csr_matrix) -> tuple[Word, ...]:
    """The words of a text with what their features add: (1, V) CSR, or fewer columns for the first features."""
    spans, shares = feature_shares(text, line)
    return words_with(line, spans, shares[:, : added.shape[1]] @ added.toarray().ravel())[0]


def tree_nodes(
    names: Sequence[str], steps: Sequence[Sequence[Step]], text: SparseText | None, line: str, x: sp.csr_matrix
) -> tuple[Node, ...]:
    """The nodes of the paths, with what each word, or each feature of a bag of words, adds to their logits."""
    spans, shares = (None, None) if text is None else feature_shares(text, line)
    found = []
    for name, path in zip(names, steps, strict=True):
        for level, step in enumerate(path):
            weights = sp.csr_matrix((step.weights, step.features, [0, len(step.weights)]), shape=x.shape)
            added = weights.multiply(x.astype(np.float64)).tocsr()
            if spans is None or shares is None:
                words = added[0, x.indices].toarray().ravel()
            else:
                words = on_words(words_of(line), spans, shares[:, : x.shape[1]] @ added.toarray().ravel())[0]
            rank = None if step.rank is None else step.rank + 1
            found.append(
                Node(name, level, step.node, rank, step.n_candidates, step.beam, step.bias + float(words.sum()),
                     step.bias, tuple(words.tolist()))
            )  # fmt: skip
    return tuple(found)


@explained.register
def _(model: LinearClassifier, line: Any, label: int) -> Explanation:
    text = model.text if isinstance(model.text, SparseText) else None
    x = model.text.transform([line] if text is not None else line)
    x.sort_indices()
    found = tree_values(model.trees, x, label)
    if text is None:
        values = found.features.toarray().ravel()
        words = tuple(Word(f, f, f"feature {f}", float(values[f])) for f in x.indices.tolist())
    else:
        words = feature_words(text, line, found.features)
    names = [f"tree {i + 1}" for i in range(len(model.trees))]
    nodes = tree_nodes(names, found.steps, text, line if text is not None else "", x)
    name = model.label_texts[label]
    shown = line if text is not None else ""
    return Explanation(shown, label, name, "log-probability", found.value, found.base, words, nodes=nodes)
