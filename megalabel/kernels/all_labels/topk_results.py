"""What every search for the k best labels checks and completes: permutations, missing scores, short rankings."""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.types import Positives, TopK


def filled(labels: Tensor, scores: Tensor, k: int) -> TopK:
    """Labels and scores (B, at most k) as (B, k): label -1 with score -inf fills the row."""
    missing = (0, k - scores.shape[1])
    return TopK(
        torch.nn.functional.pad(labels, missing, value=-1),
        torch.nn.functional.pad(scores, missing, value=-torch.inf),
    )


def label_to_row(row_to_label: Tensor, n_rows: int) -> Tensor:
    """The row of each label, (L,) int64; SettingError unless `row_to_label` is a permutation."""
    fits = row_to_label.shape == (n_rows,) and row_to_label.dtype == torch.int64
    if fits and 0 <= int(row_to_label.min()) and int(row_to_label.max()) < n_rows:
        rows = torch.full_like(row_to_label, -1)
        rows[row_to_label] = torch.arange(n_rows, device=row_to_label.device)
        if int(rows.min()) >= 0:
            return rows
    raise SettingError(
        f"row_to_label of shape {tuple(row_to_label.shape)} and {row_to_label.dtype} is not a permutation",
        wanted=f"({n_rows},) int64, a permutation of 0 to {n_rows - 1}",
        where="row_to_label",
    )


def all_found(labels: Tensor, exclude: Positives | None, n_rows: int, keep: int) -> None:
    """Checks that fewer than `keep` labels occur only where pairs were excluded: else a score was NaN or -inf."""
    short = (labels < 0).sum(1)
    if not short.any():
        return
    allowed = torch.zeros_like(short)
    if exclude is not None:
        allowed.index_add_(0, exclude.rows, torch.ones_like(exclude.rows))
    left = n_rows - allowed  # repeated pairs only make this check more lenient
    if (keep - short < torch.minimum(left, torch.full_like(left, keep))).any():
        raise SettingError(
            "scores that are NaN or -inf",
            wanted="finite embeddings, weights and biases",
            next_step="look for a diverged training run, and take an earlier checkpoint",
        )
