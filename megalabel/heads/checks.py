"""Checks and helpers that several heads share: arguments, positives, and initial biases."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.kernels.rounding.stochastic_rounding import LARGEST_EXPONENT, SMALLEST_EXPONENT
from megalabel.types import Positives

REDUCTIONS = ("sum", "mean")


def check_arguments(*rows: tuple[str, Any, str, bool]) -> None:
    """Raises SettingError for the first row (name, value, wanted, is valid) that is not valid."""
    for name, value, wanted, fits in rows:
        if not fits:
            raise SettingError(f"{name} = {value!r}", wanted=wanted, where=name)


def check_reduction(reduction: str) -> None:
    """Raises SettingError unless the reduction is "sum" or "mean"."""
    check_arguments(("reduction", reduction, " or ".join(REDUCTIONS), reduction in REDUCTIONS))


def check_labels(positives: Positives, n_labels: int) -> None:
    """Raises DataError for pairs with labels outside 0 to n_labels - 1."""
    labels = positives.labels
    if not len(labels):
        return
    lowest, highest = torch.stack([labels.min(), labels.max()]).tolist()  # one transfer, which waits for a GPU
    if not 0 <= lowest <= highest < n_labels:
        raise DataError(
            f"labels {lowest} to {highest} among the pairs",
            wanted=f"labels from 0 to {n_labels - 1}",
            next_step="check that the data and the head have the same labels",
        )


def prior_bias(label_counts: Tensor, n_texts: int, n_labels: int, loss: str) -> Tensor:
    """The constant score per label that minimizes the loss while all weights are zero: (L,) float64.

    With p the fraction of texts that have the label, these are its log odds for cross-entropy, and 2p − 1 for the
    squared hinge. A label without texts counts as half a text.

    Args:
        label_counts: (L,), the number of training texts per label.
        n_texts: number of training texts.
        n_labels: L.
        loss: "bce" or "squared_hinge".

    Raises:
        SettingError: the counts do not fit these labels and texts.
    """
    counts = torch.as_tensor(label_counts, dtype=torch.float64)
    if counts.shape != (n_labels,) or counts.min() < 0 or counts.max() > n_texts:
        raise SettingError(
            f"label counts of shape {tuple(counts.shape)} from {counts.min():g} to {counts.max():g}",
            wanted=f"{n_labels} counts from 0 to n_texts={n_texts}",
            next_step="pass the number of training texts of each label",
            where="label_counts",
        )
    p = (counts + 0.5) / (n_texts + 1)
    return p.logit() if loss == "bce" else 2 * p - 1


def check_permutation(numbers: Tensor, n: int, where: str) -> None:
    """SettingError unless (n,) whole numbers are each of 0 to n − 1 once: compiled code follows them unchecked."""
    fine = numbers.shape == (n,) and not numbers.is_floating_point()
    if not fine or not torch.equal(numbers.sort().values.cpu(), torch.arange(n)):
        raise _damaged_state(f"numbers that are not each of 0 to {n - 1} once", where)


def check_offsets(offsets: Tensor, n_below: int, where: str) -> None:
    """SettingError unless (n + 1,) whole numbers rise from 0 to `n_below`, each by 1 or more."""
    ends = offsets[[0, -1]].tolist() if offsets.dim() == 1 and len(offsets) > 1 else []
    if ends != [0, n_below] or int(offsets.diff().min()) < 1:
        raise _damaged_state(f"numbers that do not rise from 0 to {n_below}", where)


def _damaged_state(found: str, where: str) -> SettingError:
    return SettingError(found, wanted="what megalabel saved", next_step=RESTORE_FOLDER, where=where)


def check_exponents(exponents: Tensor, where: str) -> None:
    """Raises SettingError for scales (n,) int8 of rows with which weights would overflow."""
    ends = int(exponents.min()), int(exponents.max())
    if ends[0] < SMALLEST_EXPONENT or ends[1] >= LARGEST_EXPONENT:
        raise SettingError(
            f"scales of 2^{ends[0]} to 2^{ends[1]}",
            wanted=f"exponents from {SMALLEST_EXPONENT} to {LARGEST_EXPONENT - 1}",
            where=where,
        )
