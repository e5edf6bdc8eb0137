"""What the papers' pages share: a text encoder with its rows, its optimiser, the length of a run, a saved tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from megalabel.encoders import build
from megalabel.encoders.bag import Bag
from megalabel.encoders.transformer import Transformer
from megalabel.errors import DataError, SettingError
from megalabel.inputs.augment import Rows, training_rows
from megalabel.inputs.batches import Batches, hold_out
from megalabel.labels.build import check_fits
from megalabel.labels.tree import LabelTree
from megalabel.models.base import load
from megalabel.models.neural import Model
from megalabel.training.folder import finished_run
from megalabel.training.knobs import require
from megalabel.training.optim.groups import adamw, plain_adam
from megalabel.training.optim.lazy_adam import LazyAdam

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from megalabel.data.corpus import Corpus
    from megalabel.encoders.base import Encoder
    from megalabel.heads.rewiring import Rewiring

WIDTHS = {"bag": 256, "small": build.SMALL["hidden_size"]}  # of the encoders that need not be loaded to know it


def text_encoder(
    encoder: str,
    data: Corpus,
    kept: np.ndarray,
    *,
    tokenizer: str,
    vocabulary: int,
    max_length: int,
    label_texts: bool,
    sparse_tokens: bool,
    of_bag: dict[str, Any],
    of_transformer: dict[str, Any],
    **of_both: Any,
) -> tuple[Any, Rows]:
    """The encoder of that name, on the CPU, and the rows it is trained on, as its tokens.

    Args:
        encoder: bag, small, or a pretrained one: a folder, an installed package's model, a hub name.
        data: the corpus.
        kept: (n,) int64, the training texts that are not held out.
        tokenizer, vocabulary: of bag and small, as in `encoders.build.tokenizer_for`.
        max_length: tokens of a text that are read.
        label_texts: make rows of the label texts too.
        sparse_tokens: of a pretrained encoder, sparse gradients of its token vectors; the others always have them.
        of_bag: arguments of `encoders.build.bag`.
        of_transformer: arguments of `Transformer`, small or pretrained.
        of_both: dropout and token_dropout.

    Raises:
        SettingError: no such encoder, a tokenizer that it cannot have.
    """
    words = build.tokenizer_for(encoder, tokenizer, data, vocabulary)
    text: Encoder | None = None
    if words is None:
        text = Transformer.pretrained(encoder, sparse=sparse_tokens, **of_transformer, **of_both)
        words = text.tokenizer
    rows = training_rows(data, words, max_length, kept, label_texts)
    learnt = tokenizer != "own"
    if encoder == "bag":
        text = build.bag(words, rows, learned=learnt, dim=WIDTHS["bag"], **of_bag, **of_both)
    elif encoder == "small":
        text = build.small(words, learned=learnt, max_length=max_length, **of_transformer, **of_both)
    return text, rows


def encoder_optimizer(
    text: nn.Module, lr: float, weight_decay: float, without: nn.Module | None = None, *, eps: float = 1e-6
) -> Optimizer | LazyAdam | None:
    """AdamW of a transformer but for its part `without`; plain Adam of a bag, whose dense part is small.

    `eps` is that of AdamW. Renée and CascadeXML use 1e-6, Spartex PyTorch's 1e-8.
    """
    return plain_adam(text, lr) if isinstance(text, Bag) else adamw(text, lr, weight_decay, eps, without=without)


def planned_steps(
    data: Corpus, kept: np.ndarray, label_texts: bool, batch_size: int, epochs: int
) -> tuple[int, int]:
    """Optimiser steps of an epoch and of the run, as `Batches` counts them, before a text is tokenised."""
    n = len(kept) + sum(bool(name.strip()) for name in data.label_texts) * label_texts
    batches = Batches(cast(Rows, range(n)), batch_size, epochs)  # which only counts them as yet
    return batches.per_epoch, batches.steps


def saved_tree(folder: str, data: Corpus, users: str = "", used: bool = True) -> LabelTree:
    """The user's label tree; SettingError unless it is over the labels of the corpus, and used.

    users: the knobs that would make use of it.
    """
    require(
        used,
        f"tree = {folder!r}, which nothing here would use",
        wanted=f"a tree beside {users}",
        next_step="leave tree out, or set one of these",
        where="tree",
    )
    tree = LabelTree.load(folder)
    check_fits(tree, data)
    return tree


def trained_run(run: str, data: Corpus) -> tuple[Model, np.ndarray, np.ndarray]:
    """The model of a finished run on this very corpus, and the training texts that it kept and held out.

    Raises:
        SettingError: no finished run, one of a recipe without an encoder.
        DataError: a run on another corpus.
    """
    facts = finished_run(Path(run))
    theirs, ours = facts["data"], data.fingerprint()
    if theirs.get("fingerprint") != ours:
        raise DataError(
            f"the run in {run} was trained on {theirs.get('name')!r} ({theirs.get('texts')} texts, "
            f"{theirs.get('labels')} labels), which is not this {data.name!r}",
            wanted="the very corpus of the run",
            next_step="give that data set, or train a run on this one",
            where="run",
        )
    model = load(run)
    arguments = facts["arguments"]
    require(
        isinstance(model, Model),
        f"a run of the recipe {facts['recipe']!r}" + " with hybrid = True" * bool(arguments.get("hybrid")),
        wanted="a run of a recipe with an encoder (renee, cascadexml, spartex) that is no hybrid already",
        next_step="name such a run, or merge this one with others by `megalabel ensemble`",
        where="run",
    )
    kept, held = hold_out(len(data.train), arguments.get("validation", 0.0), arguments.get("seed", 0))
    return cast(Model, model), kept, held


def check_reads(encoder: str, **given: bool) -> None:
    """SettingError where a bag is told how to read its layers: `given` says which of the knobs are set."""
    for knob, is_given in given.items():
        require(
            encoder != "bag" or not is_given,
            f"{knob} for the encoder bag",
            wanted="its default: a bag has no layers",
            next_step=f"leave {knob} out, or take another encoder",
            where=knob,
        )


def check_fan_in(width: int, fan_in: int, group: int, rewiring: Rewiring | None) -> None:
    """SettingError where labels could not have `fan_in` of a view's `width` entries, or not be rewired then."""
    require(
        fan_in <= width,
        f"fan_in = {fan_in}",
        wanted=f"1 to {width}, the width of the embedding",
        next_step="lower fan_in, or widen the embedding by intermediate",
        where="fan_in",
    )
    if rewiring is not None:
        rewiring.check(fan_in, width, group)


@contextmanager
def in_the_words_of(**knobs: str) -> Iterator[None]:
    """Inside, what is refused bears the recipe's names: `threshold="prune_threshold"` renames what it is about."""
    try:
        yield
    except SettingError as error:
        knob = knobs.get(str(error.where))
        if knob is None:
            raise
        found = error.found.replace(f"{error.where} =", f"{knob} =", 1)
        raise SettingError(found, wanted=error.wanted, next_step=error.next_step, where=knob) from error
