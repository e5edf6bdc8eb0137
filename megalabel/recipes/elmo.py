"""ELMO (ICML 2025, arXiv 2510.11168): every label is scored by weights in 8 or 16 bits, trained without momentum.

Renée without momentum, whose classifier is stored in a narrow type and rounded stochastically after each update;
docs/papers/elmo.md has the details and the differences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from megalabel.recipes.options import (
    DropoutOptions,
    EncoderTrainingOptions,
    HeadRateOptions,
    Nonnegative,
    TableOptions,
    Unset,
    WarmupOptions,
    WeightTypeOptions,
)
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus


class Elmo(
    DropoutOptions, WeightTypeOptions, TableOptions, WarmupOptions, HeadRateOptions, EncoderTrainingOptions
):
    """The options of ELMO; the defaults are those of the authors' configuration for Amazon-670K."""

    panel = "ELMO"

    encoder = "bert-base-uncased"
    max_length = 128
    dropout = 0.75
    epochs = 55
    batch_size = 64
    head_lr = 0.01
    weights = "float8"
    warmup = 1000
    bias: Annotated[bool, "Biases per label, initialized from label frequencies."] = False
    head_init_std: Annotated[
        Nonnegative | None, Unset("sqrt(2 / (labels + width))"), "Of the classifier's initial weights."
    ] = None


@recipe
def elmo(corpus: Corpus, options: Elmo) -> Recipe:
    """Scores every label with weights in 8 or 16 bits, rounded stochastically (ICML 2025)."""
    import torch

    from megalabel.encoders.readout import mean
    from megalabel.heads.abilities import LabelPrior
    from megalabel.heads.dense import DenseHead
    from megalabel.heads.wrappers.label_parallel import over_processes
    from megalabel.inputs.augment import label_counts
    from megalabel.recipes import shared
    from megalabel.recipes.dense_sgd import sgd_of
    from megalabel.training.optim.groups import Optimizers
    from megalabel.training.optim.schedule import WarmupCosine

    torch.manual_seed(options.seed)
    kept, held = shared.held_out(corpus, options)
    schedule = WarmupCosine(shared.planned_steps(corpus, kept, options)[1], options.warmup)
    encoder, rows, batches = shared.text_side(
        corpus, kept, options, dropout=options.dropout, bag={}, transformer={"readouts": [mean()]}
    )
    std = options.head_init_std
    if std is None:  # that of Xavier's uniform distribution
        std = (2 / (corpus.n_labels + encoder.dim)) ** 0.5
    head = over_processes(
        DenseHead, corpus.n_labels, encoder.dim, bias=options.bias, init_std=std,
        loss_every=options.log_every, weights=options.weights,
    )  # fmt: skip
    counts = label_counts(rows, corpus.n_labels)
    if isinstance(head, LabelPrior) and options.bias:
        head.init_prior(torch.from_numpy(counts), len(rows))
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(encoder, options),
        tokens=shared.token_optimizer(encoder, options),
        head=sgd_of(head, counts, options),
    )
    return Recipe(corpus, encoder, head, batches, optimizers, schedule, **shared.run_fields(options, held))
