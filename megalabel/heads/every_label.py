"""What heads that score every label share: how their loss is reduced, and a bias that begins at the prior."""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.errors import SettingError

REDUCTIONS = ("sum", "mean")


def check_reduction(reduction: str) -> None:
    """SettingError unless the loss is to be a sum or a mean over texts and labels."""
    if reduction not in REDUCTIONS:
        raise SettingError(
            f"reduction = {reduction!r}",
            wanted=" or ".join(REDUCTIONS),
            next_step="name one of them",
            where="reduction",
        )


def prior_bias(label_counts: Tensor, n_texts: int, n_labels: int, loss: str) -> Tensor:
    """Each label's best constant score, (L,) float64: where the loss is least as long as weights say nothing.

    With p the share of texts that have the label these are its log odds for cross-entropy, and 2p − 1 for the
    squared hinge. A label that was never seen counts as half a text.

    Args:
        label_counts: (L,), how many of the training texts have each label.
        n_texts: how many training texts there are.
        n_labels: L.
        loss: "bce" or "squared_hinge".

    Raises:
        SettingError: counts that are not of these labels and texts.
    """
    counts = torch.as_tensor(label_counts, dtype=torch.float64)
    if counts.shape != (n_labels,) or counts.min() < 0 or counts.max() > n_texts:
        raise SettingError(
            f"label counts of shape {tuple(counts.shape)} from {counts.min():g} to {counts.max():g}",
            wanted=f"{n_labels} counts from 0 to n_texts={n_texts}",
            next_step="count each label's training texts",
            where="label_counts",
        )
    share = (counts + 0.5) / (n_texts + 1)
    return share.logit() if loss == "bce" else 2 * share - 1
