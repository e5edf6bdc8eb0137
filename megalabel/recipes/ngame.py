"""NGAME: one encoder for texts and label texts, whose batches are clusters of similar texts.

Dahiya et al., "NGAME: Negative Mining-aware Mini-batching for Extreme Classification", WSDM 2023: its first
module, which trains the encoder. The negatives of a text are labels of the other texts of its batch. These are
hard since a batch is a union of clusters of texts that the encoder finds similar; the clusters are made again
every few epochs and grow. The loss is the mean over the texts of a triplet loss over the hardest of these labels.

The run ranks labels by their texts as `dexml` does, and its folder is an encoder for the recipes that train a
classifier: `--encoder RUN`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from megalabel.recipes.options import (
    Count,
    DropoutOptions,
    EncoderTrainingOptions,
    PoolingOptions,
    Unset,
    WarmupOptions,
    above,
)
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus


class NGAME(DropoutOptions, PoolingOptions, WarmupOptions, EncoderTrainingOptions):
    """The options of NGAME; the defaults are the authors' for LF-AmazonTitles-131K."""

    panel = "NGAME"

    encoder = "sentence-transformers/msmarco-distilbert-base-v4"
    max_length = 32
    epochs = 300
    batch_size = 1600
    encoder_lr = 2e-4
    encoder_eps = 1e-8
    warmup = 100
    validate_epochs = 50.0
    pooling = "mean"
    loss: Annotated[Literal["triplet", "softmax"], "softmax: the one of DEXML, over the labels of a batch."] = (
        "triplet"
    )
    margin: Annotated[float, above(0), "Of the triplet loss, between inner products of unit vectors."] = 0.3
    hardest: Annotated[Count, "Best scored wrong labels of the batch in the triplet loss of a text."] = 10
    weighting: Annotated[Literal["softmax", "mean"], "Of these labels."] = "softmax"
    temperature: Annotated[float, above(0), "Divides scores: of the loss softmax, and of predictions."] = 0.05
    cluster_size: Annotated[Count, "Texts per cluster at first; 1: random batches."] = 1
    doublings: Annotated[tuple[Count, ...], Unset("never"), "Epochs after which clusters double."] = (
        10, 20, 25, 50, 75, 100, 125, 150, 200,
    )  # fmt: skip
    refresh_every: Annotated[Count, "Epochs between two clusterings of the texts."] = 5
    labels_at_once: Annotated[Count, "Label texts encoded together; more are encoded twice."] = 4096


@recipe
def ngame(corpus: Corpus, options: NGAME) -> Recipe:
    """Trains an encoder on texts and label texts, in batches of similar texts (WSDM 2023)."""
    import torch

    from megalabel.encoders.labels import LabelTexts
    from megalabel.encoders.readout import Readout
    from megalabel.heads.in_batch import InBatchHead
    from megalabel.inputs.cluster_batches import ClusterBatches
    from megalabel.recipes import shared
    from megalabel.training.optim.groups import Optimizers
    from megalabel.training.optim.schedule import WarmupCosine
    from megalabel.training.step import CachedGradients, Plain

    torch.manual_seed(options.seed)
    kept, held = shared.held_out(corpus, options)
    schedule = WarmupCosine(shared.planned_steps(corpus, kept, options)[1], options.warmup)
    encoder, rows, plain = shared.text_side(
        corpus, kept, options, dropout=options.dropout,
        bag={}, transformer={"readouts": [Readout(pooling=options.readout_pooling)]},
    )  # fmt: skip
    labels = LabelTexts.of_corpus(corpus, encoder, rows.max_length)
    clustered = bool(options.doublings) or options.cluster_size > 1
    head = InBatchHead(
        corpus.n_labels, encoder.dim, temperature=options.temperature, labels_at_once=options.labels_at_once,
        n_texts=len(rows) if clustered else 0, cluster_seed=options.seed, loss=options.loss, margin=options.margin,
        hardest=options.hardest, weighting=options.weighting,
    )  # fmt: skip
    batches = ClusterBatches(
        rows, options.batch_size, options.epochs, order=lambda: head.get_buffer("order").cpu().numpy(),
        cluster_size=options.cluster_size, doublings=options.doublings, seed=options.seed, pad_id=plain.pad_id,
    )  # fmt: skip
    optimizers = Optimizers(
        encoder=shared.encoder_optimizer(encoder, options), tokens=shared.token_optimizer(encoder, options)
    )
    parts = options.accumulation_steps  # for the encoder only: the loss is computed on the whole batch
    return Recipe(
        corpus, encoder, head, batches, optimizers, schedule,
        **{**shared.run_fields(options, held), "accumulation_steps": 1},
        parts={"labels": labels}, step=CachedGradients(parts) if parts > 1 else Plain(),
        refresh_every=options.refresh_every if clustered else 0,
        inference_head=lambda _: head.for_prediction(),
    )  # fmt: skip
