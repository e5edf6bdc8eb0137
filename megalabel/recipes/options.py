"""The options that the neural recipes share, in groups; a recipe inherits the groups it uses and changes defaults.

Each option is declared here once, with its type, range or choices, default and help. The groups for the label side
of single recipes are in `label_options`, those of the linear recipes in `linear_options`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from megalabel.encoders.prompts import DEFAULT, NO_PROMPT
from megalabel.recipes.kinds import ADAM, Betas, Count, Eps, Fraction, Nonnegative, Size, conflict
from megalabel.recipes.optimizer_options import (
    CompensatedWeightTypeOptions,
    EncoderOptimizerOptions,
    HeadOptimizerOptions,
    HeadRateOptions,
    MomentumOptions,
    MomentumTypeOptions,
    RowOptimizerOptions,
    RowWeightTypeOptions,
    TableOptions,
    WarmupOptions,
    WeightTypeOptions,
)
from megalabel.recipes.run_encoder import is_run, plain_name
from megalabel.training.option import Constant, Option, Unset
from megalabel.training.options import Options
from megalabel.training.ranges import FRACTION, Matches, PowerOfTwo, Range, above, at_least, between
from megalabel.training.selection import METRIC

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

__all__ = [
    "ADAM", "Betas", "CompensatedWeightTypeOptions", "Constant", "Count", "EncoderOptimizerOptions",
    "Eps", "FRACTION", "Fraction", "HeadOptimizerOptions", "HeadRateOptions", "Matches",
    "MomentumOptions", "MomentumTypeOptions", "Nonnegative", "Option", "Options", "PowerOfTwo", "Range",
    "RowOptimizerOptions", "RowWeightTypeOptions", "Size", "TableOptions", "Unset", "WarmupOptions",
    "WeightTypeOptions", "above", "at_least", "between", "conflict",
]  # fmt: skip


class TokenOptions(Options):
    """How texts become tokens of an encoder."""

    panel = "Text"

    encoder: Annotated[str, "bag, small, a run, or pretrained: folder, package or hub name."] = "bag"
    tokenizer: Annotated[
        Literal["wordpiece", "words", "symbols"], "Of bag and small; words, symbols: learned."
    ] = "wordpiece"
    vocabulary: Annotated[int, at_least(3), "Maximum number of learned tokens."] = 100_000
    prompt: Annotated[str, "Before texts: a name of the encoder's, a text, or none."] = DEFAULT
    max_length: Annotated[Size, "Maximum tokens per text; 0: chosen from the data."] = 128
    windows: Annotated[Count, "Windows of max_length tokens that a transformer averages."] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.windows > 1 and not self.max_length:
            raise conflict("windows", "windows and max_length = 0", "a max_length above 0 for windows")
        refuse_for_a_bag(self, "windows", self.windows > 1)
        if self.prompt not in (DEFAULT, NO_PROMPT) and plain_name(self.encoder) in ("bag", "small"):
            found = f"prompt {self.prompt!r} for the encoder {self.encoder}, which was trained with none"
            raise conflict("prompt", found, "a pretrained encoder, or no prompt")


class TextOptions(TokenOptions):
    """Which texts are read, and how."""

    label_texts: Annotated[Literal["yes", "no"], "Train on the label texts as additional texts."] = "no"

    def check_corpus(self, corpus: Corpus) -> None:
        """Raises DataError for a corpus without texts."""
        from megalabel.inputs.needs_texts import check_texts

        super().check_corpus(corpus)
        check_texts(corpus.train, corpus)


class EncoderOptions(Options):
    """Architecture, regularization and precision of the encoder."""

    panel = "Encoder"

    token_dropout: Annotated[Fraction, "Fraction of the tokens of a text hidden in training."] = 0.0
    bigram_min_count: Annotated[Size, "bag: texts a bigram must occur in to get a vector; 0: none."] = 0
    hidden_dim: Annotated[Size, "Width inside the residual block of a bag; 0: none."] = 512
    encoder_weights: Annotated[str | None, Unset("its own"), "Pretrained: a state_dict.pt or .safetensors."] = None
    compile: Annotated[bool, "Compile a transformer; pays on a GPU."] = False
    gradient_checkpointing: Annotated[bool, "Recompute activations in the backward to save memory."] = False
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], "Of the encoder's matrix products."
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = getattr(self, "encoder", None)
        if self.encoder_weights and (name in ("bag", "small") or is_run(name)):
            why = "which has weights of its own" if is_run(name) else "which is not pretrained"
            found = f"encoder_weights for the encoder {name}, {why}"
            raise conflict("encoder_weights", found, "a pretrained encoder of the same shape")
        refuse_for_a_bag(self, "compile", self.compile)
        refuse_for_a_bag(self, "encoder_optimizer", getattr(self, "encoder_optimizer", "") == "adamw8bit")
        if self.compile and getattr(self, "sparse_embedding_updates", False):
            found = "compile and sparse_embedding_updates, which torch.compile does not support"
            raise conflict("compile", found, "one of the two")


class SeedOptions(Options):
    """The seed of all random numbers."""

    panel = "Training"

    seed: Annotated[int, Range(0, 2**32, below=True), "Seeds shuffling, initialization, trees and dropout."] = 0


class TrainingOptions(SeedOptions):
    """Length of the training, and batches."""

    epochs: Annotated[Count, "Passes over the training texts."] = 10
    batch_size: Annotated[Count, "Texts per optimizer step."] = 256
    accumulation_steps: Annotated[Count, "Parts a batch is split into to save memory."] = 1
    log_every: Annotated[Count, Constant, "Steps between two lines of the log."] = 50


class HeldOutOptions(Options):
    """Training texts that are held out."""

    panel = "Validation"

    validation_fraction: Annotated[Fraction, "Fraction of the training texts held out for validation."] = 0.05


class ValidationOptions(HeldOutOptions):
    """How the best epoch is chosen."""

    selection_metric: Annotated[str, METRIC, "Chooses the best epoch: P@k, nDCG@k, PSP@k, PSnDCG@k, R@k."] = (
        "nDCG@5"
    )
    validate_epochs: Annotated[float, above(0), "Epochs, or a fraction of one, between validations."] = 1.0
    patience: Annotated[Size, "Validations without improvement before training stops; 0: never."] = 0


class EncoderTrainingOptions(
    TextOptions, EncoderOptions, EncoderOptimizerOptions, TrainingOptions, ValidationOptions
):
    """The options of every recipe that trains an encoder; those of the head's optimizer are added by recipes."""


class NeuralOptions(HeadOptimizerOptions, EncoderTrainingOptions):
    """The options of a recipe that trains an encoder, and a classifier with a choice of optimizers."""


class DropoutOptions(Options):
    """Dropout of the embedding."""

    panel = "Encoder"

    dropout: Annotated[Fraction, "Dropout of the embedding."] = 0.0


class PoolingOptions(Options):
    """How the vectors of tokens become one vector of the text."""

    panel = "Encoder"

    pooling: Annotated[
        Literal["first", "mean", "max", "last", "own"],
        "Pooling of tokens; own: the encoder's.",
    ] = "first"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_for_a_bag(self, "pooling", self.pooling != type(self).pooling)
        name = getattr(self, "encoder", None)
        if self.pooling == "own" and name is not None and plain_name(name) in ("bag", "small"):
            raise conflict("pooling", f"pooling=own for the encoder {name}", "first or mean")

    @property
    def readout_pooling(self) -> str:
        """The pooling of readouts until the encoder is loaded, which may have one of its own."""
        return "mean" if self.pooling == "own" else self.pooling


class LastLayersOptions(PoolingOptions):
    """How many layers a vector of the text is made of."""

    panel = "Encoder"

    last_layers: Annotated[Count, "Last layers pooled side by side; a bag has one."] = 1


class PriorOptions(Options):
    """Initialization of the biases of the labels."""

    panel = "Label layer"

    bias_from_prior: Annotated[bool, "Initialize biases from label frequencies."] = False


class TreeOptions(Options):
    """The label tree, built from the training texts or read from a folder."""

    panel = "Label tree"

    tree: Annotated[str | None, Unset("built"), "A folder of `megalabel tree build`."] = None
    tree_source: Annotated[
        Literal["texts", "names", "both"], "What labels are clustered by: their texts, or names."
    ] = "texts"
    tree_tokenizer: Annotated[Literal["words", "symbols"], "For clustering; symbols: formulas and code."] = "words"
    tree_graph: Annotated[bool, "Smooth label features over a random walk on the label graph."] = False


def check_rising(clusters: Sequence[int]) -> None:
    """Raises SettingError unless each level has more clusters than the one before."""
    if any(a >= b for a, b in pairwise(clusters)):
        found = f"clusters = {','.join(map(str, clusters))}"
        raise conflict("clusters", found, "rising powers of two, coarse to fine, such as 1024,8192")


def depths_of(clusters: Sequence[int]) -> tuple[int, ...]:
    """The depths of the levels with these numbers of clusters, each a power of two, in a tree of binary splits."""
    return tuple(n.bit_length() - 1 for n in clusters)


def check_coarsest(clusters: Sequence[int], corpus: Corpus) -> None:
    """Raises SettingError if the first level has more clusters than the corpus has labels."""
    if clusters and clusters[0] > corpus.n_labels:
        found = f"{clusters[0]:,} clusters on the coarsest level, of {corpus.n_labels:,} labels"
        raise conflict("clusters", found, "at most as many clusters as labels")


def refuse_for_a_bag(options: Options, name: str, given: bool) -> None:
    """Raises SettingError if an option about the layers of an encoder is given for a bag, which has none."""
    name_of = getattr(options, "encoder", None)
    if given and name_of is not None and plain_name(name_of) == "bag":
        raise conflict(
            name, f"{name}: the encoder bag has no layers", "its default, or a transformer as --encoder"
        )
