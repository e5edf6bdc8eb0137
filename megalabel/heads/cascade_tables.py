"""The tables of a `CascadeHead` in the type in which its weights are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.heads.checks import check_exponents, check_offsets, check_permutation
from megalabel.heads.initial import filled_part, uniform_
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.labels.tree import LabelTree
from megalabel.storage.tables import new_table


def add_tables(head: Any, initialize: bool, generator: torch.Generator | None) -> None:
    """Adds weights, biases and, for float8, exponents of all levels.

    Weights are drawn by Xavier's rule; narrow ones are zeros without `initialize`.
    """
    kind, dim = head.weight_type, head.dim
    biases = nn.ParameterList(torch.zeros(n) for n in head.sizes)
    if not kind.is_narrow:
        head.weights = nn.ParameterList(new_table((n, dim)) for n in head.sizes)
        for weight in head.weights:
            uniform_(weight, math.sqrt(3) * math.sqrt(2 / (len(weight) + dim)), generator)  # as torch computes it
        head.biases = biases
        return
    tables = [NarrowTable.zeros(n, dim, kind) for n in head.sizes]
    head.weights = nn.ParameterList(nn.Parameter(table.codes) for table in tables)
    head.biases = biases
    for i, table in enumerate(tables):
        if initialize:
            seed = int(torch.randint(1 << 62, (), generator=generator))
            table.uniform_(math.sqrt(6 / (len(table.codes) + dim)), Draw(seed, 0), generator)
        if table.exponents is not None:
            head.register_buffer(f"exponents_{i}", table.exponents)


def add_own_tables(head: Any, own: Sequence[range], generator: torch.Generator | None) -> None:
    """Adds float32 weights and biases of some rows of each level, with the numbers that `add_tables` draws.

    Args:
        head: the head with `sizes`, the numbers of rows of whole tables.
        own: the rows of each level.
        generator: random generator of the weights; None for torch's default.
    """
    head.weights = nn.ParameterList(new_table((len(rows), head.dim)) for rows in own)
    for weight, rows, n in zip(head.weights, own, head.sizes, strict=True):
        limit = math.sqrt(3) * math.sqrt(2 / (n + head.dim))
        draw = partial(_uniform, limit, generator)
        filled_part(weight, n, rows.start, draw, generator)
    head.biases = nn.ParameterList(torch.zeros(len(rows)) for rows in own)


def add_tree(head: Any, tree: LabelTree) -> None:
    """Adds the buffers of a tree: the children of each cluster, and the row of each label."""
    for i, offsets in enumerate(tree.offsets):
        head.register_buffer(f"offsets_{i}", torch.from_numpy(np.array(offsets)))
    head.register_buffer("label_to_row", torch.from_numpy(tree.position))


def check_tree(head: Any) -> None:
    """Raises SettingError for a tree that does not lead from each cluster to its children and to each label."""
    for offsets, n_below in zip(head.offsets, head.sizes[1:], strict=True):
        check_offsets(offsets, n_below, "offsets")
    check_permutation(head.get_buffer("label_to_row"), head.n_labels, "label_to_row")


def tables_of(head: Any) -> list[tuple[Tensor | NarrowTable, Tensor]]:
    """The weights (n_i, D) and biases (n_i,) of each level.

    Raises:
        SettingError: narrow weights have been converted to another dtype.
    """
    if not head.weight_type.is_narrow:
        return list(zip(head.weights, head.biases, strict=True))
    tables = [NarrowTable(head.weight_type, w, _exponents(head, i)) for i, w in enumerate(head.weights)]
    return list(zip(tables, head.biases, strict=True))


def check_trainable(head: Any) -> None:
    """Raises SettingError for narrow weights in training without an optimizer that updates rows."""
    if head.training:
        raise SettingError(
            f"training weights in {head.weight_type.name} without an optimizer of rows",
            wanted="RowSGD or RowAdagrad, which round stochastically: narrow weights have no gradients",
            next_step="make the optimizer first, or call eval() for the gradient of the views alone",
            where="weights",
        )


def check_scales(head: Any) -> None:
    """Raises SettingError for scales with which weights would overflow."""
    for i in range(len(head.sizes)):
        exponents = _exponents(head, i)
        if exponents is not None:
            check_exponents(exponents, f"exponents_{i}")


def largest_scale(head: Any) -> float:
    """The largest number of a type with the largest scale of a row; 0 without scales."""
    if head.weight_type.scale == "none":
        return 0.0
    largest = max(int(head.get_buffer(f"exponents_{i}").max()) for i in range(len(head.sizes)))
    return float(head.weight_type.largest * 2.0**largest)


def _exponents(head: Any, level: int) -> Tensor | None:
    exponents: Tensor | None = head.get_buffer(f"exponents_{level}") if head.weight_type.scale == "row" else None
    return exponents


def _uniform(limit: float, generator: torch.Generator | None, part: Tensor) -> Tensor:
    return part.uniform_(-limit, limit, generator=generator)
