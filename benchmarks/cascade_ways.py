"""Implementations of a training step of the cascade, and the trees, heads and batches for measuring them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.heads.cascade import CascadeHead
from megalabel.labels.tree import LabelTree
from megalabel.training.optim.row_sparse import RowAdagrad, RowAdam, RowOptimizer, RowSGD
from megalabel.types import Positives

Step = Callable[[], object]
BATCHES = 8  # the number of different batches, used in turn


def tree_of(n_labels: int, depths: tuple[int, ...]) -> LabelTree:
    """Even clusters of labels in random order."""
    sizes = [*(2**d for d in depths), n_labels]
    offsets = [np.linspace(0, below, n + 1).astype(np.int64) for n, below in itertools.pairwise(sizes)]
    return LabelTree(tuple(offsets), np.random.default_rng(0).permutation(n_labels))


def batches(texts: int, views: int, n_labels: int, dim: int) -> list[tuple[Tensor, Positives]]:
    random = np.random.default_rng(1)
    made = []
    for _ in range(BATCHES):
        labels = (n_labels ** random.random(3 * texts) - 1).astype(np.int64)  # P(label) ~ 1 / (label + 1)
        x = torch.from_numpy(random.standard_normal((texts, views, dim), dtype=np.float32)).requires_grad_()
        made.append((x, Positives.from_pairs(torch.arange(texts).repeat_interleave(3), torch.from_numpy(labels))))
    return made


def head_of(n_labels: int, dim: int, beams: list[int], depths: tuple[int, ...]) -> CascadeHead:
    """A head as in the middle of training: biases from frequencies, logits with a standard deviation of one."""
    tree = tree_of(n_labels, depths)
    head = CascadeHead(tree, dim, beams=beams)
    frequency = 3 / (np.log(n_labels) * np.arange(1, n_labels + 1))
    level = frequency[tree.order]
    counts = [level]
    for offsets in reversed(tree.offsets):
        level = 1 - np.exp(np.add.reduceat(np.log1p(-level.clip(max=0.999)), offsets[:-1]))
        counts.append(level)
    n_texts = 1_000_000
    head.init_prior([torch.from_numpy(c * n_texts).float() for c in counts[::-1]], n_texts)
    with torch.no_grad():
        for weight in head.weights:
            for start in range(0, len(weight), 65536):
                weight[start : start + 65536].normal_(0, dim**-0.5)
    return head


def ours(head: CascadeHead, data: list[tuple[Tensor, Positives]], optimizer: str) -> Step:
    rows: RowOptimizer = RowSGD(head, 1e-4)
    if optimizer == "adamw":
        rows = RowAdam(head, 1e-4, 0.005)
    elif optimizer == "adagrad":
        rows = RowAdagrad(head, 1e-4, 0.005)
    turn = iter(range(10**9))

    def step() -> None:
        x, positives = data[next(turn) % BATCHES]
        x.grad = None
        head.loss(x, positives).backward()
        rows.step()
        rows.zero_grad()

    return step


class Usual(nn.Module):
    """A straightforward PyTorch implementation of the cascade."""

    def __init__(self, head: CascadeHead) -> None:
        super().__init__()
        self.weights = nn.ParameterList(w.detach().clone() for w in head.weights)
        self.biases = nn.ParameterList(b.detach().clone() for b in head.biases)
        self.beams, self.nodes = head.beams, head.nodes
        self.children = []
        for offsets in head.offsets:
            sizes = offsets.diff()
            places = torch.arange(int(sizes.max()))
            ids = offsets[:-1, None] + places
            self.children.append(torch.where(places < sizes[:, None], ids, -1))

    def forward(self, x: Tensor, positives: Positives) -> Tensor:
        """The loss: views (B, V, D) to a scalar."""
        candidates = torch.arange(len(self.weights[0])).expand(len(x), -1)
        total = x.new_zeros(())
        for i, (weight, bias, true) in enumerate(
            zip(self.weights, self.biases, self.nodes(positives), strict=True)
        ):
            real = candidates >= 0
            ids = candidates.clamp(min=0)
            logits = torch.bmm(weight[ids], x[:, i, :, None])[..., 0] + bias[ids]
            y = torch.zeros(len(x), len(weight))
            y[true.rows, true.labels] = 1
            y = y.gather(1, ids)
            total = total + nn.functional.binary_cross_entropy_with_logits(logits[real], y[real])
            if i < len(self.beams):
                ranked = torch.where(real, logits.detach().sigmoid() + y, -1.0)
                kept = ids.gather(1, ranked.topk(self.beams[i], dim=1).indices)
                candidates = self.children[i][kept].flatten(1)
        return total


def usual(head: CascadeHead, data: list[tuple[Tensor, Positives]], optimizer: str) -> Step:
    model = Usual(head)
    kind = torch.optim.AdamW if optimizer == "adamw" else torch.optim.SGD
    whole = kind(model.parameters(), lr=1e-4)
    turn = iter(range(10**9))

    def step() -> None:
        x, positives = data[next(turn) % BATCHES]
        x.grad = None
        whole.zero_grad()
        model(x, positives).backward()
        whole.step()

    return step


WAYS = {"ours": ours, "usual": usual}
