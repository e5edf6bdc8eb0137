"""Optimizer steps on the rows that were candidates, computed directly from factored gradients.

For each row that occurs in a `TableGradient`, summed in the order of the list and of the texts:

    g = Σ cells · views                                   a vector (D,); no gradient of the table's size is stored
    Adam: mean, square ← moments of g;  weight ← (1 − lr · decay) · weight − lr · corrected mean / (√corrected
          square + eps)
    SGD:  weight ← weight − lr · (g + decay · weight)

Rows that were not candidates are neither read nor written, so that the time does not depend on the number of rows
of the table, and no gradient buffer is needed. A row that was a candidate is updated even if its gradient is 0.
Adam is a lazy AdamW (Loshchilov and Hutter, 2019; Kingma and Ba, 2015): the moments, weight decay and step count
of a row change only in steps in which it is a candidate, and its bias correction uses its own step count. If every
row is a candidate in every step, the result is that of torch.optim.AdamW. Biases are updated alike, without decay.

Implementations: numba on CPUs (`_cpu/row_step.py`) and Triton on CUDA, both for float32; in all other cases the
plain versions, which hold the gradients of all touched rows at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.narrow_rows import drawn, for_narrow, on_rows
from megalabel.kernels.candidates.row_checks import checked_groups
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.kernels.updates.adam import AdamSettings, adam_step_
from megalabel.kernels.updates.sgd import check_rates, sgd_step_
from megalabel.storage.tables import zeros_beside

__all__ = ["adam_state", "plain_adam", "plain_sgd", "row_adam", "row_sgd"]

_COMPILED = Operation(__package__, "row_step", ("cpu", "triton"))
_NARROW = Operation(__package__, "row_step")  # the body for GPUs moves float32 alone


def adam_state(weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
    """The initial Adam state of a table: moments shaped like weights and bias, and step counts, all zeros.

    mean, square (n, D); bias_mean, bias_square (n,), only with a bias; steps (n,) int32, one per row.
    """
    state = {"mean": zeros_beside(weight), "square": zeros_beside(weight)}
    if bias is not None:
        state |= {"bias_mean": torch.zeros_like(bias.detach()), "bias_square": torch.zeros_like(bias.detach())}
    return state | {"steps": torch.zeros(weight.shape[0], dtype=torch.int32, device=weight.device)}


@torch.no_grad()
def row_adam(
    weight: Tensor,
    bias: Tensor | None,
    state: dict[str, Tensor],
    gradients: list[TableGradient],
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """One step of lazy AdamW, in place, for the sum of `gradients`.

    Args:
        weight: (n, D).
        bias: (n,), or None.
        state: the state of this table, from `adam_state`.
        gradients: the gradients of the micro-batches of this step; their order affects rounding only.
        lr: learning rate, 0 or more.
        betas: decay rates of mean and square, each from 0 to below 1; may change between steps.
        eps: added to the square root of the bias-corrected second moment, above 0.
        weight_decay: decoupled, 0 or more; does not apply to the bias.

    Raises:
        SettingError: shapes, dtypes or numbers do not fit, rows are outside the table, or gradients are not
            finite; weight and state are then unchanged.
    """
    settings = AdamSettings(lr, betas, eps, weight_decay)
    settings.check()
    _check_state(weight, bias, state)
    groups = checked_groups(weight, bias, gradients)
    if len(groups) == 0:
        return
    fast = _COMPILED.for_table(weight)
    adam = plain_adam if fast is None else fast.adam
    adam(weight.detach(), None if bias is None else bias.detach(), state, groups, settings)


@torch.no_grad()
def row_sgd(
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    gradients: list[TableGradient],
    lr: float,
    weight_decay: float = 0.0,
    draw: Draw | None = None,
) -> None:
    """One step of stochastic gradient descent without momentum, in place; arguments as for `row_adam`.

    A narrow table moves as float32, in which gradients and biases are, and is rounded with the random numbers
    `draw`.
    """
    check_rates(lr, weight_decay)
    groups = checked_groups(weight, bias, gradients)
    if len(groups) == 0:
        return
    if isinstance(weight, NarrowTable):
        draw = drawn(weight, draw)
        fast = for_narrow(_NARROW, weight, bias)
        if fast is not None:
            fast.sgd(weight, None if bias is None else bias.detach(), groups, lr, weight_decay, draw)
            return

        def step(values: Tensor, own: list[Tensor], part: RowGroups) -> None:
            _sgd(values, own[0] if own else None, part, lr, weight_decay)

        on_rows(weight, [] if bias is None else [bias.detach()], groups, draw, step)
        return
    _sgd(weight.detach(), None if bias is None else bias.detach(), groups, lr, weight_decay)


def _sgd(weight: Tensor, bias: Tensor | None, groups: RowGroups, lr: float, weight_decay: float) -> None:
    fast = _COMPILED.for_table(weight)
    (plain_sgd if fast is None else fast.sgd)(weight, bias, groups, lr, weight_decay)


def plain_adam(
    weight: Tensor, bias: Tensor | None, state: dict[str, Tensor], groups: RowGroups, settings: AdamSettings
) -> None:
    """The definition, for any type and device."""
    rows = groups.rows()
    state["steps"][rows] += 1
    steps = state["steps"][rows].to(torch.float64)
    tables = [([weight, state["mean"], state["square"]], settings)]
    if bias is not None:
        columns = [t[:, None] for t in (bias, state["bias_mean"], state["bias_square"])]
        tables.append((columns, settings._replace(weight_decay=0.0)))
    for (tensors, own), gradient in zip(tables, groups.sums(rows), strict=False):
        p, mean, square = moved = [t[rows] for t in tensors]
        adam_step_(p, mean, square, gradient, steps, own)
        for t, part in zip(tensors, moved, strict=True):
            t[rows] = part


def plain_sgd(weight: Tensor, bias: Tensor | None, groups: RowGroups, lr: float, weight_decay: float) -> None:
    """The definition, for any type and device."""
    rows = groups.rows()
    tables = [(weight, weight_decay)] if bias is None else [(weight, weight_decay), (bias[:, None], 0.0)]
    for (table, decay), gradient in zip(tables, groups.sums(rows), strict=False):
        p = table[rows]
        sgd_step_(p, gradient, lr, decay)
        table[rows] = p


def _check_state(weight: Tensor, bias: Tensor | None, state: dict[str, Tensor]) -> None:
    likes = {"mean": weight, "square": weight, "steps": state.get("steps", weight)}
    if bias is not None:
        likes |= {"bias_mean": bias, "bias_square": bias}
    good = state.keys() >= likes.keys() and likes["steps"].dtype == torch.int32
    good = good and likes["steps"].shape == weight.shape[:1] and likes["steps"].device == weight.device
    for name, like in likes.items():
        have = state.get(name, weight)
        good = good and have.shape == like.shape and have.dtype == like.dtype and have.device == like.device
        good = good and have.is_contiguous() == like.is_contiguous()
    if not good:
        found = ", ".join(f"{name} {tuple(x.shape)} {x.dtype}" for name, x in state.items())
        raise SettingError(
            f"a state of {found or 'nothing'} for weights {tuple(weight.shape)} {weight.dtype}",
            wanted="mean and square like the weights, bias_mean and bias_square like the bias, steps (n,) int32",
            next_step="create it with adam_state(weight, bias), or load it from a checkpoint of this table",
            where="state",
        )
