"""The options of optimizers and schedules, in groups that the recipes take."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated, Literal

from megalabel.recipes.kinds import ADAM, Betas, Eps, Fraction, Nonnegative, conflict
from megalabel.training.option import Constant
from megalabel.training.options import Options


class HeadRateOptions(Options):
    """How the parameters of a classifier move."""

    panel = "Optimization"

    head_lr: Annotated[Nonnegative, "Learning rate of the classifier."] = 1e-3
    head_weight_decay: Annotated[Nonnegative, "Weight decay of the classifier."] = 1e-4


class HeadOptimizerOptions(HeadRateOptions):
    """By which optimizer the parameters of a classifier move."""

    panel = "Optimization"

    head_optimizer: Annotated[Literal["sgd", "adamw"], "Optimizer of the classifier."] = "adamw"
    head_betas: Annotated[Betas, "Of the classifier's adamw."] = ADAM
    head_eps: Annotated[Eps, "Of the classifier's adamw."] = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas(self)


class RowOptimizerOptions(HeadOptimizerOptions):
    """By which optimizer the rows of a classifier move in the steps that scored them."""

    panel = "Optimization"

    head_optimizer: Annotated[
        Literal["sgd", "adamw", "adagrad"], "Optimizer of the classifier; adagrad: one number of state per row."
    ] = "adamw"  # type: ignore[assignment]  # one more choice
    head_eps: Annotated[Eps, "Of the classifier's adamw or adagrad."] = 1e-6


class EncoderOptimizerOptions(Options):
    """How the parameters of an encoder move."""

    panel = "Optimization"

    encoder_optimizer: Annotated[Literal["adamw", "adamw8bit"], "adamw8bit: 2 bytes of state; needs torchao."] = (
        "adamw"
    )
    encoder_lr: Annotated[Nonnegative, "Learning rate of the encoder."] = 1e-5
    encoder_weight_decay: Annotated[Nonnegative, "Weight decay of the encoder's matrices; bag: none."] = 0.01
    encoder_betas: Annotated[Betas, "Of the AdamW of a transformer and of what is trained beside it."] = ADAM
    encoder_eps: Annotated[Eps, "Of the same AdamW."] = 1e-6
    token_betas: Annotated[Betas, "Of the Adam of sparsely updated token embeddings, and of a bag."] = ADAM
    token_eps: Annotated[Eps, "Of the same Adam."] = 1e-8
    token_lr: Annotated[Nonnegative, "Learning rate of sparsely updated tokens."] = 0.002
    sparse_embedding_updates: Annotated[bool, "Pretrained: update only the tokens of a batch."] = False
    max_grad_norm: Annotated[Nonnegative, "Clips the gradient of the encoder; 0 for no clipping."] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas(self)


class MomentumOptions(Options):
    """Momentum of a classifier that is trained by SGD."""

    panel = "Optimization"

    head_momentum: Annotated[Fraction, "Momentum of sgd; 0 saves a buffer as large as the weights."] = 0.9


class WeightTypeOptions(Options):
    """The types in which a classifier that scores every label keeps its weights and its momentum."""

    panel = "Optimization"

    weights: Annotated[
        Literal["float32", "bfloat16", "float8"], "Stored type of the classifier's weights; narrow ones need sgd."
    ] = "float32"
    compensated_fraction: Annotated[
        Fraction, "Narrow weights: fraction of labels, most frequent first, that keep what rounding cuts off."
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_narrow(self, "sgd")
        check_compensated(self)


class RowWeightTypeOptions(Options):
    """The type in which a classifier whose optimizer is an option keeps its weights."""

    panel = "Optimization"

    weights: Annotated[
        Literal["float32", "bfloat16", "float8"],
        "Stored type; narrow: sgd or adagrad.",
    ] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_narrow(self, "sgd", "adagrad")


class CompensatedWeightTypeOptions(RowWeightTypeOptions):
    """The same for a classifier that scores every label."""

    panel = "Optimization"

    compensated_fraction: Annotated[
        Fraction, Constant, "Narrow weights, sgd: labels, most frequent first, that keep what rounding cuts off."
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_compensated(self)


class MomentumTypeOptions(MomentumOptions):
    """Momentum, and the type in which it is kept."""

    panel = "Optimization"

    momentum_dtype: Annotated[Literal["float32", "bfloat16"], "Stored type; bfloat16: stochastic rounding."] = (
        "float32"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        optimizer = getattr(self, "head_optimizer", "sgd")
        if self.momentum_dtype != "float32" and optimizer != "sgd":
            found = f"momentum_dtype = {self.momentum_dtype} with head_optimizer = {optimizer}"
            raise conflict("momentum_dtype", found, "head_optimizer = sgd, or momentum_dtype = float32")
        if (
            self.momentum_dtype != "float32"
            and not self.head_momentum
            and getattr(self, "accumulation_steps", 1) == 1
        ):
            found = f"momentum_dtype = {self.momentum_dtype} with head_momentum = 0, where nothing has that type"
            raise conflict("momentum_dtype", found, "a head_momentum above 0, or momentum_dtype = float32")


class TableOptions(Options):
    """Where the tables of a classifier are while it is trained."""

    panel = "Training"

    tables: Annotated[Literal["memory", "disk"], "Where the classifier's weights are."] = "memory"

    def __post_init__(self) -> None:
        super().__post_init__()
        of_every_row = getattr(self, "dense_updates", False) or self.dense_adamw
        if self.tables == "disk" and of_every_row:
            wanted = "head_optimizer = sgd" if self.dense_adamw else "no dense_updates"
            found = "tables = disk with AdamW of every row, whose gradients and moments are in memory"
            raise conflict("tables", found, f"{wanted}, or tables = memory")

    @property
    def dense_adamw(self) -> bool:
        """Whether AdamW moves a classifier that scores every label."""
        return False

    def building(self) -> AbstractContextManager[None]:
        """Makes the tables of the classifier on disk, where the option says so."""
        if self.tables == "memory":
            return super().building()
        from megalabel.storage.tables import tables_on_disk

        return tables_on_disk()


class WarmupOptions(Options):
    """The warm-up of a schedule."""

    panel = "Optimization"

    warmup: Annotated[Nonnegative, "Warm-up in steps; below 1: as a fraction of all steps."] = 0.1


def check_narrow(options: WeightTypeOptions | RowWeightTypeOptions, *optimizers: str) -> None:
    """SettingError for narrow weights with an optimizer that does not round stochastically."""
    optimizer = getattr(options, "head_optimizer", "sgd")
    if options.weights != "float32" and optimizer not in optimizers:
        found = f"weights = {options.weights} with head_optimizer = {optimizer}"
        raise conflict("weights", found, f"head_optimizer = {' or '.join(optimizers)}, or weights = float32")


def check_compensated(options: WeightTypeOptions | CompensatedWeightTypeOptions) -> None:
    """SettingError for compensation of weights of which nothing is cut off, or by another optimizer than SGD."""
    if options.compensated_fraction and options.weights == "float32":
        found = "compensated_fraction with weights = float32, of which nothing is cut off"
        raise conflict("compensated_fraction", found, "weights = bfloat16 or float8")
    optimizer = getattr(options, "head_optimizer", "sgd")
    if options.compensated_fraction and optimizer != "sgd":
        found = f"compensated_fraction with head_optimizer = {optimizer}"
        raise conflict("compensated_fraction", found, "head_optimizer = sgd")


def check_betas(options: Options) -> None:
    """SettingError for betas of an Adam that are not two."""
    for name in options.declared:
        if name.endswith("_betas") and len(getattr(options, name)) != 2:
            shown = ",".join(f"{beta:g}" for beta in getattr(options, name))
            raise conflict(name, f"{name} = {shown}", "two numbers, such as 0.9,0.999")
