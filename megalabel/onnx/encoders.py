"""Encoders as graphs: token ids and mask (n, T) to views (n, V, D), by operations that ONNX has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from megalabel.encoders.bag import Bag
from megalabel.encoders.base import Encoder
from megalabel.encoders.frozen import Frozen
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.onnx.searching import positions_in

# What can be exported, as messages say it.
SUPPORTED = (
    "a linear model over texts, or an encoder of the kind bag or transformer with a head of renee, elmo, "
    "cascadexml, spartex, dexml or ngame (a single model, no combination)"
)


def encoder_graph(encoder: Encoder, max_length: int) -> nn.Module:
    """A module that maps tokens (n, T) int64 and mask (n, T) bool to the views (n, V, D) of the encoder.

    Raises:
        SettingError: another kind of encoder, or one that reads long texts in windows.
    """
    if isinstance(encoder, Frozen):
        return FrozenGraph(encoder, max_length)
    if type(encoder) is Bag:
        return BagGraph(encoder)
    if type(encoder) is Transformer:
        if encoder.windows > 1 and max_length > encoder.window_length:
            raise SettingError(
                f"a model that reads {encoder.windows} windows of {encoder.window_length} tokens",
                wanted="an encoder that reads a text at once",
                next_step="train the model without --windows",
                where="run",
            )
        return TransformerGraph(encoder)
    raise refused(f"a model with the encoder {type(encoder).__name__}")


def refused(found: str) -> SettingError:
    """The error for a model that cannot be exported."""
    return SettingError(
        found,
        wanted=SUPPORTED,
        next_step="train one, or distill this one into one: megalabel distill RUN DATA -o NEW",
        where="run",
    )


class BagGraph(nn.Module):
    """A `Bag`: the sum over a rectangle of tokens in place of a ragged one, and bigrams by binary search."""

    def __init__(self, bag: Bag) -> None:
        super().__init__()
        self.bag = bag

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (n, T) int64 and mask (n, T) bool to views (n, V, D)."""
        if len(self.bag.get_buffer("bigrams")):
            tokens, mask = self._with_bigrams(tokens, mask)
        weights = self.bag.get_buffer("weights")[tokens] * mask
        vectors = nn.functional.embedding(tokens, self.bag.table.weight)
        sums = (weights.unsqueeze(1) @ vectors).squeeze(1)
        return self.bag.finished(sums, weights.square().sum(1).sqrt())

    def _with_bigrams(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Appends the bigrams that begin at each token: tokens and mask (n, T) become (n, 2T).

        A slice of T - 1 tokens would be empty for one token, which dynamic shapes do not allow.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)
        following = (places + 1).clamp(max=tokens.shape[1] - 1)
        is_last = places == tokens.shape[1] - 1
        codes = tokens * self.bag.n_tokens + tokens.index_select(1, following)
        bigrams = self.bag.get_buffer("bigrams")
        positions = positions_in(bigrams, codes)
        known = (bigrams[positions] == codes) & mask.index_select(1, following) & ~is_last
        return torch.cat([tokens, self.bag.n_tokens + positions], 1), torch.cat([mask, known], 1)


class TransformerGraph(nn.Module):
    """A `Transformer`, by its own modules."""

    def __init__(self, encoder: Transformer) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (n, T) int64 and mask (n, T) bool to views (n, V, D)."""
        views: Tensor = self.encoder(tokens, mask)
        return views


class FrozenGraph(nn.Module):
    """A `Frozen`: what is inside, and the residual block."""

    def __init__(self, frozen: Frozen, max_length: int) -> None:
        super().__init__()
        self.inside, self.block = encoder_graph(frozen.inside, max_length), frozen.block

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (n, T) int64 and mask (n, T) bool to views (n, V, D)."""
        views: Any = self.inside(tokens, mask)
        finished: Tensor = views if self.block is None else self.block(views)
        return finished
