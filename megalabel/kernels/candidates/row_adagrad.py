"""Row-wise Adagrad on the rows that were candidates, computed directly from factored gradients.

For each row that occurs in a `TableGradient`, with the gradient g of `row_step.py`:

    total  ← total + mean of g²
    weight ← (1 − lr · decay) · weight − lr · g / (√total + eps)

The state is one number per row, against two per weight of Adam. The bias of a row is a row of one weight, with an
accumulator of its own and without decay. Rows that were not candidates are neither read nor written. A row that
was a candidate decays even if its gradient is 0. Formula and sources are in `kernels/updates/adagrad.py`.

Implementations: numba on CPUs (`_cpu/row_adagrad.py`) for float32; in all other cases the plain version, which
holds the gradients of all touched rows at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.narrow_rows import drawn, for_narrow, on_rows
from megalabel.kernels.candidates.row_checks import checked_groups, own_dtype
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.kernels.updates.adagrad import AdagradSettings, adagrad_step_

__all__ = ["adagrad_state", "plain_adagrad", "row_adagrad"]

_COMPILED = Operation(__package__, "row_adagrad")


def adagrad_state(weight: Tensor | NarrowTable, bias: Tensor | None) -> dict[str, Tensor]:
    """The initial state of a table (n, D): `total` (n,) and, with a bias, `bias_total` (n,), all zeros."""
    state = {"total": torch.zeros(weight.shape[0], dtype=own_dtype(weight), device=weight.device)}
    return state if bias is None else state | {"bias_total": torch.zeros_like(state["total"])}


@torch.no_grad()
def row_adagrad(
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    state: dict[str, Tensor],
    gradients: list[TableGradient],
    lr: float,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    draw: Draw | None = None,
) -> None:
    """One step of row-wise Adagrad, in place, for the sum of `gradients`.

    Args:
        weight: (n, D). A narrow table moves as float32, in which gradients, biases and state are.
        bias: (n,), or None.
        state: the state of this table, from `adagrad_state`.
        gradients: the gradients of the micro-batches of this step; their order affects rounding only.
        lr: learning rate, 0 or more.
        eps: added to the square root of the accumulator, above 0.
        weight_decay: decoupled, 0 or more; does not apply to the bias.
        draw: the random numbers with which a narrow table is rounded.

    Raises:
        SettingError: shapes, dtypes or numbers do not fit, rows are outside the table, or gradients are not
            finite; weight and state are then unchanged.
    """
    settings = AdagradSettings(lr, eps, weight_decay)
    settings.check()
    _check_state(weight, bias, state)
    groups = checked_groups(weight, bias, gradients)
    if len(groups) == 0:
        return
    if isinstance(weight, NarrowTable):
        draw = drawn(weight, draw)
        fast = for_narrow(_COMPILED, weight, bias)
        if fast is not None:
            fast.adagrad(weight, None if bias is None else bias.detach(), state, groups, settings, draw)
            return
        beside = [state["total"], *([] if bias is None else [bias.detach(), state["bias_total"]])]

        def step(values: Tensor, own: list[Tensor], part: RowGroups) -> None:
            b = own[1] if len(own) > 1 else None
            _adagrad(values, b, dict(zip(("total", "bias_total"), own[::2], strict=False)), part, settings)

        on_rows(weight, beside, groups, draw, step)
        return
    _adagrad(weight.detach(), None if bias is None else bias.detach(), state, groups, settings)


def _adagrad(
    weight: Tensor, bias: Tensor | None, state: dict[str, Tensor], groups: RowGroups, settings: AdagradSettings
) -> None:
    fast = _COMPILED.for_table(weight)
    (plain_adagrad if fast is None else fast.adagrad)(weight, bias, state, groups, settings)


def plain_adagrad(
    weight: Tensor, bias: Tensor | None, state: dict[str, Tensor], groups: RowGroups, settings: AdagradSettings
) -> None:
    """The definition, for any type and device."""
    rows = groups.rows()
    tables = [(weight, state["total"], settings)]
    if bias is not None:
        tables.append((bias[:, None], state["bias_total"], settings._replace(weight_decay=0.0)))
    for (table, totals, own), gradient in zip(tables, groups.sums(rows), strict=False):
        p, total = table[rows], totals[rows]
        adagrad_step_(p, total, gradient, own)
        table[rows], totals[rows] = p, total


def _check_state(weight: Tensor | NarrowTable, bias: Tensor | None, state: dict[str, Tensor]) -> None:
    names = ("total",) if bias is None else ("total", "bias_total")
    good = state.keys() >= set(names) and len(weight.shape) == 2
    for name in names:
        have = state.get(name)
        good = good and have is not None and have.shape == weight.shape[:1] and have.is_contiguous()
        good = good and have is not None and (have.dtype, have.device) == (own_dtype(weight), weight.device)
    if not good:
        found = ", ".join(f"{name} {tuple(x.shape)} {x.dtype}" for name, x in state.items())
        raise SettingError(
            f"a state of {found or 'nothing'} for weights {tuple(weight.shape)}",
            wanted="total (n,) and, with a bias, bias_total (n,), in the dtype of the bias",
            next_step="create it with adagrad_state(weight, bias), or load it from a checkpoint of this table",
            where="state",
        )
