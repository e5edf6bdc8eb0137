"""Renée: every label scored, end to end, without ever holding the loss.

Jain et al., "Renée: End-to-End Training of Extreme Classification Models", MLSys 2023. A transformer's mean
vector goes through heavy dropout to one linear classifier over all labels. The classifier's gradient,
sigmoid(z) − y, is written down directly, label chunk by label chunk, and its weights move in place by SGD with
momentum while the encoder has an AdamW of its own; only the encoder's gradient is ever loss-scaled. Each label's
text is one more training text. The loss is a sum over labels and texts, so `head_lr` belongs to `batch_size`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megalabel.training.knobs import require
from megalabel.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus


@recipe
def renee(
    data: Corpus,
    *,
    encoder: str = "distilbert-base-uncased",
    tokenizer: str = "own",
    vocabulary: int = 100_000,
    max_length: int = 32,
    epochs: int = 100,
    batch_size: int = 512,
    micro_batches: int = 1,
    dropout: float = 0.85,
    token_dropout: float = 0.0,
    bottleneck: int = 0,
    pairs: int = 0,
    frozen: bool = False,
    hidden: int = 512,
    label_texts: bool = True,
    bias: bool = False,
    head_optimizer: str = "sgd",
    head_lr: float = 0.05,
    head_momentum: float = 0.9,
    head_weight_decay: float = 1e-4,
    head_std: float = 0.02,
    encoder_lr: float = 1e-5,
    encoder_weight_decay: float = 0.01,
    token_lr: float = 0.002,
    sparse_tokens: bool = False,
    warmup: float = 5000,
    clip: float = 0.0,
    precision: str = "auto",
    checkpointing: bool = False,
    loss_every: int = 50,
    validation: float = 0.05,
    hybrid: bool = False,
    patience: int = 0,
    select: str = "nDCG@5",
    seed: int = 0,
) -> Recipe:
    """The recipe of Renée; the defaults are the paper's for LF-AmazonTitles-131K (tables 14 and 15).

    Args:
        data: texts, label sets and label texts.
        encoder: bag, small, or a pretrained one: a folder, an installed package's model, a hub name.
        tokenizer: of bag and small: own (bundled word pieces), or words or symbols learnt from the corpus.
        vocabulary: most tokens that a learnt tokenizer has.
        max_length: tokens of a text that are read.
        epochs: how often every text is seen.
        batch_size: texts a step.
        micro_batches: parts a batch is cut into, to save memory; changes no schedule.
        dropout: share of the embedding's entries dropped.
        token_dropout: share of a text's tokens hidden in training.
        bottleneck: width of a linear map behind the encoder; 0 for none.
        pairs: of the bag: give word pairs that occur in so many texts a vector; 0 for none.
        frozen: leave the pretrained encoder as it is, encode once, train a residual block and the head.
        hidden: width inside the residual block of a bag or a frozen encoder; 0 for no block.
        label_texts: train on the label texts as further rows.
        bias: give every label a bias, from its frequency at the start.
        head_optimizer: sgd (in place, no gradient is held) or adamw.
        head_lr: learning rate of the classifier; the loss is a sum, so it belongs to batch_size.
        head_momentum: momentum of sgd; 0 saves a buffer as large as the weights.
        head_weight_decay: L2 of the classifier.
        head_std: standard deviation of the classifier's first weights.
        encoder_lr: learning rate of the encoder.
        encoder_weight_decay: decay of a transformer's matrices.
        token_lr: learning rate of the token vectors of bag, of small, and of others with sparse_tokens.
        sparse_tokens: move only those token vectors of a pretrained encoder that a batch has, which is faster.
        warmup: steps of warm-up, or a share of all steps where below 1.
        clip: largest norm of the encoder's gradient; 0 for no limit.
        precision: of the encoder: auto, float32, bfloat16 or float16.
        checkpointing: recompute the encoder's activations in the backward, to save memory.
        loss_every: steps between loss values; the training itself needs none.
        validation: share of the training texts held out to choose the best epoch; 0 for none.
        hybrid: linear rankers beside the trained model, by the preset of the recipe `hybrid`; a twentieth of the
            texts is held out for them where validation is 0.
        patience: validations without a gain before training stops; 0 for never.
        select: metric that chooses the best epoch.
        seed: of the order, the first weights and the dropout.
    """
    import torch

    from megalabel.encoders.build import OWN_NAMES
    from megalabel.encoders.frozen import Frozen
    from megalabel.encoders.readout import mean
    from megalabel.heads.dense import DenseHead
    from megalabel.inputs.augment import label_counts
    from megalabel.inputs.batches import Batches, hold_out
    from megalabel.inputs.token_store import check_texts
    from megalabel.recipes.hybrid import held_share, second_stage
    from megalabel.recipes.shared import encoder_optimizer, planned_steps, text_encoder
    from megalabel.training.optim.groups import FusedSGD, Optimizers, adamw, lazy_adam
    from megalabel.training.optim.schedule import WarmupCosine

    check_texts(data.train, data)
    require(
        not (frozen and encoder in OWN_NAMES),
        f"frozen = True with the encoder {encoder!r}",
        wanted="a pretrained encoder, which knows something before it trains",
        next_step="leave frozen out, or name a pretrained encoder",
        where="frozen",
    )
    torch.manual_seed(seed)
    kept, held = hold_out(len(data.train), held_share(validation, hybrid), seed)
    _, steps = planned_steps(data, kept, label_texts, batch_size, epochs)
    schedule = WarmupCosine(steps, warmup)
    text, rows = text_encoder(
        encoder, data, kept, tokenizer=tokenizer, vocabulary=vocabulary, max_length=max_length,
        label_texts=label_texts, sparse_tokens=sparse_tokens and not frozen,
        dropout=0.0 if frozen else dropout, token_dropout=0.0 if frozen else token_dropout,
        of_bag={"pairs": pairs, "hidden": hidden, "width": bottleneck},
        of_transformer={"readouts": [mean()], "bottleneck": bottleneck, "checkpointing": checkpointing},
    )  # fmt: skip
    if frozen:
        text = Frozen(text, hidden=hidden, dropout=dropout)

    batches = Batches(rows, batch_size, epochs, seed=seed, pad_id=text.tokenizer.pad_id)
    head = DenseHead(data.n_labels, text.dim, bias=bias, init_std=head_std, loss_every=loss_every)
    if bias:
        head.init_prior(torch.from_numpy(label_counts(rows, data.n_labels)), len(rows))
    optimizers = Optimizers(
        encoder=encoder_optimizer(text, encoder_lr, encoder_weight_decay),
        tokens=lazy_adam(text, token_lr),
        head=FusedSGD(head, head_lr, head_momentum, head_weight_decay)
        if head_optimizer == "sgd"
        else adamw(head, head_lr, head_weight_decay),
    )
    return Recipe(
        data, text, head, batches, optimizers, schedule,
        max_length=max_length, validation=held, patience=patience, select=select,
        micro_batches=micro_batches, precision=precision, clip=clip, seed=seed,
        then=second_stage(data, kept, held) if hybrid else None,
    )  # fmt: skip
