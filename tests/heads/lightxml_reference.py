"""LightXML (Jiang et al., AAAI 2021, arXiv 2101.03305) in slow float64 loops: what the fast head agrees with.

    recall:   g(e) = sigmoid(W_g e + b_g)                      the groups
    rank:     d(e) = sigmoid(M (W_h e + b_h) + b_m)            the labels of the groups that were recalled
    loss:     BCE over all groups + BCE over the candidates    both are trained at once
    score:    g of the label's group times d of the label

It differs from the publication in three places, marked "ours".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LightXML:
    """Groups of label ids; group table (G, D) and bias (G,); bottleneck (H, D) and (H,); labels (L, H) and (L,).

    Label tables are in the order of the label ids. Without a bottleneck H is D and the tables are None.
    """

    groups: list[list[int]]
    group_weight: np.ndarray
    group_bias: np.ndarray
    bottleneck_weight: np.ndarray | None
    bottleneck_bias: np.ndarray | None
    label_weight: np.ndarray
    label_bias: np.ndarray

    def group_of(self, label: int) -> int:
        return next(g for g, members in enumerate(self.groups) if label in members)

    def narrow(self, e: np.ndarray) -> np.ndarray:
        """The representation behind the bottleneck, (H,)."""
        if self.bottleneck_weight is None or self.bottleneck_bias is None:
            return e
        return self.bottleneck_weight @ e + self.bottleneck_bias


@dataclass
class Learned:
    """A loss, its two parts, the gradients of everything, the groups kept per text, and recall counts.

    found, wanted: positive groups among the best without being lifted, and all of them. margin: the least distance
    of a kept logit from one that was left out.
    """

    value: float
    parts: tuple[float, float]
    d_views: np.ndarray
    d_group_weight: np.ndarray
    d_group_bias: np.ndarray
    d_bottleneck_weight: np.ndarray | None
    d_bottleneck_bias: np.ndarray | None
    d_label_weight: np.ndarray
    d_label_bias: np.ndarray
    kept: list[list[int]]
    n_candidates: int
    found: int = 0
    wanted: int = 0
    margin: float = math.inf


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def log_sigmoid(z: float) -> float:
    return -math.log1p(math.exp(-z)) if z >= 0 else z - math.log1p(math.exp(z))


def bce(z: float, y: float) -> float:
    return max(z, 0.0) - z * y + math.log1p(math.exp(-abs(z)))


def recalled(logits: np.ndarray, k: int, positive: set[int]) -> list[int]:
    """The k groups with the highest scores, those of the text's own labels first; ties go to the lower group.

    Ours: a text with positives in more than k groups keeps all of these (published: k of them).
    """
    order = sorted(range(len(logits)), key=lambda g: (g not in positive, -logits[g], g))
    return sorted(order[: max(k, len(positive))])


def learn(
    model: LightXML, views: np.ndarray, labels: list[set[int]], candidates: int, reduction: str = "mean"
) -> Learned:
    """The loss of a batch, views (B, D), and all its gradients.

    "mean": each part is divided by what it scores, B · G groups and all candidates of the batch. Ours: candidates
    are counted without padding. "sum": nothing is divided.
    """
    batch, n_groups = len(views), len(model.groups)
    d_wide, d_narrow = model.bottleneck_weight, model.bottleneck_bias
    out = Learned(
        0.0, (0.0, 0.0), np.zeros(views.shape), np.zeros_like(model.group_weight), np.zeros_like(model.group_bias),
        None if d_wide is None else np.zeros_like(d_wide), None if d_narrow is None else np.zeros_like(d_narrow),
        np.zeros_like(model.label_weight), np.zeros_like(model.label_bias), [], 0,
    )  # fmt: skip
    logits = [model.group_weight @ views[b] + model.group_bias for b in range(batch)]
    positive = [{model.group_of(label) for label in labels[b]} for b in range(batch)]
    for b in range(batch):
        out.kept.append(recalled(logits[b], candidates, positive[b]))
        out.n_candidates += sum(len(model.groups[g]) for g in out.kept[b])
        plain = recalled(logits[b], candidates, set())
        out.found += len(positive[b] & set(plain))
        out.wanted += len(positive[b])
        left_out = [logits[b][g] for g in range(n_groups) if g not in plain]
        if left_out:
            out.margin = min(out.margin, min(logits[b][g] for g in plain) - max(left_out))
    of_groups = batch * n_groups if reduction == "mean" else 1
    of_labels = out.n_candidates if reduction == "mean" else 1
    recall = rank = 0.0
    for b in range(batch):
        e = views[b]
        for g in range(n_groups):
            y = float(g in positive[b])
            recall += bce(logits[b][g], y) / of_groups
            slope = (sigmoid(logits[b][g]) - y) / of_groups
            out.d_group_weight[g] += slope * e
            out.d_group_bias[g] += slope
            out.d_views[b] += slope * model.group_weight[g]
        h = model.narrow(e)
        d_h = np.zeros_like(h)
        for g in out.kept[b]:
            for label in model.groups[g]:
                z, y = float(model.label_weight[label] @ h + model.label_bias[label]), float(label in labels[b])
                rank += bce(z, y) / of_labels
                slope = (sigmoid(z) - y) / of_labels
                out.d_label_weight[label] += slope * h
                out.d_label_bias[label] += slope
                d_h += slope * model.label_weight[label]
        if model.bottleneck_weight is None:
            out.d_views[b] += d_h
        else:
            assert out.d_bottleneck_weight is not None and out.d_bottleneck_bias is not None
            out.d_views[b] += model.bottleneck_weight.T @ d_h
            out.d_bottleneck_weight += np.outer(d_h, e)
            out.d_bottleneck_bias += d_h
    out.value, out.parts = recall + rank, (recall, rank)
    return out


def topk(
    model: LightXML, views: np.ndarray, candidates: int, k: int, exclude: list[set[int]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """ids (B, k), -1 where there are no more, and probabilities (B, k), -inf there; ties go to the lower id."""
    ids, best = np.full((len(views), k), -1), np.full((len(views), k), -np.inf)
    for b in range(len(views)):
        logits, h = model.group_weight @ views[b] + model.group_bias, model.narrow(views[b])
        reached = []
        for g in recalled(logits, candidates, set()):
            for label in model.groups[g]:
                z = float(model.label_weight[label] @ h + model.label_bias[label])
                if exclude is None or label not in exclude[b]:
                    reached.append((-(log_sigmoid(logits[g]) + log_sigmoid(z)), label))
        for at, (score, label) in enumerate(sorted(reached)[:k]):
            ids[b, at], best[b, at] = label, math.exp(-score)
    return ids, best
