"""Functions shared by the neural recipes: held-out texts, encoder with rows and batches, optimizer, label tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from megalabel.data.row_weights import with_weight
from megalabel.encoders import build
from megalabel.encoders.bag import Bag
from megalabel.encoders.readout import Readout
from megalabel.encoders.windows import windowed_length
from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows, training_rows
from megalabel.inputs.batches import Batches, hold_out
from megalabel.inputs.lengths import TokenCounts
from megalabel.labels.build import build_tree, check_fits
from megalabel.labels.tree import LabelTree
from megalabel.recipes.label_options import ClusterOptions
from megalabel.recipes.options import (
    EncoderTrainingOptions,
    LastLayersOptions,
    conflict,
    depths_of,
)
from megalabel.recipes.pretrained import pretrained
from megalabel.recipes.run_encoder import adapted, is_run, load_run_encoder, plain_name, run_sha256
from megalabel.training.optim.groups import adamw, lazy_adam, plain_adam
from megalabel.training.optim.lazy_adam import LazyAdam

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from megalabel.data.corpus import Corpus
    from megalabel.encoders.base import Encoder
    from megalabel.inputs.tokenizer import TextTokenizer
    from megalabel.recipes.options import TokenOptions

LONGEST = {"bag": 4096, "small": 256}  # maximum number of tokens if max_length is 0
WIDTHS = {"bag": 256, "small": build.SMALL["hidden_size"]}  # of the encoders whose width is known before loading


def known_width(options: EncoderTrainingOptions) -> int | None:
    """The width of the embedding, where it is known before the encoder is loaded."""
    width = None if is_run(options.encoder) else WIDTHS.get(options.encoder)
    return width * getattr(options, "last_layers", 1) if width and options.encoder != "bag" else width


class TextSide(NamedTuple):
    """The text side of a recipe.

    encoder: the encoder, on the CPU.
    rows: the training rows, as tokens of the encoder.
    batches: the batches of these rows.
    """

    encoder: Any
    rows: Rows
    batches: Batches


def held_out(corpus: Corpus, options: EncoderTrainingOptions) -> tuple[np.ndarray, np.ndarray]:
    """The training texts that are kept and those held out for validation, (n,) and (m,) int64.

    Texts of the weight 0 are not kept.
    """
    kept, held = hold_out(len(corpus.train), options.validation_fraction, options.seed)
    return with_weight(corpus.train, kept), held


def text_side(
    corpus: Corpus,
    kept: np.ndarray,
    options: EncoderTrainingOptions,
    *,
    bag: dict[str, Any],
    transformer: dict[str, Any],
    dropout: float = 0.0,
    frozen: bool = False,
) -> TextSide:
    """Builds the encoder, the training rows and their batches.

    Args:
        corpus: the data set.
        kept: (n,) int64, the training texts that are not held out.
        options: the options of the recipe.
        bag: further arguments of `encoders.build.bag`.
        transformer: further arguments of `Transformer`, small or pretrained.
        dropout: the dropout of the embedding.
        frozen: whether the encoder is not trained; it then has neither dropout nor sparse updates.

    Raises:
        SettingError: there is no such encoder, or it does not support the tokenizer.
    """
    name, learned = options.encoder, options.tokenizer != "wordpiece"
    tokenizer = build.tokenizer_for(name, options.tokenizer, corpus, options.vocabulary)
    dropouts: dict[str, Any] = {"dropout": 0.0, "token_dropout": 0.0} if frozen else {
        "dropout": dropout, "token_dropout": options.token_dropout,
    }  # fmt: skip
    windows = {"windows": options.windows, "window_length": options.max_length} if options.windows > 1 else {}
    transformer = {
        **transformer, "gradient_checkpointing": options.gradient_checkpointing, **dropouts, **windows
    }  # fmt: skip
    encoder: Encoder | None = None
    run = is_run(name)
    if run:
        encoder = load_run_encoder(name, corpus, options.prompt)
        tokenizer = encoder.tokenizer
    elif tokenizer is None:
        encoder = pretrained(options, transformer, frozen=frozen)
        tokenizer = encoder.tokenizer
    length = tokens_read(corpus, options, tokenizer, encoder)
    rows = training_rows(corpus, tokenizer, length, kept, reads_label_texts(corpus, options))
    if run and encoder is not None:
        sparse = not frozen and (options.sparse_embedding_updates or plain_name(name) == "small")
        encoder = adapted(encoder, bag=bag, transformer=transformer, dropouts=dropouts, sparse=sparse)
    elif name == "bag":
        more: dict[str, Any] = {
            "bigram_min_count": options.bigram_min_count,
            "hidden_dim": options.hidden_dim,
            "dim": WIDTHS["bag"],
        }
        encoder = build.bag(tokenizer, rows, learned=learned, **more, **bag, **dropouts)
    elif name == "small":
        encoder = build.small(tokenizer, learned=learned, max_length=options.max_length or length, **transformer)
    batches = Batches(rows, options.batch_size, options.epochs, seed=options.seed, pad_id=tokenizer.pad_id)
    return TextSide(encoder, rows, batches)


def last_layers(side: TextSide, options: LastLayersOptions) -> TextSide:
    """The same text side, whose transformer reads its last layers; SettingError where it has fewer."""
    encoder, n = side.encoder, options.last_layers
    if not isinstance(encoder, Bag):
        if encoder.n_layers < n:
            raise conflict("last_layers", f"{n} last layers of an encoder of {encoder.n_layers}", "no more layers")
        pooling = encoder.readouts[-1].pooling  # that of the option, or of the run that it was taken from
        encoder.readouts = (Readout(tuple(1 - i / encoder.n_layers for i in range(n)), pooling),)
    return side


def reads_label_texts(corpus: Corpus, options: EncoderTrainingOptions) -> bool:
    """Whether label texts are training rows: set by the option, but False if they are only numbers."""
    return options.label_texts == "yes" and not corpus.label_texts_are_numbers


def tokens_read(
    corpus: Corpus, options: TokenOptions, tokenizer: TextTokenizer, encoder: Encoder | None = None
) -> int:
    """The number of tokens read per text: `max_length`, that of all windows, or the length of nearly all texts.

    Args:
        corpus: the data set.
        options: the options of the recipe.
        tokenizer: the tokenizer of the encoder.
        encoder: a pretrained encoder, which may have a maximum number of positions.
    """
    if options.windows > 1:
        return windowed_length(options.max_length, options.windows, tokenizer.n_special)
    if options.max_length:
        return options.max_length
    most = LONGEST.get(plain_name(options.encoder), 512)
    if positions := getattr(encoder, "max_positions", 0):
        most = min(most, positions)
    return TokenCounts.of(tokenizer, corpus.train.texts).fitting(most)


def run_fields(options: EncoderTrainingOptions, held: np.ndarray) -> dict[str, Any]:
    """The fields of `Recipe` that are set by options of every recipe with an encoder."""
    return {
        "max_length": 0 if options.windows > 1 else options.max_length,
        "validation": held,
        "patience": options.patience,
        "selection_metric": options.selection_metric,
        "accumulation_steps": options.accumulation_steps,
        "precision": options.precision,
        "max_grad_norm": options.max_grad_norm,
        "seed": options.seed,
        "log_every": options.log_every,
        "validate_epochs": options.validate_epochs,
        "compile": options.compile,
        "encoder_sha256": run_sha256(options.encoder),
    }


def encoder_optimizer(
    encoder: nn.Module, options: EncoderTrainingOptions, *, without: nn.Module | None = None
) -> Optimizer | LazyAdam | None:
    """The optimizer of a transformer but for its part `without`; plain Adam of a bag."""
    if isinstance(encoder, Bag):
        return plain_adam(encoder, options.encoder_lr, options.token_betas, options.token_eps)
    return adamw(
        encoder, options.encoder_lr, options.encoder_weight_decay, options.encoder_eps,
        betas=options.encoder_betas, without=without, kind=options.encoder_optimizer,
    )  # fmt: skip


def token_optimizer(encoder: nn.Module, options: EncoderTrainingOptions) -> LazyAdam | None:
    """Adam of the token tables that have sparse gradients; None where there are none."""
    return lazy_adam(encoder, options.token_lr, options.token_betas, options.token_eps)


def planned_steps(corpus: Corpus, kept: np.ndarray, options: EncoderTrainingOptions) -> tuple[int, int]:
    """Optimizer steps per epoch and of the run, counted by `Batches` without tokenizing texts."""
    n = len(kept)
    if reads_label_texts(corpus, options):
        n += sum(bool(name.strip()) for name in corpus.label_texts)
    batches = Batches(cast(Rows, range(n)), options.batch_size, options.epochs)  # used only to count steps
    return batches.per_epoch, batches.steps


def saved_tree(folder: str, corpus: Corpus) -> LabelTree:
    """Loads a label tree; SettingError unless it is over the labels of the corpus."""
    tree = LabelTree.load(folder)
    check_fits(tree, corpus)
    return tree


def cluster_tree(corpus: Corpus, kept: np.ndarray, options: ClusterOptions, seed: int) -> LabelTree:
    """The tree of a cascade: loaded from the folder `tree`, or built from the texts that are not held out."""
    if options.tree:
        return saved_tree(options.tree, corpus)
    return build_tree(
        corpus, rows=kept, source=options.tree_source, graph=options.tree_graph, normalize=options.tree_normalize,
        cluster_features=options.tree_cluster_features, depths=depths_of(options.clusters) or None,
        tokenizer=options.tree_tokenizer, seed=seed,
    )  # fmt: skip


@contextmanager
def renamed_errors(**options: str) -> Iterator[None]:
    """Re-raises errors about an argument as errors about the option, such as `threshold="prune_threshold"`."""
    try:
        yield
    except SettingError as error:
        option = options.get(str(error.where))
        if option is None:
            raise
        found = error.found.replace(f"{error.where} =", f"{option} =", 1)
        raise SettingError(found, wanted=error.wanted, next_step=error.next_step, where=option) from error
