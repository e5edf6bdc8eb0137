"""The best labels by the losses of fastText: softmax, independent sigmoids, and a Huffman tree of sigmoids."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.all_labels.streaming_topk import plain_of, streaming_topk
from megalabel.types import Positives, TopK

LOSSES = ("softmax", "hs", "ova", "ns")
_CHUNK = 8192  # labels whose scores are summed at a time
_CELLS = 1 << 24  # scores of inner nodes and leaves at a time
_LEAST = 1e-5  # what fastText adds to each probability before it takes the logarithm
_STEPS, _WIDTH = 32, 8.0  # steps of fastText's table of the sigmoid per unit, which ends at ±8
_FREE = 10**15  # the count of a node that does not exist yet


def best_labels(
    hidden: np.ndarray, outputs: np.ndarray, loss: str, counts: np.ndarray, k: int, exclude: Positives | None
) -> TopK:
    """The k best labels of texts, and their probabilities.

    Args:
        hidden: (B, D) float32.
        outputs: (L, D) float32, of labels or of inner nodes; writable, as torch wants it, and not written to.
        loss: one of `LOSSES`.
        counts: (L,) falling counts of labels, for "hs".
        k: labels per text.
        exclude: pairs that are left out.
    """
    x = torch.from_numpy(np.ascontiguousarray(hidden, np.float32))
    weight = torch.from_numpy(outputs)
    if loss == "hs":
        return _by_tree(x, weight, huffman(counts), k, exclude)
    found = streaming_topk(x, weight, None, k, exclude)
    if loss == "softmax":
        chunks = [torch.logsumexp(x @ part.t(), dim=1) for part in weight.split(_CHUNK)]
        total = torch.logsumexp(torch.stack(chunks), dim=0)
        return TopK(found.ids, (found.scores - total[:, None]).exp())
    return TopK(found.ids, _sigmoid(found.scores))


def _sigmoid(scores: Tensor) -> Tensor:
    """The sigmoid by fastText's table; -inf, where there is no label, stays."""
    steps = torch.floor((scores.clamp(-_WIDTH, _WIDTH) + _WIDTH) * _STEPS) / _STEPS - _WIDTH
    p = torch.where(scores < -_WIDTH, 0.0, torch.where(scores > _WIDTH, 1.0, steps.sigmoid()))
    return p.masked_fill(scores == -torch.inf, -torch.inf)


def huffman(counts: np.ndarray) -> np.ndarray:
    """The children (L − 1, 2) of the inner nodes L, L + 1, …; nodes below L are labels, and the last is the root.

    As in `HierarchicalSoftmaxLoss::buildTree`: the two rarest nodes become children, labels from the last one on.
    """
    n = len(counts)
    of_node = np.append(counts, np.full(max(n - 1, 0), _FREE)).tolist()
    leaf, node, children = n - 1, n, []
    for made in range(n, 2 * n - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and of_node[leaf] < of_node[node]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(node)
                node += 1
        of_node[made] = of_node[pair[0]] + of_node[pair[1]]
        children.append(pair)
    return np.array(children, dtype=np.int64).reshape(-1, 2)


def _by_tree(x: Tensor, weight: Tensor, children: np.ndarray, k: int, exclude: Positives | None) -> TopK:
    """The products of the sigmoids on the paths from the root, some texts at a time."""
    n, levels, parts = len(children) + 1, _levels(children), []
    step = max(1, _CELLS // (2 * n))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        right = (part @ weight[: n - 1].t()).sigmoid()
        logs = torch.zeros(len(part), 2 * n - 1)
        for nodes in levels:
            below, above = children[nodes - n], logs[:, nodes]
            logs[:, below[:, 0]] = above + (1 - right[:, nodes - n] + _LEAST).log()
            logs[:, below[:, 1]] = above + (right[:, nodes - n] + _LEAST).log()
        excluded = None if exclude is None else exclude.of_texts(start, start + step)
        found = plain_of(logs[:, :n], min(k, n), excluded)
        parts.append(TopK(found.ids, found.scores.exp().masked_fill(found.ids < 0, -torch.inf)))
    return TopK(torch.cat([part.ids for part in parts]), torch.cat([part.scores for part in parts]))


def _levels(children: np.ndarray) -> list[np.ndarray]:
    """The inner nodes by their distance to the root."""
    n, levels = len(children) + 1, []
    nodes = np.array([2 * n - 2]) if len(children) else np.empty(0, np.int64)
    while len(nodes):
        levels.append(nodes)
        below = children[nodes - n].ravel()
        nodes = below[below >= n]
    return levels
