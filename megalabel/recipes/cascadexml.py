"""CascadeXML: one encoder and a label tree with a classifier per level, all trained jointly.

Kharbanda et al., "CascadeXML: Rethinking Transformers for End-to-end Multi-resolution Training in Extreme
Multi-label Classification", NeurIPS 2022. Coarse levels of the tree read middle layers of the encoder, the labels
read the last one; each level scores only the children of the clusters that the level above ranks best, so that the
cost of a step depends on the number of candidates, not of labels. The loss is a mean over the candidates of each
level. Labels are clustered before training by the words of their texts, smoothed over labels that occur together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from megalabel.recipes.label_options import ClusterOptions, LevelOptions
from megalabel.recipes.levels import for_levels
from megalabel.recipes.optimizer_options import RowOptimizerOptions, RowWeightTypeOptions, TableOptions
from megalabel.recipes.options import PoolingOptions, conflict
from megalabel.recipes.phase_options import PhaseOptions
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.heads.cascade_base import CascadeBase
    from megalabel.labels.tree import LabelTree
    from megalabel.training.optim.groups import Optimizers


class CascadeXML(
    ClusterOptions, LevelOptions, PoolingOptions, RowWeightTypeOptions, TableOptions, RowOptimizerOptions,
    PhaseOptions,
):  # fmt: skip
    """The options of CascadeXML; the defaults are the authors' for Amazon-670K."""

    panel = "Optimization"

    encoder = "bert-base-uncased"
    epochs = 15
    batch_size = 64
    tree_graph = True
    head_weight_decay = 0.005
    encoder_lr = 1e-4
    encoder_weight_decay = 0.05
    dense_updates: Annotated[bool, "adamw moves every row in every step, as published; slow for many labels."] = (
        False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dense_updates and self.head_optimizer != "adamw":
            found = f"dense_updates with head_optimizer = {self.head_optimizer}"
            raise conflict("dense_updates", found, "head_optimizer adamw")


@recipe
def cascadexml(corpus: Corpus, options: CascadeXML) -> Recipe:
    """One classifier per level of a label tree, each reading its own encoder layer (NeurIPS 2022)."""
    import torch

    from megalabel.distributed.objects import from_main
    from megalabel.distributed.world import World
    from megalabel.encoders.bag import Bag
    from megalabel.encoders.readout import Readout, check_enough_layers, readout_per_level
    from megalabel.recipes import shared

    torch.manual_seed(options.seed)
    kept, held = shared.held_out(corpus, options)
    tree = from_main(lambda: shared.cluster_tree(corpus, kept, options, options.seed), World.current())
    usual = for_levels(tree.depth)
    fractions = options.layers or [layer / 12 for layer in usual.layers]
    pooling, one = options.readout_pooling, options.shared_view
    readouts = [Readout(pooling=pooling)] if one else readout_per_level(fractions, tree.depth, pooling)
    encoder, _, batches = shared.text_side(
        corpus, kept, options,
        bag={"n_views": 1 if one else tree.depth + 1}, transformer={"readouts": readouts, "join": True},
    )  # fmt: skip
    if not (isinstance(encoder, Bag) or options.layers or one):
        check_enough_layers(encoder.n_layers, fractions)
    head = _head(corpus, kept, options, tree, encoder)
    return Recipe(
        corpus, encoder, head, batches, _optimizers(encoder, head, options), options.schedule_of(batches),
        **shared.run_fields(options, held),
    )  # fmt: skip


def _head(corpus: Corpus, kept: Any, options: CascadeXML, tree: LabelTree, encoder: Any) -> CascadeBase:
    import torch

    from megalabel.heads.wrappers.cascade_parallel import cascade_over_processes
    from megalabel.labels.counts import texts_with

    usual = for_levels(tree.depth)
    beams = options.beams or [min(beam, size) for beam, size in zip(usual.beams, tree.sizes, strict=False)]
    head = cascade_over_processes(
        tree, encoder.dim, n_views=encoder.n_views, beams=beams,
        level_dropout=options.level_dropout or usual.dropout, level_weights=options.level_weights,
        path_score=options.path_score, reduction=options.reduction, weights=options.weights,
    )  # fmt: skip
    if options.bias_from_prior:
        counts = texts_with(tree, corpus.train.labels[kept])
        head.init_prior([torch.from_numpy(n) for n in counts], len(kept))
    return head


def _optimizers(encoder: Any, head: CascadeBase, options: CascadeXML) -> Optimizers:
    from megalabel.recipes.row_optimizers import row_optimizer
    from megalabel.recipes.shared import encoder_optimizer, token_optimizer
    from megalabel.training.optim.groups import Optimizers, adamw

    joins = getattr(encoder, "joins", None)  # the paper counts the linear map of its first level to the head
    return Optimizers(
        encoder=encoder_optimizer(encoder, options, without=joins),
        joins=None
        if joins is None
        else adamw(joins, options.head_lr, options.head_weight_decay, options.head_eps, betas=options.head_betas),
        tokens=token_optimizer(encoder, options),
        head=adamw(head, options.head_lr, options.head_weight_decay, options.head_eps, betas=options.head_betas)
        if options.dense_updates
        else row_optimizer(head, options, options.seed),
    )
