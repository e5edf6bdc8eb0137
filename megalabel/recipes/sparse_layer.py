"""The label layer of Spartex: rewiring schedule, tree of the label groups, head and optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch

from megalabel.heads.label_layer import label_layer
from megalabel.heads.rewiring import Rewiring
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.labels import grouping
from megalabel.labels.build import build_tree
from megalabel.labels.cluster import choose_depths
from megalabel.recipes.dense_sgd import most_frequent
from megalabel.recipes.options import conflict
from megalabel.recipes.shared import renamed_errors
from megalabel.training.optim.groups import FusedAdagrad, FusedAdam, FusedSGD, adamw

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.labels.tree import LabelTree
    from megalabel.recipes.label_options import SparseHeadOptions


class Plan(NamedTuple):
    """The schedule of a run.

    auxiliary_steps: number of steps after which the auxiliary classifier is dropped.
    rewiring: how connections are replaced; None if they are not.
    """

    auxiliary_steps: int
    rewiring: Rewiring | None


def plan(options: SparseHeadOptions, per_epoch: int, steps: int) -> Plan:
    """The plan of a run; SettingError if no rewiring would occur, or the auxiliary would not fade out."""
    frozen_at, auxiliary_steps = int(options.rewire_until * steps), round(options.auxiliary_epochs * per_epoch)
    if options.prune != "none" and options.rewire_every > frozen_at:
        found = f"connections change in the first {frozen_at:,} of {steps:,} steps"
        found = f"rewire_every = {options.rewire_every:,} where {found}"
        raise conflict("rewire_every", found, "at least one rewiring, or prune none")
    if options.auxiliary and not 1 <= auxiliary_steps <= steps:
        found = f"auxiliary_epochs = {options.auxiliary_epochs:g} for epochs = {options.epochs}"
        raise conflict("auxiliary_epochs", found, "an auxiliary classifier that fades out within the run")
    if options.prune == "none":
        return Plan(auxiliary_steps, None)
    with renamed_errors(every="rewire_every", until="rewire_until"):
        rewiring = Rewiring(
            options.rewire_every, frozen_at, prune=options.prune, prune_threshold=options.prune_threshold,
            anneal=options.prune_anneal,
            prune_fraction=options.prune_fraction, prune_scope=options.prune_scope, regrow=options.regrow,
            regrow_init=options.regrow_init, keep_optimizer_state=options.keep_optimizer_state,
            distinct_inputs=options.distinct_inputs, seed=options.seed,
        )  # fmt: skip
    return Plan(auxiliary_steps, rewiring)


def check_fan_in(options: SparseHeadOptions, encoder_width: int | None, rewiring: Rewiring | None) -> None:
    """Raises SettingError if fan_in exceeds the width of the embedding, or leaves no inputs for rewiring.

    `encoder_width` is None if it is not known before the encoder is loaded.
    """
    width = options.projection_dim or encoder_width
    if width is not None and options.fan_in > width:
        found, wanted = f"fan_in = {options.fan_in}", f"1 to {width}, the width of the embedding"
        raise conflict("fan_in", found, f"{wanted}, which projection_dim can widen")
    if rewiring is not None:
        rewiring.check(options.fan_in, width or options.fan_in + 1, options.group)


def group_tree(corpus: Corpus, kept: np.ndarray, options: SparseHeadOptions) -> LabelTree:
    """A tree with a level for the auxiliary classifier and one for the groups."""
    n_labels = corpus.n_labels
    return build_tree(
        corpus, rows=kept, source=options.tree_source, tokenizer=options.tree_tokenizer, graph=options.tree_graph,
        seed=options.seed, depths=sorted({grouping.auxiliary_depth(n_labels), *choose_depths(n_labels)[-1:]}),
    )  # fmt: skip


def build_head(
    options: SparseHeadOptions,
    plan: Plan,
    dim: int,
    counts: np.ndarray,
    n_texts: int,
    tree: LabelTree | None,
    groups: np.ndarray | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The label layer with its wrappers, and the optimizers of all of these by name.

    Args:
        options: the options of the recipe.
        plan: the plan of the run.
        dim: width of the embedding.
        counts: training texts per label, (L,) int64.
        n_texts: number of training texts.
        tree: the label tree, where auxiliary or groups need one.
        groups: the cluster of each label for the auxiliary, (L,) int64; None for those of the tree.
    """
    head: Any = label_layer(
        counts, n_texts, options.projection_dim or dim, _order(options, counts, tree), options.dense_fraction,
        bias_from_prior=options.bias_from_prior, fan_in=options.fan_in, group=options.group, loss=options.loss,
        reduction=options.reduction or "", init_scale=options.head_init_scale,
        init_connections=options.init_connections, distinct_inputs=options.distinct_inputs,
        rewiring=plan.rewiring, loss_every=options.log_every, weights=options.weights,
        seed=options.seed,
    )  # fmt: skip
    fused = _head_optimizer(head, options, counts)
    as_encoder: dict[str, Any] = {
        "eps": options.encoder_eps, "betas": options.encoder_betas, "kind": options.encoder_optimizer,
    }  # fmt: skip
    optimizers: dict[str, Any] = {}
    if options.projection_dim:
        head = WithProjection(head, dim, activation=options.projection_activation)
        optimizers["intermediate"] = adamw(
            head.linear, options.projection_lr, options.projection_weight_decay, **as_encoder
        )
    if options.auxiliary:
        clusters = _auxiliary_clusters(cast("LabelTree", tree)) if groups is None else groups
        weight = options.auxiliary_weight
        head = WithAuxiliary(head, torch.from_numpy(clusters), loss_weight=weight, until=plan.auxiliary_steps)
        optimizers["auxiliary"] = adamw(
            head.auxiliary, options.auxiliary_lr, options.auxiliary_weight_decay, **as_encoder
        )
    return head, {**optimizers, "head": fused}


def _head_optimizer(head: Any, options: SparseHeadOptions, counts: np.ndarray) -> Any:
    """The optimizer of the label layer; biases decay as weights do, as published."""
    rates: dict[str, Any] = {"lr": options.head_lr, "weight_decay": options.head_weight_decay, "decay_bias": True}
    if options.head_optimizer == "sgd":
        compensated: Any = most_frequent(counts, options.compensated_fraction)
        if compensated is not None and isinstance(head, PartitionedHead):
            compensated = head.rows_in_parts(compensated)
        return FusedSGD(
            head, momentum=options.head_momentum, momentum_dtype=options.momentum_dtype, compensated=compensated,
            seed=options.seed, **rates,
        )  # fmt: skip
    if options.head_optimizer == "adagrad":
        return FusedAdagrad(head, eps=options.head_eps, seed=options.seed, **rates)
    coupled = options.head_optimizer == "adam"
    return FusedAdam(head, betas=options.head_betas, eps=options.head_eps, coupled=coupled, **rates)


def _auxiliary_clusters(tree: LabelTree) -> np.ndarray:
    return grouping.auxiliary_clusters(tree, grouping.auxiliary_level(tree))


def _order(options: SparseHeadOptions, counts: np.ndarray, tree: LabelTree | None) -> np.ndarray | None:
    """The order of the labels, in which neighbors share their inputs; None for the order of ids."""
    if options.group == 1:
        return None
    return (
        grouping.by_tree(cast("LabelTree", tree)) if options.group_by == "tree" else grouping.by_frequency(counts)
    )
