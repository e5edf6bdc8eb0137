"""The label layer of joint_text.py: F weights per label on columns of TF-IDF, which can be rewired."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from megalabel.kernels.fan_in.connections import first_inputs, input_dtype
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_scores
from megalabel.kernels.fan_in.regrow import regrow_by
from megalabel.kernels.fan_in.restart import restart
from megalabel.kernels.fan_in.rewire import weak

WATCHED = 32  # batches before a rewiring whose errors are stored
ERROR = 0.02  # smaller errors of a probability are ignored


class FanIn(nn.Module):
    """F weights per label on columns of TF-IDF, initialized with 0.

    Args:
        connect: how inputs are chosen: the "strongest" of each label, or "random".
        rows: (N, V) TF-IDF of the training rows.
        labels: (N, L) of ones.
        fan_in: F.
    """

    def __init__(self, connect: str, rows: sp.csr_matrix, labels: sp.csr_matrix, fan_in: int) -> None:
        super().__init__()
        self.rows = rows
        self.inputs = first_inputs(labels.shape[1], fan_in, rows.shape[1], seed=0)
        if connect == "strongest":
            sums, mean = (labels.T @ rows).tocsr(), np.asarray(rows.mean(axis=0)).ravel()
            counts = np.asarray(labels.sum(axis=0)).ravel()
            sums.data -= np.repeat(counts, np.diff(sums.indptr)) * mean[sums.indices]
            self.inputs, _ = strongest(sums, fan_in, seed=0)
        self.weight = nn.Parameter(torch.zeros(self.inputs.shape))
        self.errors: list[sp.csr_matrix] = []
        self.seen: list[np.ndarray] = []

    def forward(self, x: sp.csr_matrix) -> Tensor:
        """Scores (L, B) of rows (B, V)."""
        # Only the features of these rows are used; all others are mapped to one input of zeros. A matrix of V
        # columns would not fit into the caches; a step took three times as long.
        here, places = np.unique(x.indices, return_inverse=True)
        place = np.full(x.shape[1], len(here), dtype=np.int32)
        place[here] = np.arange(len(here))
        xt = sp.csc_matrix((x.data, places, x.indptr), shape=(len(here) + 1, x.shape[0])).toarray("C")
        inputs = torch.from_numpy(place)[self.inputs.int()].to(input_dtype(len(xt)))
        return fan_in_scores(torch.from_numpy(xt).t(), self.weight, None, inputs).t()

    def watch(self, rows: np.ndarray, error: Tensor) -> None:
        """Stores the large errors (L, B) of the probabilities of a batch of rows."""
        self.errors.append(sp.csr_matrix(torch.where(error.abs() >= ERROR, error, 0).numpy()))
        self.seen.append(rows)

    def exchange(self, step: int, states: list[Tensor]) -> None:
        """Connects the weakest fifth to the inputs with the largest gradients over the stored errors."""
        gradient = abs(sp.hstack(self.errors, format="csr") @ self.rows[np.concatenate(self.seen)]).tocsr()
        self.errors, self.seen = [], []
        slots = weak(self.weight.detach(), 1, share=0.2)
        regrow_by(self.inputs, slots, *strongest(gradient, self.inputs.shape[1] // 2, seed=step))
        restart(self.weight.detach(), slots, 1, seed=0, step=step, states=states)


def strongest(table: sp.csr_matrix, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """The columns and values of the largest entries of each row; padded by random columns of value 0."""
    places = first_inputs(table.shape[0], count, table.shape[1], seed=seed).numpy()
    worth = np.zeros(places.shape, dtype=np.float32)
    for i, (start, stop) in enumerate(zip(table.indptr[:-1], table.indptr[1:], strict=True)):
        best = start + np.argsort(-table.data[start:stop], kind="stable")[:count]
        best = best[table.data[best] > 0]
        rest = places[i][~np.isin(places[i], table.indices[best])][: count - len(best)]
        places[i] = np.concatenate([table.indices[best], rest])
        worth[i, : len(best)] = table.data[best]
    return torch.from_numpy(places), torch.from_numpy(worth)
