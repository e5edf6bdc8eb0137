"""The optimizer of a classifier whose rows are moved where a step scored them, as its options say."""

from __future__ import annotations

from megalabel.heads.base import Head
from megalabel.recipes.options import RowOptimizerOptions
from megalabel.training.optim.row_sparse import RowAdagrad, RowAdam, RowOptimizer, RowSGD


def row_optimizer(head: Head, options: RowOptimizerOptions, seed: int = 0) -> RowOptimizer:
    """AdamW, row-wise Adagrad or SGD of the rows that were candidates; `seed` is that of the rounding."""
    rates = options.head_lr, options.head_weight_decay
    if options.head_optimizer == "sgd":
        return RowSGD(head, *rates, seed=seed)
    if options.head_optimizer == "adagrad":
        return RowAdagrad(head, *rates, eps=options.head_eps, seed=seed)
    return RowAdam(head, *rates, betas=options.head_betas, eps=options.head_eps)
