"""LightXML: recalls groups of labels and ranks the labels of the recalled groups, both trained jointly.

Jiang et al., "LightXML: Transformer with Dynamic Negative Sampling for High-Performance Extreme Multi-label Text
Classification", AAAI 2021. The vector of a text is the concatenation of the first tokens of the encoder's last
five layers, with heavy dropout. One classifier scores all groups; another one, after a narrower layer, scores the
labels of the best groups and of the positive groups. The loss is the sum of two means. The weights of later steps
are averaged.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from megalabel.recipes import options as of
from megalabel.recipes.label_options import ClusterOptions
from megalabel.recipes.options import Count, Size, between, conflict
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    import numpy as np

    from megalabel.data.corpus import Corpus
    from megalabel.heads.lightxml import LightXMLHead


class LightXML(
    ClusterOptions, of.PriorOptions, of.DropoutOptions, of.LastLayersOptions, of.WarmupOptions,
    of.RowOptimizerOptions, of.NeuralOptions,
):  # fmt: skip
    """The options of LightXML; the defaults are the authors' for Amazon-670K."""

    panel = "LightXML"
    encoder = "bert-base-uncased"
    dropout = 0.5
    epochs = 15
    batch_size = 16
    head_lr = 1e-4
    head_weight_decay = 0.01
    encoder_lr = 1e-4
    encoder_eps = 1e-8
    warmup = 0
    last_layers = 5
    candidates: Annotated[Count, "Groups whose labels are ranked for a text."] = 75
    bottleneck: Annotated[Size, "Width of a linear map before the labels; 0 for none."] = 300
    reduction: Annotated[Literal["mean", "sum"], "Of the losses over groups and over candidates."] = "mean"
    average_from: Annotated[float, between(0, 1), "Fraction of the steps before averaging; 1: never."] = 0.27
    average_every: Annotated[Count, "Steps between two averaged weights."] = 3000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.clusters) > 1:
            raise conflict("clusters", f"clusters = {','.join(map(str, self.clusters))}", "one level of groups")


@recipe
def lightxml(corpus: Corpus, options: LightXML) -> Recipe:
    """Recalls label groups, then ranks their labels, end to end (AAAI 2021)."""
    import torch

    from megalabel.recipes import shared
    from megalabel.recipes.pretrained import last_layers_readout
    from megalabel.recipes.row_optimizers import row_optimizer
    from megalabel.training.optim.averaging import WeightAverage
    from megalabel.training.optim.groups import Optimizers, adamw
    from megalabel.training.optim.schedule import WarmupConstant

    torch.manual_seed(options.seed)
    kept, held = shared.held_out(corpus, options)
    schedule = WarmupConstant(shared.planned_steps(corpus, kept, options)[1], options.warmup)
    encoder, _, batches = shared.last_layers(
        shared.text_side(
            corpus, kept, options, dropout=options.dropout,
            bag={}, transformer={"readouts": [last_layers_readout(options)]},
        ),
        options,
    )  # fmt: skip
    head = _head(corpus, kept, options, encoder.dim)
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(encoder, options),
        tokens=shared.token_optimizer(encoder, options),
        head=row_optimizer(head, options),
        bottleneck=adamw(
            head.bottleneck,
            options.encoder_lr,
            options.encoder_weight_decay,
            options.encoder_eps,
            betas=options.encoder_betas,
            kind=options.encoder_optimizer,
        ),
    )
    start, every = int(options.average_from * batches.steps), options.average_every
    return Recipe(
        corpus, encoder, head, batches, optimizers, schedule,
        **shared.run_fields(options, held),
        averaging=WeightAverage(start=start, every=every) if start < batches.steps else None,
    )  # fmt: skip


def _head(corpus: Corpus, kept: np.ndarray, options: LightXML, dim: int) -> LightXMLHead:
    import torch

    from megalabel.heads.lightxml import LightXMLHead
    from megalabel.labels.counts import texts_with
    from megalabel.recipes.shared import cluster_tree

    if not (options.tree or options.clusters):  # about 64 labels per group
        options = replace(options, clusters=(2 ** max(1, round(math.log2(corpus.n_labels / 64))),))
    tree = cluster_tree(corpus, kept, options, options.seed)
    candidates, width = min(options.candidates, tree.sizes[0]), options.bottleneck
    head = LightXMLHead(tree, dim, candidates=candidates, bottleneck=width, reduction=options.reduction)
    if options.bias_from_prior:
        head.init_prior([torch.from_numpy(n) for n in texts_with(tree, corpus.train.labels[kept])], len(kept))
    return head
