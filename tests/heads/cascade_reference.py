"""CascadeXML as it was published, in slow float64 loops: what the fast head has to agree with.

It keeps the published form on purpose: a table of children per level, right-padded with an id beyond the last;
matrices of candidates (B, C), padding dropped from each row and put back up to the widest row; tables with one
more row of zeros for padding, whose logit is therefore 0, whose probability is set to 0 and whose gradient is
dropped. It differs from what was published where we do, and says so with "ours". Labels are numbered by their
ids here, clusters as in the tree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Tables = Sequence[np.ndarray]


@dataclass(frozen=True)
class Cascade:
    """A label tree and a linear classifier per level; K cluster levels, coarse to fine, and the labels.

    children[i] (n_i + 1, widest): ids at level i + 1 below each node of level i < K; padding is n_{i+1}, and the
    last row, that of padding itself, is all padding. weights[i] (n_i + 1, D), biases[i] (n_i + 1,): row n_i is 0.
    """

    children: list[np.ndarray]
    weights: list[np.ndarray]
    biases: list[np.ndarray]

    @classmethod
    def of(cls, offsets: Tables, order: np.ndarray, weights: Tables, biases: Tables) -> Cascade:
        """From a tree of ranges and its tables, row p of the last of which is the label order[p]."""
        children, tables, shifts = [], [], []
        for level, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            ids = order if level == len(offsets) else np.arange(len(weight))
            table, shift = np.zeros((len(weight) + 1, weight.shape[1])), np.zeros(len(bias) + 1)
            for row in range(len(weight)):
                table[ids[row]], shift[ids[row]] = weight[row], bias[row]
            tables.append(table)
            shifts.append(shift)
            if level > 0:
                ends = offsets[level - 1]
                below = [[int(ids[at]) for at in range(ends[n], ends[n + 1])] for n in range(len(ends) - 1)]
                children.append(padded([*below, []], pad=len(weight)))
        return cls(children, tables, shifts)

    @property
    def depth(self) -> int:
        return len(self.children)

    def size(self, level: int) -> int:
        """n_level: how many true rows its table has, and the id of its padding."""
        return len(self.weights[level]) - 1

    def gold(self, labels: set[int]) -> list[set[int]]:
        """The positives of a text at every level: its labels, and the parents of the level below's."""
        levels = [set(labels)]
        for level in reversed(range(self.depth)):
            of = {int(child): node for node in range(self.size(level)) for child in self.children[level][node]}
            levels.insert(0, {of[child] for child in levels[0]})
        return levels


@dataclass
class Level:
    """What happened at one level: all matrices (B, C), C the widest row's number of candidates.

    candidates: ids, padding n_level; target 0/1; logits (padding: 0); probability (padding: 0); parent and path:
    probability of each candidate's cluster, and the product of those of all its ancestors (1 at level 0).
    kept: ids handed down per text. found, wanted: positives among the best k without the gold's help, and all.
    margin: how far apart in probability the last kept and the first left out were, the least over the texts.
    """

    candidates: np.ndarray
    target: np.ndarray
    logits: np.ndarray
    probability: np.ndarray
    parent: np.ndarray
    path: np.ndarray
    kept: list[list[int]]
    found: int = 0
    wanted: int = 0
    margin: float = math.inf


def padded(rows: Sequence[Sequence[int]], pad: int) -> np.ndarray:
    """Rows of different lengths as a matrix, filled on the right."""
    table = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    for r, row in enumerate(rows):
        table[r, : len(row)] = row
    return table


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def bce(z: float, y: float) -> float:
    """-y log s(z) - (1 - y) log(1 - s(z))."""
    return max(z, 0.0) - z * y + math.log1p(math.exp(-abs(z)))


def forward(
    cascade: Cascade,
    views: np.ndarray,
    beams: list[int],
    labels: list[set[int]] | None = None,
    by_path: bool = False,
) -> list[Level]:
    """All levels for views (B, V, D): with `labels`, as in training, gold is kept; without, as in prediction.

    by_path (ours): clusters are ranked by the product along their path; published: by their own probability.
    """
    batch, depth = len(views), cascade.depth
    gold = [cascade.gold(labels[text] if labels is not None else set()) for text in range(batch)]
    rows = [list(range(cascade.size(0))) for _ in range(batch)]
    above: list[dict[int, tuple[float, float]]] = [{node: (1.0, 1.0) for node in row} for row in rows]
    levels = []
    for level in range(depth + 1):
        pad = cascade.size(level)
        candidates = padded(rows, pad)
        made = Level(candidates, *(np.zeros(candidates.shape) for _ in range(5)), kept=[[] for _ in range(batch)])
        for b in range(batch):
            f = views[b, level if views.shape[1] > 1 else 0].astype(float)  # its own, or the one that all share
            for c, node in enumerate(map(int, candidates[b])):
                z = float(cascade.weights[level][node] @ f + cascade.biases[level][node])
                made.logits[b, c] = z
                if node != pad:  # by its id, not by a logit of 0, which a label may have
                    made.target[b, c] = node in gold[b][level]
                    made.probability[b, c] = sigmoid(z)
                    made.parent[b, c], made.path[b, c] = above[b][node]
        levels.append(made)
        if level == depth:
            break
        rows, above = [[] for _ in range(batch)], [{} for _ in range(batch)]
        for b in range(batch):
            real = [c for c in range(candidates.shape[1]) if candidates[b, c] != pad]
            score = made.probability[b] * (made.path[b] if by_path else 1)
            keep(made, b, real, score, beams[level])
            for node in made.kept[b]:
                at = list(candidates[b]).index(node)
                s = float(made.probability[b, at])  # not boosted
                for child in map(int, cascade.children[level][node]):
                    if child != cascade.size(level + 1):  # padding is dropped here, and put back by `padded`
                        rows[b].append(child)
                        above[b][child] = (s, s * float(made.path[b, at]))
    return levels


def keep(made: Level, b: int, real: list[int], score: np.ndarray, k: int) -> None:
    """The k best of score + gold among a text's true candidates; ties to the lower id, as in all we do.

    Ours: a text with more positives than k keeps all of them (published: the k best), and a positive beats a
    negative whose probability rounds to 1 (published: a tie).
    """
    nodes, target = made.candidates[b], made.target[b]
    boosted = sorted(real, key=lambda c: (-(score[c] + target[c]), -target[c], nodes[c]))
    plain = sorted(real, key=lambda c: (-score[c], nodes[c]))
    positives = [c for c in real if target[c]]
    k_here = max(k, len(positives))
    made.kept[b] = sorted(int(nodes[c]) for c in boosted[:k_here])
    made.wanted += len(positives)
    made.found += sum(c in plain[:k] for c in positives)
    for order, cut, value in ((boosted, k_here, score + target), (plain, k, score)):
        if 0 < cut < len(order):
            made.margin = min(made.margin, float(value[order[cut - 1]] - value[order[cut]]))


@dataclass
class Learned:
    """A loss, values of its levels before their weights, gradients, and cells without and with padding."""

    value: float
    values: list[float]
    d_views: np.ndarray
    d_weights: list[np.ndarray]
    d_biases: list[np.ndarray]
    levels: list[Level]
    true_cells: list[int]
    cells: list[int]


def learn(
    cascade: Cascade,
    views: np.ndarray,
    labels: list[set[int]],
    beams: list[int],
    level_weights: list[float] | None = None,
    *,
    reduction: str = "mean",
    count_padding: bool = False,
) -> Learned:
    """Loss = sum over levels of weight · BCE, "mean" or "sum" over a level's candidates, and all gradients.

    count_padding False (ours): padding is in neither the sum nor the count. True (published): each padded cell
    adds log 2 to the sum and 1 to the count.
    """
    level_weights = level_weights or [1.0] * (cascade.depth + 1)
    levels = forward(cascade, views, beams, labels)
    d_views = np.zeros(views.shape)
    values, d_weights, d_biases, true_cells, cells = [], [], [], [], []
    for level, made in enumerate(levels):
        pad = cascade.size(level)
        true_cells.append(int((made.candidates != pad).sum()))
        cells.append(made.candidates.size)
        count = 1 if reduction == "sum" else cells[-1] if count_padding else true_cells[-1]
        total, d_weight, d_bias = 0.0, np.zeros_like(cascade.weights[level]), np.zeros_like(cascade.biases[level])
        for b in range(len(views)):
            view = level if views.shape[1] > 1 else 0
            f = views[b, view].astype(float)
            for c, node in enumerate(map(int, made.candidates[b])):
                z, y = float(made.logits[b, c]), float(made.target[b, c])
                if node == pad and not count_padding:
                    continue
                total += bce(z, y)
                g = level_weights[level] * (sigmoid(z) - y) / count
                d_views[b, view] += g * cascade.weights[level][node]
                d_weight[node] += g * f
                d_bias[node] += g
        values.append(total / count)
        d_weights.append(d_weight[:pad])  # padding's row learns nothing
        d_biases.append(d_bias[:pad])
    value = sum(w * v for w, v in zip(level_weights, values, strict=True))
    return Learned(value, values, d_views, d_weights, d_biases, levels, true_cells, cells)


def topk(
    cascade: Cascade,
    views: np.ndarray,
    beams: list[int],
    k: int,
    scores: str = "label*parent",
    exclude: list[set[int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """labels (B, k), -1 where there are no more, and scores (B, k), -inf there; ties to the lower label id."""
    last = forward(cascade, views, beams, by_path=scores == "path")[-1]
    factor = {"label": np.ones_like(last.path), "label*parent": last.parent, "path": last.path}[scores]
    labels, best = np.full((len(views), k), -1), np.full((len(views), k), -np.inf)
    for b in range(len(views)):
        reached = []
        for c, label in enumerate(map(int, last.candidates[b])):
            if label != cascade.size(-1) and (exclude is None or label not in exclude[b]):
                reached.append((-last.probability[b, c] * factor[b, c], label))
        for at, (score, label) in enumerate(sorted(reached)[:k]):
            labels[b, at], best[b, at] = label, -score
    return labels, best
