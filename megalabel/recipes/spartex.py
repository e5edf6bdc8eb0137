"""Spartex: a label layer with few connections per label, which are replaced during training.

Ullah, Schultheis, Lasby, Ioannou and Babbar, "Navigating Extremes: Dynamic Sparsity in Large Output Spaces",
NeurIPS 2024. The vector of a transformer is the input, with dropout, of a layer in which every label has `fan_in`
weights. Every `rewire_every` steps the weakest connections are replaced by random ones, up to two thirds of the
run. The squared hinge loss, a mean over all labels, has zero gradient for most of them. A classifier over label
clusters provides the encoder with a gradient in early epochs and fades out; for small label sets, a wider linear
layer is used instead. With `group` above 1, neighboring labels share their connections (HASTE, ICML 2026), which
is much faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megalabel.recipes.label_options import SparseHeadOptions
from megalabel.recipes.options import DropoutOptions, LastLayersOptions, TableOptions, WarmupOptions, conflict
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus


class Spartex(SparseHeadOptions, LastLayersOptions, DropoutOptions, TableOptions, WarmupOptions):
    """The options of Spartex; the defaults are the authors' for Amazon-670K."""

    encoder = "bert-base-uncased"
    dropout = 0.6
    epochs = 110
    batch_size = 64
    head_lr = 0.01
    head_eps = 1e-8  # PyTorch's default, as the authors have it in all their optimizers
    encoder_eps = 1e-8  # at the 1e-6 of Renée the encoder hardly moves under a mean over very many labels
    warmup = 1000

    @property
    def clustered(self) -> bool:
        """Whether the recipe needs a label tree."""
        return (self.auxiliary and not self.label_groups) or (self.group > 1 and self.group_by == "tree")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_groups and not self.auxiliary:
            raise conflict("label_groups", "label_groups without auxiliary", "the clusters of an auxiliary")
        if self.tree and not self.clustered:
            users = "auxiliary, or a group above 1 with group_by tree"
            raise conflict("tree", f"tree = {self.tree!r}, which would not be used", f"a tree with {users}")


@recipe
def spartex(corpus: Corpus, options: Spartex) -> Recipe:
    """Few connections per label, rewired during training (NeurIPS 2024)."""
    import torch

    from megalabel.heads.wrappers.auxiliary import without_auxiliary
    from megalabel.inputs.augment import label_counts
    from megalabel.labels.group_file import read_groups
    from megalabel.recipes import shared, sparse_layer
    from megalabel.recipes.pretrained import last_layers_readout
    from megalabel.training.optim.groups import Optimizers
    from megalabel.training.optim.schedule import WarmupCosine

    tree = shared.saved_tree(options.tree, corpus) if options.tree else None
    groups = read_groups(options.label_groups, corpus) if options.label_groups else None
    kept, held = shared.held_out(corpus, options)
    per_epoch, steps = shared.planned_steps(corpus, kept, options)
    schedule = WarmupCosine(steps, options.warmup)
    plan = sparse_layer.plan(options, per_epoch, steps)
    sparse_layer.check_fan_in(options, shared.known_width(options), plan.rewiring)

    torch.manual_seed(options.seed)
    side = shared.text_side(
        corpus, kept, options, dropout=options.dropout,
        bag={}, transformer={"readouts": [last_layers_readout(options)]},
    )  # fmt: skip
    side = shared.last_layers(side, options)
    encoder = side.encoder
    sparse_layer.check_fan_in(options, encoder.dim, plan.rewiring)  # also for a pretrained encoder
    if options.clustered and tree is None:
        tree = sparse_layer.group_tree(corpus, kept, options)
    counts = label_counts(side.rows, corpus.n_labels)
    head, of_head = sparse_layer.build_head(options, plan, encoder.dim, counts, len(side.rows), tree, groups)
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(encoder, options),
        tokens=shared.token_optimizer(encoder, options),
        **of_head,
    )
    return Recipe(
        corpus, encoder, head, side.batches, optimizers, schedule,
        **shared.run_fields(options, held), inference_head=without_auxiliary,
    )  # fmt: skip
