"""The scale of the scores of added labels: from similarities of unit vectors to the scores of a trained model.

It is found with labels of the model that are treated as if they were added. Some texts are ranked by the model;
a label that is among the first ten of several of them gets these texts as examples. Each text is compared with
these labels, without itself as an example. The scale is a line from the similarities of the labels that are most
similar to each text to the scores that the model gives to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from megalabel.models.base import Classifier

Rows: TypeAlias = Any  # (N, D) float32, an array or CSR

MOST_LABELS = 2048  # labels that are treated as if they were added
MOST_TEXTS = 512
FEWEST_TEXTS = 10  # below it, texts are made of label texts
TOGETHER = 4  # label texts that make a text
DEPTH = 50  # labels per text that the model ranks; a label below has the score of the last one
MEMBERS, TWICE = 10, 2  # a label that is among so many first labels of so many texts has these as examples
CLOSEST = 10  # most similar labels per text that are compared
LEAST_SLOPE = 0.1
EXTREME = 1e-6  # distance of a probability to 0 and 1, for its logarithm of odds


def unit(rows: Rows) -> Rows:
    """Rows of length 1, float32; rows of zeros stay. Arrays (N, D) or CSR."""
    norms = lengths(rows)
    if sp.issparse(rows):
        found = sp.csr_matrix(sp.diags(1 / np.where(norms > 0, norms, 1)) @ rows, dtype=np.float32)
        found.sort_indices()
        return found
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.where(norms > 0, norms, 1).astype(np.float32)[:, None]


def lengths(rows: Rows) -> np.ndarray:
    """The lengths of rows, (N,) float64."""
    if sp.issparse(rows):
        squares = rows.multiply(rows).sum(axis=1)
        return np.sqrt(np.asarray(squares, dtype=np.float64)).ravel()
    found: np.ndarray = np.linalg.norm(np.asarray(rows, dtype=np.float32), axis=1).astype(np.float64)
    return found


def cosines(texts: Sequence[Rows], labels: Sequence[Rows]) -> np.ndarray:
    """The mean over spaces of the cosines of N texts and n labels, given as unit vectors: (N, n) float64."""
    found: np.ndarray = np.sum([_products(x, v) for x, v in zip(texts, labels, strict=True)], axis=0)
    return found / len(texts)


def estimate(model: Classifier, texts: Sequence[str]) -> tuple[float, float]:
    """Slope and offset from similarities to the scores of a model, or to their logits where they are
    probabilities.

    Args:
        model: a trained model.
        texts: some texts; where there are fewer than ten, texts are made of the texts of four labels each.
    """
    random = np.random.default_rng(0)
    asked = _asked(model, texts, random)
    ids, scores = model.topk(asked, model.reach(DEPTH)).numpy()
    scores = scores.astype(np.float64)
    if model.score_type == "probability":
        p = np.clip(scores, EXTREME, 1 - EXTREME)
        scores = np.where(np.isfinite(scores), np.log(p / (1 - p)), -np.inf)
    firsts, counts = np.unique(ids[:, :MEMBERS][ids[:, :MEMBERS] >= 0], return_counts=True)
    often = firsts[counts >= TWICE] if (counts >= TWICE).any() else firsts
    labels = np.sort(random.permutation(often)[:MOST_LABELS])
    similar = _similarities(model, asked, ids[:, :MEMBERS], labels)
    closest = np.argsort(-similar, axis=1, kind="stable")[:, :CLOSEST]
    x = np.take_along_axis(similar, closest, axis=1)
    y = _scores_at(ids, scores, labels[closest]) if len(labels) else x
    there = np.isfinite(y)
    return _line(x[there], y[there])


def _asked(model: Classifier, texts: Sequence[str], random: np.random.Generator) -> list[str]:
    """The given texts, or some made of label texts."""
    if len(texts) >= FEWEST_TEXTS:
        return [texts[i] for i in random.permutation(len(texts))[:MOST_TEXTS]]
    names = [name for name in model.label_texts if name.strip()]
    sample = [names[i] for i in random.permutation(len(names))[:MOST_LABELS]]
    return [" ".join(sample[i] for i in random.permutation(len(sample))[:TOGETHER]) for _ in range(MOST_TEXTS)]


def _similarities(model: Classifier, asked: Sequence[str], firsts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The similarities of texts to labels whose examples are the texts that have them among `firsts` (N, m)."""
    column = np.full(len(model.label_texts) + 1, -1)  # the last one for −1, no label
    column[labels] = np.arange(len(labels))
    rows, places = np.nonzero(column[firsts] >= 0)
    columns, total = column[firsts[rows, places]], np.zeros((len(asked), len(labels)))
    members = sp.csr_matrix((np.ones(len(rows), np.float32), (columns, rows)), (len(labels), len(asked)))
    names = model.label_spaces([model.label_texts[int(i)] for i in labels])
    spaces = model.label_spaces(asked)
    for space, own in zip(spaces, names, strict=True):
        texts = unit(space)
        sums = members @ texts + unit(own)
        products, norms = _products(texts, sums), lengths(sums)
        similar = products / np.where(norms > 0, norms, 1)
        inside = products[rows, columns]  # without the text itself
        squares = norms[columns] ** 2 - 2 * inside + 1
        similar[rows, columns] = (inside - 1) / np.sqrt(np.maximum(squares, EXTREME))
        total += similar
    return total / len(spaces)


def _products(x: Rows, v: Rows) -> np.ndarray:
    found = x @ v.T
    return np.asarray(found.toarray() if sp.issparse(found) else found, dtype=np.float64)


def _scores_at(ids: np.ndarray, scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The scores of the wanted labels (N, m) in rankings (N, k); of others the least score of the text."""
    last = np.where(np.isfinite(scores), scores, np.inf).min(axis=1)
    same = wanted[:, :, None] == ids[:, None, :]
    found = np.take_along_axis(scores, same.argmax(axis=2), axis=1)
    return np.where(same.any(axis=2), found, last[:, None])


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope, at least 0.1, and offset of the line from x to y through their means.

    The slope is halfway between that of least squares, by which added labels would hardly ever be first, and the
    ratio of the standard deviations, by which they would be first too often.
    """
    if not len(x) or x.std() < EXTREME:
        return 1.0, float(y.mean() - x.mean()) if len(x) else 0.0
    spread = float(y.std() / x.std())
    slope = max((spread + float(((x - x.mean()) * (y - y.mean())).mean()) / x.var()) / 2, LEAST_SLOPE)
    return slope, float(y.mean() - slope * x.mean())
