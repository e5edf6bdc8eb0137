"""The options of optimizers and schedules, in groups that the recipes take."""

from __future__ import annotations

from typing import Annotated, Literal

from megalabel.recipes.kinds import ADAM, Betas, Eps, Fraction, Nonnegative, conflict
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


class EncoderOptimizerOptions(Options):
    """How the parameters of an encoder move."""

    panel = "Optimization"

    encoder_lr: Annotated[Nonnegative, "Learning rate of the encoder."] = 1e-5
    encoder_weight_decay: Annotated[Nonnegative, "Weight decay of the encoder's matrices; bag: none."] = 0.01
    encoder_betas: Annotated[Betas, "Of the AdamW of a transformer and of what is trained beside it."] = ADAM
    encoder_eps: Annotated[Eps, "Of the same AdamW."] = 1e-6
    token_betas: Annotated[Betas, "Of the Adam of sparsely updated token embeddings, and of a bag."] = ADAM
    token_eps: Annotated[Eps, "Of the same Adam."] = 1e-8
    token_lr: Annotated[Nonnegative, "Learning rate of sparsely updated token embeddings."] = 0.002
    sparse_embedding_updates: Annotated[bool, "Pretrained: update only the token embeddings of a batch."] = False
    max_grad_norm: Annotated[Nonnegative, "Clips the gradient of the encoder; 0 for no clipping."] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas(self)


class MomentumOptions(Options):
    """Momentum of a classifier that is trained by SGD."""

    panel = "Optimization"

    head_momentum: Annotated[Fraction, "Momentum of sgd; 0 saves a buffer as large as the weights."] = 0.9


class WarmupOptions(Options):
    """The warm-up of a schedule."""

    panel = "Optimization"

    warmup: Annotated[Nonnegative, "Warm-up in steps; below 1: as a fraction of all steps."] = 0.1


def check_betas(options: Options) -> None:
    """SettingError for betas of an Adam that are not two."""
    for name in options.declared:
        if name.endswith("_betas") and len(getattr(options, name)) != 2:
            shown = ",".join(f"{beta:g}" for beta in getattr(options, name))
            raise conflict(name, f"{name} = {shown}", "two numbers, such as 0.9,0.999")
