"""Checks of a table whose rows are scored, and of the gradients that are applied to them."""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import Candidates, TableGradient
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.core.checks import all_finite, check_bias, must_be_finite
from megalabel.kernels.rounding.narrow_table import NarrowTable


def own_dtype(weight: Tensor | NarrowTable) -> torch.dtype:
    """The dtype in which a table is computed with: float32 for a narrow one."""
    return torch.float32 if isinstance(weight, NarrowTable) else weight.dtype


def checked_groups(weight: Tensor | NarrowTable, bias: Tensor | None, gradients: list[TableGradient]) -> RowGroups:
    """The gradients, checked against the table and sorted.

    Args:
        weight: (n, D).
        bias: (n,) of the same dtype, float32 beside a narrow table; or None.
        gradients: those of the micro-batches of a step.

    Raises:
        SettingError: shapes, dtypes or devices do not fit, or gradients are not finite.
    """
    dtype = own_dtype(weight)
    if len(weight.shape) != 2 or (bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != dtype)):
        raise SettingError(
            f"weights {tuple(weight.shape)} and a bias {None if bias is None else tuple(bias.shape)}",
            wanted="(n, D) and (n,) or None, of one dtype",
            next_step="create the bias with weight.new_zeros(n_rows)",
        )
    for gradient in gradients:
        views, cells, candidates = gradient.views, gradient.cells, gradient.candidates
        fits = views.shape == (candidates.batch, weight.shape[1]) and cells.shape == (candidates.n_cells,)
        if not fits or candidates.n_rows > weight.shape[0]:
            raise SettingError(
                f"a gradient of views {tuple(views.shape)}, cells {tuple(cells.shape)} and rows up to "
                f"{candidates.n_rows - 1} for weights {tuple(weight.shape)}",
                wanted="a gradient of this table",
                next_step="update each table with the gradients that candidate_bce returned for it",
                where="gradients",
            )
        if {views.dtype, cells.dtype} != {dtype} or {views.device, cells.device} != {weight.device}:
            raise SettingError(
                f"a gradient in {views.dtype} and {cells.dtype} on {views.device}",
                wanted=f"{dtype} on {weight.device}, like the weights",
                next_step="compute the gradient with candidate_bce from these weights",
                where="gradients",
            )
    groups = RowGroups.from_gradients(gradients)
    if not (all_finite(groups.cells) and all_finite(groups.views)):
        raise SettingError(
            "gradients that contain inf or NaN",
            wanted="finite numbers",
            next_step="skip this step if a loss scale overflowed; else resume from the last checkpoint "
            "with a lower learning rate",
            where="gradients",
        )
    return groups


def check_scored(views: Tensor, weight: Tensor | NarrowTable, bias: Tensor | None, candidates: Candidates) -> None:
    """Raises SettingError unless views (B, D), a table (n, D), its bias (n,) and candidates fit together."""
    if views.dim() != 2 or len(weight.shape) != 2 or views.shape[1] != weight.shape[1] or weight.shape[0] == 0:
        raise SettingError(
            f"views {tuple(views.shape)} and weights {tuple(weight.shape)}",
            wanted="(B, D) and (n, D) with the same D, and at least one row",
            next_step="pass the output width of the encoder as `dim` of the head",
        )
    if own_dtype(weight) not in (torch.float32, torch.float64):
        raise SettingError(
            f"weights of type {own_dtype(weight)}",
            wanted="float32 or float64 (narrower weights lose small updates)",
            next_step="keep the head in float32",
        )
    check_bias(weight.codes if isinstance(weight, NarrowTable) else weight, bias, own_dtype(weight))
    if candidates.batch != views.shape[0]:
        raise SettingError(
            f"candidates of {candidates.batch} texts and views of {views.shape[0]}",
            wanted="candidates for each text of the batch",
            next_step="use the candidates of the shortlist of this batch",
        )
    if candidates.n_rows > weight.shape[0]:
        raise SettingError(
            f"a candidate row {candidates.n_rows - 1} for a table of {weight.shape[0]} rows",
            wanted="rows of the table",
            next_step="check that tree and tables belong together: one row per node of a level",
        )
    if {weight.device, candidates.device} != {views.device}:
        raise SettingError(
            f"views on {views.device}, weights on {weight.device}, candidates on {candidates.device}",
            wanted="all on one device",
            next_step="move them with .to(device)",
        )
    must_be_finite(views, "the output of the encoder")
