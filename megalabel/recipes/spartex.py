"""Spartex: a label layer of few connections a label, which are exchanged while it learns.

Ullah, Schultheis, Lasby, Ioannou and Babbar, "Navigating Extremes: Dynamic Sparsity in Large Output Spaces",
NeurIPS 2024. A transformer's vector goes through dropout to a layer in which every label has `fan_in` weights.
Every `rewire_every` steps the weakest connections are replaced by random ones, until two thirds of the run. The
squared hinge, a mean over all labels, has no gradient for most of them. A classifier over clusters of labels gives
the encoder a gradient early on and fades out; for small label sets a wider linear layer does.
With `group` above 1 neighbouring labels share their connections (HASTE, ICML 2026), which is much faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from megalabel.training.knobs import check_choice, require
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

# PyTorch's default, as the authors have it in all their optimizers. At the 1e-6 of Renée the encoder hardly moves
# under a mean over hundreds of thousands of labels: its gradients are near 1e-9.
EPS = 1e-8


@recipe
def spartex(
    data: Corpus,
    *,
    encoder: str = "bert-base-uncased",
    tokenizer: str = "own",
    vocabulary: int = 100_000,
    max_length: int = 128,
    epochs: int = 110,
    batch_size: int = 64,
    micro_batches: int = 1,
    pool: str = "first",
    dropout: float = 0.6,
    token_dropout: float = 0.0,
    pairs: int = 0,
    hidden: int = 512,
    label_texts: bool = False,
    intermediate: int = 0,
    intermediate_activation: str = "none",
    intermediate_lr: float = 2e-4,
    fan_in: int = 128,
    group: int = 1,
    group_by: str = "tree",
    dense_share: float = 0.0,
    connect: str = "random",
    distinct_inputs: bool = False,
    prune: str = "threshold",
    prune_threshold: float = 0.01,
    prune_fraction: float = 0.2,
    prune_scope: str = "layer",
    rewire_every: int = 800,
    rewire_until: float = 0.66,
    growth: str = "random",
    growth_start: str = "zero",
    keep_moments: bool = False,
    auxiliary: bool = True,
    auxiliary_share: float = 0.4,
    auxiliary_epochs: float = 15,
    auxiliary_lr: float = 5e-4,
    tree: str = "",
    tree_source: str = "texts",
    tree_tokenizer: str = "words",
    tree_graph: bool = False,
    loss: str = "squared_hinge",
    reduction: str = "",
    prior: bool = False,
    head_scale: float = 1.0,
    head_optimizer: str = "adamw",
    head_lr: float = 0.01,
    head_momentum: float = 0.9,
    head_eps: float = EPS,
    head_weight_decay: float = 1e-4,
    encoder_lr: float = 1e-5,
    encoder_weight_decay: float = 0.01,
    token_lr: float = 0.002,
    sparse_tokens: bool = False,
    warmup: float = 1000,
    clip: float = 0.0,
    precision: str = "auto",
    checkpointing: bool = False,
    log_every: int = 50,
    validation: float = 0.05,
    hybrid: bool = False,
    patience: int = 0,
    select: str = "nDCG@5",
    seed: int = 0,
) -> Recipe:
    """The recipe of Spartex; the defaults are the authors' for Amazon-670K.

    Args:
        data: texts, label sets and label texts.
        encoder: bag, small, or a pretrained one: a folder, an installed package's model, a hub name.
        tokenizer: of bag and small: own (bundled word pieces), or words or symbols learnt from the corpus.
        vocabulary: most tokens that a learnt tokenizer has.
        max_length: tokens of a text that are read.
        epochs: how often every text is seen.
        batch_size: texts a step.
        micro_batches: parts a batch is cut into, to save memory; changes no schedule. Losses that are means, each
            of its part, are summed: four parts have four times the gradient.
        pool: of the last layer's tokens: first, or mean; for the bag, which has no layers, only the default.
        dropout: share of the embedding's entries dropped.
        token_dropout: share of a text's tokens hidden in training.
        pairs: of the bag: give word pairs that occur in so many texts a vector; 0 for none.
        hidden: width inside the residual block of a bag; 0 for no block.
        label_texts: train on the label texts as further rows.
        intermediate: width of a linear layer between encoder and labels; 0 for none.
        intermediate_activation: behind that layer: none (the paper), relu or gelu.
        intermediate_lr: learning rate of that layer.
        fan_in: connections of a label.
        group: labels that share their connections: 1, 16, 32 or 64; the last group may be smaller.
        group_by: neighbours in the label tree share them, or labels of like frequency.
        dense_share: share of the labels, the most frequent, that listen to every input.
        connect: first connections are random (the paper), or before training chosen by the texts of each label.
        distinct_inputs: never connect a label twice to one input, as the paper's random draw may.
        prune: drop connections below a threshold, a fraction of them, or none, which leaves them as first drawn.
        prune_threshold: of a weight's absolute value; falls to 1e-4 along half a cosine.
        prune_fraction: share of the connections that is dropped each time.
        prune_scope: of a fraction: the weakest of the whole layer, or of each label or group.
        rewire_every: optimiser steps between two exchanges.
        rewire_until: share of all steps after which connections stay.
        growth: new connections are random, or the ones with the largest gradient among some random ones.
        growth_start: new weights are zero (the paper), or uniform as at the start.
        keep_moments: leave the optimiser's state of the old connection to the new one (the authors' code).
        auxiliary: train a classifier over clusters of labels beside the labels, early on.
        auxiliary_share: of the loss, at the start; falls to 0 along half a cosine.
        auxiliary_epochs: when it has, and the auxiliary classifier is dropped.
        auxiliary_lr: learning rate of the auxiliary classifier.
        tree: a folder from `megalabel tree build`, for clusters and groups; empty to build one where needed.
        tree_source: what labels are clustered by: texts (those that have them), names (their own), or both.
        tree_tokenizer: how words are told for that: words, or symbols for formulae and code.
        tree_graph: smooth the labels' words over the labels that a random walk reaches.
        loss: squared_hinge, or bce.
        reduction: of the loss over texts and labels: mean or sum; empty for mean of squared_hinge and sum of bce.
        prior: begin the biases at the labels' frequencies.
        head_scale: first weights are uniform within ± this over the root of fan_in.
        head_optimizer: adamw or sgd; both are in place, and no gradient is held.
        head_lr: learning rate of the label layer.
        head_momentum: momentum of sgd; 0 saves a buffer as large as the weights.
        head_eps: of adamw; a mean over many labels has gradients that are not far above it.
        head_weight_decay: decay of the label layer, biases included.
        encoder_lr: learning rate of the encoder.
        encoder_weight_decay: decay of a transformer's matrices.
        token_lr: learning rate of the token vectors of bag, of small, and of others with sparse_tokens.
        sparse_tokens: move only those token vectors of a pretrained encoder that a batch has, which is faster.
        warmup: steps of warm-up, or a share of all steps where below 1.
        clip: largest norm of the encoder's gradient; 0 for no limit.
        precision: of the encoder: auto, float32, bfloat16 or float16.
        checkpointing: recompute the encoder's activations in the backward, to save memory.
        log_every: steps between lines in the log, with the loss and statistics of the connections.
        validation: share of the training texts held out to choose the best epoch; 0 for none.
        hybrid: linear rankers beside the trained model, by the preset of the recipe `hybrid`; a twentieth of the
            texts is held out for them where validation is 0.
        patience: validations without a gain before training stops; 0 for never.
        select: metric that chooses the best epoch.
        seed: of the connections, the tree, the order, the first weights and the dropout.
    """
    import torch

    from megalabel.encoders.readout import Readout
    from megalabel.heads.every_label import REDUCTIONS
    from megalabel.heads.label_layer import label_layer
    from megalabel.heads.rewiring import Rewiring
    from megalabel.heads.wrappers.auxiliary import WithAuxiliary
    from megalabel.heads.wrappers.projection import WithIntermediate
    from megalabel.inputs.augment import label_counts
    from megalabel.inputs.batches import Batches, hold_out
    from megalabel.inputs.token_store import check_texts
    from megalabel.labels import grouping
    from megalabel.labels.build import build_tree
    from megalabel.labels.cluster import choose_depths
    from megalabel.recipes import shared
    from megalabel.recipes.hybrid import held_share, second_stage
    from megalabel.training.optim.groups import FusedAdam, FusedSGD, Optimizers, adamw, lazy_adam
    from megalabel.training.optim.schedule import WarmupCosine

    check_texts(data.train, data)
    check_choice("reduction", reduction or REDUCTIONS[0], REDUCTIONS)
    clustered = auxiliary or (group > 1 and group_by == "tree")
    shared.check_reads(encoder, pool=pool != "first")
    users = "auxiliary, or a group above 1 with group_by tree"
    label_tree: Any = shared.saved_tree(tree, data, users, used=clustered) if tree else None
    kept, held = hold_out(len(data.train), held_share(validation, hybrid), seed)
    per_epoch, steps = shared.planned_steps(data, kept, label_texts, batch_size, epochs)
    schedule = WarmupCosine(steps, warmup)
    frozen_at, fading = int(rewire_until * steps), round(auxiliary_epochs * per_epoch)
    require(
        prune == "none" or rewire_every <= frozen_at,
        f"rewire_every = {rewire_every:,} where connections change in the first {frozen_at:,} of {steps:,} steps",
        wanted="at least one rewiring", next_step="lower rewire_every, or set prune to none", where="rewire_every",
    )  # fmt: skip
    require(
        not auxiliary or 1 <= fading <= steps, f"auxiliary_epochs = {auxiliary_epochs:g} for epochs = {epochs}",
        wanted="an auxiliary classifier that fades after a step or more, and within the run",
        next_step="change auxiliary_epochs, or leave the auxiliary out", where="auxiliary_epochs",
    )  # fmt: skip
    with shared.in_the_words_of(threshold="prune_threshold", fraction="prune_fraction"):
        rewiring = None if prune == "none" else Rewiring(
            rewire_every, frozen_at, prune=prune, threshold=prune_threshold, fraction=prune_fraction,
            scope=prune_scope, growth=growth, start=growth_start, keep_moments=keep_moments,
            distinct=distinct_inputs, seed=seed,
        )  # fmt: skip
        shared.check_fan_in(intermediate or shared.WIDTHS.get(encoder, fan_in + 1), fan_in, group, rewiring)

    torch.manual_seed(seed)
    text, rows = shared.text_encoder(
        encoder, data, kept, tokenizer=tokenizer, vocabulary=vocabulary, max_length=max_length,
        label_texts=label_texts, sparse_tokens=sparse_tokens, dropout=dropout, token_dropout=token_dropout,
        of_bag={"pairs": pairs, "hidden": hidden},
        of_transformer={"readouts": [Readout(pool=pool)], "checkpointing": checkpointing},
    )  # fmt: skip
    width = intermediate or text.dim
    shared.check_fan_in(width, fan_in, group, rewiring)  # a pretrained encoder's is known only now
    batches = Batches(rows, batch_size, epochs, seed=seed, pad_id=text.tokenizer.pad_id)
    if clustered and label_tree is None:
        label_tree = build_tree(
            data, rows=kept, source=tree_source, tokenizer=tree_tokenizer, graph=tree_graph, seed=seed,
            depths=sorted({grouping.auxiliary_depth(data.n_labels), *choose_depths(data.n_labels)[-1:]}),
        )  # fmt: skip
    counts, order = label_counts(rows, data.n_labels), None
    if group > 1:
        order = grouping.by_tree(label_tree) if group_by == "tree" else grouping.by_frequency(counts)
    head: Any = label_layer(
        counts, len(rows), width, order, dense_share, prior=prior,
        fan_in=fan_in, group=group, loss=loss, reduction=reduction, scale=head_scale, connect=connect,
        distinct=distinct_inputs, rewiring=rewiring, loss_every=log_every, seed=seed,
    )  # fmt: skip
    rates: dict[str, Any] = {"lr": head_lr, "weight_decay": head_weight_decay, "decay_bias": True}
    fused = (
        FusedSGD(head, momentum=head_momentum, **rates) if head_optimizer == "sgd"
        else FusedAdam(head, eps=head_eps, **rates)
    )  # fmt: skip
    beside: dict[str, Any] = {}
    if intermediate:
        head = WithIntermediate(head, text.dim, activation=intermediate_activation)
        beside["intermediate"] = adamw(head.linear, intermediate_lr, eps=EPS)
    if auxiliary:
        level = grouping.auxiliary_level(label_tree)
        clusters = torch.from_numpy(grouping.auxiliary_clusters(label_tree, level))
        head = WithAuxiliary(head, clusters, share=auxiliary_share, until=fading)
        beside["auxiliary"] = adamw(head.auxiliary, auxiliary_lr, eps=EPS)
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(text, encoder_lr, encoder_weight_decay, eps=EPS),
        tokens=lazy_adam(text, token_lr),
        **beside,
        head=fused,
    )
    return Recipe(
        data, text, head, batches, optimizers, schedule,
        max_length=max_length, validation=held, patience=patience, select=select, micro_batches=micro_batches,
        precision=precision, clip=clip, seed=seed, log_every=log_every,
        then=second_stage(data, kept, held) if hybrid else None,
    )  # fmt: skip
