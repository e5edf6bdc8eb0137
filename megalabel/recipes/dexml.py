"""DEXML: one encoder for texts and label texts, trained with the decoupled softmax.

Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification", ICLR 2024. The score of a label is an inner
product of unit vectors. There are no weights per label, so new labels need only their texts. In the loss each
positive competes with the labels that the text does not have, but not with the text's other positives. The loss is
the mean over the texts of the mean over their positives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from megalabel.recipes.options import (
    Count,
    DropoutOptions,
    EncoderTrainingOptions,
    PoolingOptions,
    Size,
    WarmupOptions,
    above,
    conflict,
)
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus


class DEXML(DropoutOptions, PoolingOptions, WarmupOptions, EncoderTrainingOptions):
    """The options of DEXML; the defaults are the authors' for LF-AmazonTitles-131K."""

    panel = "DEXML"

    encoder = "distilbert-base-uncased"
    max_length = 32
    epochs = 100
    batch_size = 3000
    encoder_lr = 3e-4
    encoder_eps = 1e-8
    temperature: Annotated[float, above(0), "Inner products of unit vectors are divided by it."] = 0.05
    negatives: Annotated[Size, "Labels drawn for each batch; 0: score all labels."] = 0
    hard_negatives: Annotated[Size, "Best scored wrong labels kept per training text; with negatives."] = 0
    refresh_every: Annotated[Count, "Epochs between two searches for hard negatives."] = 5
    labels_at_once: Annotated[Count, "Label texts encoded together; more are encoded twice."] = 4096
    reduction: Annotated[Literal["mean", "sum"], "Over the positives of a text and over texts."] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hard_negatives and not self.negatives:
            found = f"hard_negatives = {self.hard_negatives} where all labels are scored"
            raise conflict("hard_negatives", found, "negatives of 1 or more together with hard negatives")


@recipe
def dexml(corpus: Corpus, options: DEXML) -> Recipe:
    """One encoder for texts and label texts, with the decoupled softmax (ICLR 2024)."""
    import torch

    from megalabel.encoders.labels import LabelTexts
    from megalabel.encoders.readout import Readout
    from megalabel.heads.dual_encoder import DualEncoderHead
    from megalabel.recipes import shared
    from megalabel.training.optim.groups import Optimizers
    from megalabel.training.optim.schedule import WarmupCosine
    from megalabel.training.step import CachedGradients, Plain

    torch.manual_seed(options.seed)
    kept, held = shared.held_out(corpus, options)
    schedule = WarmupCosine(shared.planned_steps(corpus, kept, options)[1], options.warmup)
    encoder, rows, batches = shared.text_side(
        corpus, kept, options, dropout=options.dropout,
        bag={}, transformer={"readouts": [Readout(pooling=options.readout_pooling)]},
    )  # fmt: skip
    labels = LabelTexts.of_corpus(corpus, encoder, rows.max_length)
    head = DualEncoderHead(
        corpus.n_labels, encoder.dim, temperature=options.temperature, negatives=options.negatives,
        hard_negatives=options.hard_negatives, n_texts=len(rows) if options.hard_negatives else 0,
        reduction=options.reduction, labels_at_once=options.labels_at_once,
    )  # fmt: skip
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(encoder, options), tokens=shared.token_optimizer(encoder, options)
    )
    parts = options.accumulation_steps  # for the encoder only: the loss is computed on the whole batch
    return Recipe(
        corpus, encoder, head, batches, optimizers, schedule,
        **{**shared.run_fields(options, held), "accumulation_steps": 1},
        parts={"labels": labels}, step=CachedGradients(parts) if parts > 1 else Plain(),
        refresh_every=options.refresh_every if options.hard_negatives else 0,
        inference_head=lambda _: head.without_hard_negatives(),
    )  # fmt: skip
