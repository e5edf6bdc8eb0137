"""Long texts as several windows, whose views are averaged by the tokens of each.

A window holds the special tokens of the text (one before it and one after it, where the tokenizer adds two) around
consecutive tokens of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from megalabel.errors import SettingError


class Windows(NamedTuple):
    """W windows of up to S tokens of B texts.

    tokens: (W, S) int64.
    mask: (W, S) bool.
    texts: (W,) int64, the text of each window.
    shares: (W,) float32, the share of each window in its text; those of a text sum to 1.
    """

    tokens: Tensor
    mask: Tensor
    texts: Tensor
    shares: Tensor


def windowed_length(window_length: int, windows: int, n_special: int) -> int:
    """The number of tokens of a text that fills all windows, its special tokens included.

    Raises:
        SettingError: the special tokens leave no space in a window.
    """
    if window_length <= n_special:
        raise SettingError(
            f"max_length = {window_length} for windows",
            wanted=f"at least {n_special + 1}, since the tokenizer adds {n_special} special tokens",
            next_step="raise max_length",
            where="max_length",
        )
    return windows * (window_length - n_special) + n_special


def split_windows(tokens: Tensor, mask: Tensor, window_length: int, n_special: int, pad_id: int = 0) -> Windows:
    """Cuts texts into windows.

    Args:
        tokens: (B, T) int64, of which each row has its tokens first.
        mask: (B, T) bool, true for these tokens.
        window_length: S, the most tokens of a window.
        n_special: 0, 1 (the last token of a text) or 2 (its first and its last).
        pad_id: the token that fills short windows.
    """
    inside = window_length - n_special
    before = int(n_special == 2)
    lengths = mask.sum(1)
    bodies = (lengths - n_special).clamp(min=0)
    counts = torch.div(bodies + inside - 1, inside, rounding_mode="floor").clamp(min=1)
    texts = torch.repeat_interleave(torch.arange(len(tokens), device=tokens.device), counts)
    order = torch.arange(len(texts), device=tokens.device) - (counts.cumsum(0) - counts)[texts]
    sizes = torch.minimum(bodies[texts] - order * inside, bodies.new_tensor(inside)).clamp(min=0)
    places = torch.arange(window_length, device=tokens.device)[None]
    source = before + order[:, None] * inside + (places - before)  # of the tokens of the text's own
    first, last = lengths.new_zeros(()), (lengths[texts] - 1).clamp(min=0)[:, None]
    source = torch.where(places < before, first, source)
    source = torch.where(places >= sizes[:, None] + before, last, source)
    kept = places < torch.minimum(sizes + n_special, lengths[texts])[:, None]
    cut = tokens[texts].gather(1, source.clamp(min=0, max=tokens.shape[1] - 1))
    shares = sizes.clamp(min=1).float() / bodies[texts].clamp(min=1).float()
    return Windows(cut.masked_fill(~kept, pad_id), kept, texts, shares)


def average(views: Tensor, windows: Windows, n_texts: int) -> Tensor:
    """The weighted mean of the views of the windows of each text: (W, V, D) to (B, V, D)."""
    weighted = views * windows.shares[:, None, None]
    return views.new_zeros(n_texts, *views.shape[1:]).index_add(0, windows.texts, weighted)
