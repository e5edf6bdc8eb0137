"""Options of the label side: connections, projection and auxiliary classifier of Spartex, levels of CascadeXML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from megalabel.recipes.options import (
    FRACTION,
    CompensatedWeightTypeOptions,
    Constant,
    Count,
    Eps,
    Fraction,
    MomentumTypeOptions,
    NeuralOptions,
    Nonnegative,
    Options,
    PowerOfTwo,
    PriorOptions,
    Size,
    TreeOptions,
    Unset,
    between,
    check_coarsest,
    check_rising,
    conflict,
    refuse_for_a_bag,
)

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

AUTHORS = Unset("the authors'")


class ConnectionOptions(Options):
    """The inputs of a label in a sparse label layer."""

    panel = "Connections"

    fan_in: Annotated[Count, "Inputs per label."] = 128
    group: Annotated[Literal[1, 16, 32, 64], "Neighboring labels that share their inputs."] = 1
    group_by: Annotated[Literal["tree", "frequency"], "Which labels are neighbors."] = "tree"
    dense_fraction: Annotated[
        float, between(0, 1), "Fraction of the labels, most frequent first, that read every input."
    ] = 0.0
    init_connections: Annotated[Literal["random", "texts"], "At random, or by the texts of each label."] = "random"
    distinct_inputs: Annotated[bool, "Never connect a label twice to the same input."] = False
    prune: Annotated[Literal["threshold", "fraction", "none"], "Which connections are replaced."] = "threshold"
    prune_threshold: Annotated[Nonnegative, "Of the absolute weight."] = 0.01
    prune_anneal: Annotated[bool, Constant, "The threshold falls to 1e-4 along half a cosine."] = True
    prune_fraction: Annotated[Fraction, "Fraction of the connections replaced each time."] = 0.2
    prune_scope: Annotated[Literal["layer", "group"], "What a fraction is taken of."] = "layer"
    rewire_every: Annotated[Count, "Steps between two replacements."] = 800
    rewire_until: Annotated[float, between(0, 1), "Fraction of all steps after which connections stay."] = 0.66
    regrow: Annotated[Literal["random", "gradient"], "How new connections are chosen."] = "random"
    regrow_init: Annotated[Literal["zero", "uniform"], "Initial weights of new connections."] = "zero"
    keep_optimizer_state: Annotated[bool, "A new connection inherits the state of the old one."] = False


class SparseLayerOptions(PriorOptions):
    """Loss and initialization of a sparse label layer."""

    panel = "Label layer"

    loss: Annotated[Literal["bce", "squared_hinge"], "Loss per label."] = "squared_hinge"
    reduction: Annotated[
        Literal["mean", "sum"] | None, Unset("by loss"), "Over texts and labels; bce: sum, squared_hinge: mean."
    ] = None
    head_init_scale: Annotated[Nonnegative, "Initial weights are uniform within ± this / √fan_in."] = 1.0


class ProjectionOptions(Options):
    """A linear layer between encoder and labels."""

    panel = "Label layer"

    projection_dim: Annotated[Size, "Width of a linear layer before the labels; 0 for none."] = 0
    projection_activation: Annotated[Literal["none", "relu", "gelu"], "After that layer."] = "none"
    projection_lr: Annotated[Nonnegative, "Learning rate of that layer."] = 2e-4
    projection_weight_decay: Annotated[Nonnegative, Constant, "Of the matrix of that layer."] = 0.01


class AuxiliaryOptions(Options):
    """A classifier over clusters of labels that helps the encoder in the first epochs."""

    panel = "Label layer"

    auxiliary: Annotated[bool, "Also train a classifier over label clusters in early epochs."] = True
    label_groups: Annotated[
        str | None, Unset("of the label tree"), "Clusters in Spartex's file label_group<k>.npy."
    ] = None
    auxiliary_weight: Annotated[Fraction, "Initial loss weight; falls to 0 along half a cosine."] = 0.4
    auxiliary_epochs: Annotated[Nonnegative, "Epochs after which it is dropped."] = 15
    auxiliary_lr: Annotated[Nonnegative, "Learning rate of the auxiliary classifier."] = 5e-4
    auxiliary_weight_decay: Annotated[Nonnegative, Constant, "Of the matrix of the auxiliary classifier."] = 0.01


class ClusterOptions(TreeOptions):
    """How the tree of a cascade is clustered."""

    panel = "Label tree"

    tree_normalize: Annotated[bool, "Normalize label features before smoothing."] = False
    tree_cluster_features: Annotated[Count, "Features kept per label for clustering."] = 1000
    clusters: Annotated[
        tuple[Annotated[int, PowerOfTwo()], ...], Unset("by number of labels"), "Per level, rising powers of two."
    ] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rising(self.clusters)
        if self.tree and self.clusters:
            raise conflict("clusters", "a tree and clusters", "one of the two: a tree has its clusters")

    def check_corpus(self, corpus: Corpus) -> None:
        """Raises SettingError if the coarsest level would have more clusters than there are labels."""
        super().check_corpus(corpus)
        check_coarsest(self.clusters, corpus)


class LevelOptions(PriorOptions):
    """The inputs and beams of each level of a cascade; several values are those of the levels, labels last."""

    panel = "Levels"

    beams: Annotated[tuple[Count, ...], AUTHORS, "Clusters kept per cluster level."] = ()
    layers: Annotated[
        tuple[Annotated[float, between(0, 1)], ...], AUTHORS, "Encoder layers read, as fractions of the depth."
    ] = ()
    level_dropout: Annotated[tuple[Annotated[float, FRACTION], ...], AUTHORS, "Dropout per level."] = ()
    level_weights: Annotated[tuple[Nonnegative, ...], Unset("1 each"), "Loss weight per level."] = ()
    path_score: Annotated[
        Literal["label", "label*parent", "path", "decayed"], "decayed: each level up counts half."
    ] = "label*parent"
    reduction: Annotated[Literal["mean", "sum"], "Of the loss over the candidates of a level."] = "mean"
    shared_view: Annotated[bool, "All levels read the last layer."] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_for_a_bag(self, "layers", bool(self.layers))
        if self.shared_view and self.layers:
            raise conflict("layers", "shared_view and layers", "one of the two")


class SparseHeadOptions(
    ConnectionOptions,
    SparseLayerOptions,
    ProjectionOptions,
    AuxiliaryOptions,
    TreeOptions,
    CompensatedWeightTypeOptions,
    MomentumTypeOptions,
    NeuralOptions,
):
    """Everything that decides the label side of Spartex, as `sparse_layer` reads it."""

    panel = "Optimization"

    encoder_optimizer: Annotated[
        Literal["adamw", "adamw8bit", "adam", "sgd"],
        "adamw8bit: 2 bytes of state; needs torchao.",
    ] = "adamw"  # type: ignore[assignment]  # more choices
    head_optimizer: Annotated[
        Literal["sgd", "adamw", "adam", "adagrad"],
        "adam: coupled decay; adagrad: row-wise.",
    ] = "adamw"  # type: ignore[assignment]  # more choices
    head_eps: Annotated[Eps, "Of the classifier's adamw, adam or adagrad."] = 1e-6
