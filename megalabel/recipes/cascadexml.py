"""CascadeXML: one encoder, one label tree, and a classifier for each level of it, all trained at once.

Kharbanda et al., "CascadeXML: Rethinking Transformers for End-to-end Multi-resolution Training in Extreme
Multi-label Classification", NeurIPS 2022. Coarse levels of the tree read middle layers of the encoder, the labels
its last one; each level scores only the children of the clusters that the level above ranks best, so that a step
costs what its candidates cost, whatever the number of labels. The loss is a mean over each level's candidates.
Labels are clustered beforehand by the words of their texts, smoothed over labels that occur together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from megalabel.training.knobs import check_choice, require
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

# For 1 to 4 cluster levels: the encoder's layers in twelfths (the first two are joined), beams, dropouts.
# Two and three are the authors' commands for Wiki10-31K and Amazon-670K, one and four our own.
BY_LEVELS: dict[int, tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]] = {
    1: ((9, 10, 12), (64,), (0.3, 0.4)),
    2: ((7, 8, 10, 12), (64, 64), (0.3, 0.3, 0.4)),
    3: ((5, 6, 8, 10, 12), (128, 256, 400), (0.2, 0.25, 0.4, 0.5)),
    4: ((3, 4, 6, 8, 10, 12), (128, 128, 256, 400), (0.2, 0.2, 0.25, 0.4, 0.5)),
}


@recipe
def cascadexml(
    data: Corpus,
    *,
    encoder: str = "bert-base-uncased",
    tokenizer: str = "own",
    vocabulary: int = 100_000,
    max_length: int = 128,
    epochs: int = 15,
    batch_size: int = 256,
    micro_batches: int = 4,
    tree: str = "",
    tree_source: str = "texts",
    tree_tokenizer: str = "words",
    tree_graph: bool = True,
    tree_unit: bool = False,
    tree_features: int = 1000,
    depths: tuple[int, ...] = (),
    beams: tuple[int, ...] = (),
    layers: tuple[float, ...] = (),
    pool: str = "first",
    level_dropout: tuple[float, ...] = (),
    level_weights: tuple[float, ...] = (),
    scores: str = "label*parent",
    reduction: str = "mean",
    token_dropout: float = 0.0,
    pairs: int = 0,
    hidden: int = 512,
    shared_view: bool = False,
    label_texts: bool = False,
    prior: bool = False,
    head_optimizer: str = "adamw",
    head_lr: float = 1e-3,
    head_weight_decay: float = 0.005,
    encoder_lr: float = 1e-4,
    encoder_weight_decay: float = 0.05,
    token_lr: float = 0.002,
    sparse_tokens: bool = False,
    schedule: str = "three-phase",
    warmup_epochs: float = 1.0,
    final_epochs: float = 3.0,
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
    """The recipe of CascadeXML; the defaults are the authors' for Amazon-670K.

    Args:
        data: texts, label sets and label texts.
        encoder: bag, small, or a pretrained one: a folder, an installed package's model, a hub name.
        tokenizer: of bag and small: own (bundled word pieces), or words or symbols learnt from the corpus.
        vocabulary: most tokens that a learnt tokenizer has.
        max_length: tokens of a text that are read.
        epochs: how often every text is seen.
        batch_size: texts a step.
        micro_batches: parts a batch is cut into; their losses, each a mean, are summed (the authors' 4 of 64).
        tree: a folder from `megalabel tree build`; empty to build one.
        tree_source: what labels are clustered by: texts (those that have them), names (their own), or both.
        tree_tokenizer: how words are told for that: words, or symbols for formulae and code.
        tree_graph: smooth the labels' words over the labels that a random walk reaches.
        tree_unit: bring every label's words to unit length before that, lest frequent labels drown the others.
        tree_features: words of a label that are kept; each costs 16 bytes a label while the tree is built.
        depths: clusters a level as powers of two, coarse to fine; empty for what suits the number of labels.
        beams: clusters kept at each level; empty for the authors'.
        layers: which of the encoder's layers each level reads, as fractions of its depth: one a level and one
            more, since the first level reads two; empty for the authors'.
        pool: of a layer's tokens: first (the paper), or mean.
        level_dropout: share of the view's entries dropped, a number a level, labels last; empty for the authors'.
        level_weights: of the levels' losses; empty for 1 each.
        scores: labels are ranked by label, label*parent, path (all levels multiplied), or fading (each level to
            half the power of the one below).
        reduction: of the loss over a level's candidates: mean (the paper), or sum, which suits sgd.
        token_dropout: share of a text's tokens hidden in training.
        pairs: of the bag: give word pairs that occur in so many texts a vector; 0 for none.
        hidden: width inside the residual blocks of a bag; 0 for none.
        shared_view: let all levels read the encoder's last view.
        label_texts: train on the label texts as further rows.
        prior: begin the biases at the labels' and clusters' frequencies.
        head_optimizer: adamw or sgd, both of touched rows only; sgd keeps nothing beside the tables.
        head_lr: learning rate of the classifiers.
        head_weight_decay: decay of the classifiers' weights.
        encoder_lr: learning rate of the encoder.
        encoder_weight_decay: decay of a transformer's matrices.
        token_lr: learning rate of the token vectors of bag, of small, and of others with sparse_tokens.
        sparse_tokens: move only those token vectors of a pretrained encoder that a batch has, which is faster.
        schedule: three-phase (rise, level, fall, with Adam's β₁ cycled), or cosine.
        warmup_epochs: length of the rise.
        final_epochs: length of three-phase's fall.
        clip: largest norm of the encoder's gradient; 0 for no limit.
        precision: of the encoder: auto, float32, bfloat16 or float16.
        checkpointing: recompute the encoder's activations in the backward, to save memory.
        log_every: steps between lines in the log, with shortlist recall and P@k of each level.
        validation: share of the training texts held out to choose the best epoch; 0 for none.
        hybrid: linear rankers beside the trained model, by the preset of the recipe `hybrid`; a twentieth of the
            texts is held out for them where validation is 0.
        patience: validations without a gain before training stops; 0 for never.
        select: metric that chooses the best epoch.
        seed: of the tree, the order, the first weights and the dropout.
    """
    import torch

    from megalabel.encoders.readout import Readout, check_enough_layers, readout_per_level
    from megalabel.heads.cascade import CascadeHead
    from megalabel.heads.cascade_settings import REDUCTIONS
    from megalabel.inputs.batches import Batches, hold_out
    from megalabel.inputs.token_store import check_texts
    from megalabel.labels.build import build_tree
    from megalabel.labels.counts import texts_with
    from megalabel.recipes.hybrid import held_share, second_stage
    from megalabel.recipes.shared import check_reads, encoder_optimizer, saved_tree, text_encoder
    from megalabel.training.optim.groups import Optimizers, adamw, lazy_adam
    from megalabel.training.optim.row_sparse import RowAdam, RowSGD
    from megalabel.training.optim.schedule import ThreePhase, WarmupCosine

    check_texts(data.train, data)
    check_choice("reduction", reduction, REDUCTIONS)
    final = final_epochs if schedule == "three-phase" else 0.0
    phases = f"warmup_epochs = {warmup_epochs:g}" + (f" and final_epochs = {final:g}" if final else "")
    one_of_two = "correct the one or the other"
    require(
        warmup_epochs + final <= epochs, f"{phases} for epochs = {epochs}",
        wanted="phases that are together no longer than the run", next_step=one_of_two,
    )  # fmt: skip
    require(not (tree and depths), "a tree and depths", wanted="one: a tree has its depths", next_step=one_of_two)
    require(not (shared_view and layers), "shared_view and layers", wanted="one of them", next_step=one_of_two)
    check_reads(encoder, layers=bool(layers), pool=pool != "first")
    torch.manual_seed(seed)
    kept, held = hold_out(len(data.train), held_share(validation, hybrid), seed)
    label_tree = saved_tree(tree, data) if tree else build_tree(
        data, rows=kept, source=tree_source, graph=tree_graph, normalize=tree_unit, cluster_features=tree_features,
        depths=depths or None, tokenizer=tree_tokenizer, seed=seed,
    )  # fmt: skip
    levels = label_tree.depth
    twelfths, _, usual_dropout = (_for_levels(levels, values) for values in BY_LEVELS[min(levels, 4)])
    fractions = layers or [layer / 12 for layer in twelfths]
    readouts = [Readout(pool=pool)] if shared_view else readout_per_level(fractions, levels, pool)
    text, rows = text_encoder(
        encoder, data, kept, tokenizer=tokenizer, vocabulary=vocabulary, max_length=max_length,
        label_texts=label_texts, sparse_tokens=sparse_tokens, token_dropout=token_dropout,
        of_bag={"pairs": pairs, "hidden": hidden, "views": 1 if shared_view else levels + 1},
        of_transformer={"readouts": readouts, "join": True, "checkpointing": checkpointing},
    )  # fmt: skip
    if encoder != "bag" and not (layers or shared_view):
        check_enough_layers(text.n_layers, fractions)

    batches = Batches(rows, batch_size, epochs, seed=seed, pad_id=text.tokenizer.pad_id)
    head = CascadeHead(
        label_tree, text.dim, n_views=text.n_views,
        beams=beams or default_beams(label_tree.sizes),
        dropout=level_dropout or usual_dropout, level_weights=level_weights, scores=scores, reduction=reduction,
    )  # fmt: skip
    if prior:
        head.init_prior([torch.from_numpy(n) for n in texts_with(label_tree, data.train.labels[kept])], len(kept))
    joins = getattr(text, "joins", None)  # the paper counts the linear map of its first level to the head
    optimizers = Optimizers(
        encoder=encoder_optimizer(text, encoder_lr, encoder_weight_decay, without=joins),
        joins=None if joins is None else adamw(joins, head_lr, head_weight_decay),
        tokens=lazy_adam(text, token_lr),
        head=(RowAdam if head_optimizer == "adamw" else RowSGD)(head, head_lr, head_weight_decay),
    )
    steps, per_epoch = batches.steps, batches.per_epoch
    return Recipe(
        data, text, head, batches, optimizers,
        schedule=ThreePhase(steps, per_epoch, warmup_epochs, final_epochs)
        if schedule == "three-phase"
        else WarmupCosine(steps, round(warmup_epochs * per_epoch)),
        max_length=max_length, validation=held, patience=patience, select=select, micro_batches=micro_batches,
        precision=precision, clip=clip, seed=seed, log_every=log_every,
        then=second_stage(data, kept, held) if hybrid else None,
    )  # fmt: skip


def default_beams(sizes: Sequence[int]) -> list[int]:
    """The authors' beams for a tree of these sizes (clusters of each level, then labels), none above its level."""
    levels = len(sizes) - 1
    usual = _for_levels(levels, BY_LEVELS[min(levels, 4)][1])
    return [min(beam, size) for beam, size in zip(usual, sizes, strict=False)]


def _for_levels(levels: int, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values for four levels made longer for a deeper tree: the coarsest again."""
    return (values[0],) * max(levels - 4, 0) + values
