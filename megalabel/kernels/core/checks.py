"""Checks that several operations share: finite values, biases, and pairs of text and label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megalabel.errors import DataError, SettingError
from megalabel.types import Positives

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DIVERGED = "training has diverged"  # how the messages about it begin


def all_finite(x: Tensor) -> bool:
    """Whether no value of x is NaN or infinite; the sum is checked first, which is ten times as fast."""
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())


def must_be_finite(x: Tensor, what: str) -> None:
    """Raises `diverged` unless all values of x are finite."""
    if not all_finite(x):
        raise diverged(what)


def diverged(what: str) -> SettingError:
    """The error for values that are no longer finite."""
    return SettingError(
        f"{DIVERGED}: {what} contains inf or NaN",
        wanted="finite numbers",
        next_step="go back to the last checkpoint and lower the learning rate of head or encoder, "
        "or warm it up for longer",
        where="lr",
    )


def check_bias(weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None = None) -> None:
    """Raises SettingError unless bias is None or (n,) of `dtype`, by default that of weight (n, …)."""
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != (dtype or weight.dtype)):
        raise SettingError(
            f"a bias {tuple(bias.shape)}, {bias.dtype}, beside weights {tuple(weight.shape)}, {weight.dtype}",
            wanted="one number per row of the weights, of their type",
            next_step="make the bias with weight.new_zeros(len(weight))",
        )


def check_own_memory(*parameters: Tensor | None) -> None:
    """Raises SettingError for expanded tensors, in which an update of one value would change others."""
    for parameter in parameters:
        if parameter is None:
            continue
        reach = 0  # of the dimensions of smaller strides
        for stride, size in sorted(zip(parameter.stride(), parameter.shape, strict=True)):
            if size > 1 and stride <= reach:
                raise SettingError(
                    f"weights {tuple(parameter.shape)} that share memory, with strides {parameter.stride()}",
                    wanted="a place in memory for each number that learns",
                    next_step="make them with clone() before training",
                    where="weight",
                )
            reach += (size - 1) * stride


def check_vectors(positives: Positives) -> None:
    """Raises DataError unless rows and labels are two vectors of one length."""
    rows, labels = positives.rows, positives.labels
    if rows.shape != labels.shape or rows.dim() != 1:
        raise DataError(
            f"positives with rows {tuple(rows.shape)} and labels {tuple(labels.shape)}",
            wanted="two vectors of one length",
            next_step="make positives with Positives.from_pairs(rows, labels)",
        )


def check_range(what: str, low: int, high: int, n: int, next_step: str) -> None:
    """Raises DataError unless the lowest and the highest number of the positives lie from 0 to n − 1."""
    if low < 0 or high >= n:
        raise DataError(
            f"{what} {low if low < 0 else high} among the positives",
            wanted=f"a {what} from 0 to {n - 1}",
            next_step=next_step,
        )


def check_excluded(exclude: Positives | None, n_texts: int, n_labels: int) -> None:
    """Raises DataError if an excluded pair lies outside (n_texts, n_labels)."""
    if exclude is None or not len(exclude):
        return
    import torch

    ends = torch.stack([exclude.rows.min(), exclude.rows.max(), exclude.labels.min(), exclude.labels.max()])
    low_row, high_row, low, high = ends.tolist()
    if low_row < 0 or high_row >= n_texts or low < 0 or high >= n_labels:
        raise DataError(
            f"excluded pairs with rows {low_row} to {high_row} and labels {low} to {high}",
            wanted=f"rows below {n_texts} and labels below {n_labels}",
            next_step="number rows within the batch, and check that filter and head have the same labels",
        )
