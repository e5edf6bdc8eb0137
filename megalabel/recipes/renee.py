"""Renée: scores every label, end to end, and computes the gradient without the value of the loss.

Jain et al., "Renée: End-to-End Training of Extreme Classification Models", MLSys 2023. The mean of a transformer's
token vectors is the input, with heavy dropout, of a linear classifier over all labels. The gradient of the logits,
sigmoid(z) − y, is computed directly by chunks of labels, and the weights of the classifier are updated in place by
SGD with momentum. The encoder is trained by AdamW; only its gradient uses loss scaling. Each label text is an
additional training text. The loss is a sum over labels and texts, so that `head_lr` has to be chosen for the
`batch_size`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from megalabel.errors import SettingError
from megalabel.recipes.options import (
    DropoutOptions,
    MomentumTypeOptions,
    NeuralOptions,
    Nonnegative,
    Size,
    TableOptions,
    WarmupOptions,
    WeightTypeOptions,
)
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    import numpy as np

    from megalabel.data.corpus import Corpus
    from megalabel.recipes.shared import TextSide


class Renee(DropoutOptions, MomentumTypeOptions, WeightTypeOptions, TableOptions, WarmupOptions, NeuralOptions):
    """The options of Renée; the defaults are the paper's for LF-AmazonTitles-131K (tables 14 and 15)."""

    panel = "Renée"

    encoder = "distilbert-base-uncased"
    max_length = 32
    label_texts = "yes"
    dropout = 0.85
    epochs = 100
    batch_size = 512
    head_optimizer = "sgd"
    head_lr = 0.05
    warmup = 5000
    frozen: Annotated[bool, "Keep the pretrained encoder; train a residual block and the classifier."] = False
    bottleneck: Annotated[Size, "Width of a linear map after the encoder; 0 for none."] = 0
    bias: Annotated[bool, "Biases per label, initialized from label frequencies."] = False
    head_init_std: Annotated[Nonnegative, "Standard deviation of the classifier's initial weights."] = 0.02

    @property
    def dense_adamw(self) -> bool:
        """Whether AdamW moves a classifier that scores every label."""
        return self.head_optimizer == "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frozen and self.encoder in ("bag", "small"):  # one that a run has trained is pretrained
            raise SettingError(
                f"frozen with the encoder {self.encoder!r}, which is not pretrained",
                wanted="a pretrained encoder",
                next_step="leave frozen out, or use a pretrained encoder",
                where="frozen",
            )


@recipe
def renee(corpus: Corpus, options: Renee) -> Recipe:
    """Scores every label with one linear classifier, trained end to end (MLSys 2023)."""
    import torch

    from megalabel.heads.abilities import LabelPrior
    from megalabel.heads.dense import DenseHead
    from megalabel.heads.wrappers.label_parallel import over_processes
    from megalabel.inputs.augment import label_counts
    from megalabel.recipes import shared
    from megalabel.recipes.dense_sgd import sgd_of
    from megalabel.training.optim.groups import Optimizers, adamw
    from megalabel.training.optim.schedule import WarmupCosine

    torch.manual_seed(options.seed)
    kept, held = shared.held_out(corpus, options)
    schedule = WarmupCosine(shared.planned_steps(corpus, kept, options)[1], options.warmup)
    encoder, rows, batches = _text_side(corpus, kept, options)
    head = over_processes(
        DenseHead, corpus.n_labels, encoder.dim, bias=options.bias, init_std=options.head_init_std,
        loss_every=options.log_every, weights=options.weights,
    )  # fmt: skip
    counts = label_counts(rows, corpus.n_labels)
    if isinstance(head, LabelPrior) and options.bias:
        head.init_prior(torch.from_numpy(counts), len(rows))
    rates = options.head_lr, options.head_weight_decay
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(encoder, options),
        tokens=shared.token_optimizer(encoder, options),
        head=sgd_of(head, counts, options, options.head_momentum, options.momentum_dtype)
        if options.head_optimizer == "sgd"
        else adamw(head, *rates, options.head_eps, betas=options.head_betas),
    )
    return Recipe(corpus, encoder, head, batches, optimizers, schedule, **shared.run_fields(options, held))


def _text_side(corpus: Corpus, kept: np.ndarray, options: Renee) -> TextSide:
    """The encoder, its rows and batches; a frozen encoder is wrapped and followed by dropout."""
    from megalabel.encoders.frozen import Frozen
    from megalabel.encoders.readout import mean
    from megalabel.recipes.shared import text_side

    width, frozen = options.bottleneck, options.frozen
    side = text_side(
        corpus, kept, options, dropout=options.dropout, frozen=frozen,
        bag={"width": width}, transformer={"readouts": [mean()], "bottleneck": width},
    )  # fmt: skip
    if not frozen:
        return side
    return side._replace(encoder=Frozen(side.encoder, hidden_dim=options.hidden_dim, dropout=options.dropout))
