"""`Bag`: a text as the weighted sum of its token vectors, followed by a small residual block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.encoders.base import Encoder, ResidualBlock
from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows
from megalabel.inputs.tokenizer import TextTokenizer

SCALE = 0.9  # standard deviation of random token vectors, equal to that of the bundled vectors
BLOCK = 8192  # rows that are counted at once


class Bag(Encoder):
    """Sums the weighted vectors of the tokens, scales the sum, and applies residual blocks.

        x = norm(Σ_t w_t e_t / √(Σ_t w_t²)),   view_v = dropout(block_v(x))

    The sums are over the tokens t of the text and over its bigrams that are in `bigrams`, which have vectors of
    their own. The gradient of the vectors e is sparse, so a step takes time for the tokens of its batch only.
    The weights w are not trained; they come from `idf_weights` or are 1. D is the width of the vectors, or
    `width` after a linear map.

    Args:
        tokenizer: the tokenizer.
        vectors: (vocabulary, D) float32, the initial vectors; default: random with standard deviation 0.9.
        dim: D, which is needed if `vectors` is None.
        bigrams: (n,) int64, sorted: the bigrams (left, right) with a vector, as left · vocabulary + right; see
            `frequent_bigrams`. None for none.
        weights: (vocabulary + n,) float32; default: 1.
        width: the width of the views if it is not D.
        hidden_dim: the width inside each residual block; 0 for no blocks.
        n_views: V, the number of views, each with its own block; without blocks all views are equal.
        dropout: the fraction of the entries of a view that is dropped in training (Renée: 0.5 to 0.85).
        token_dropout: the fraction of the tokens of a text that is dropped in training.

    Raises:
        SettingError: the number of vectors is not the size of the vocabulary.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        vectors: Tensor | None = None,
        dim: int = 256,
        bigrams: Tensor | None = None,
        weights: Tensor | None = None,
        width: int = 0,
        hidden_dim: int = 512,
        n_views: int = 1,
        dropout: float = 0.0,
        token_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n = self.n_tokens = tokenizer.vocabulary_size
        if vectors is not None and vectors.shape[0] != n:
            raise SettingError(
                f"{vectors.shape[0]} token vectors for a vocabulary of {n}",
                wanted="one vector per token",
                next_step="use the tokenizer with which the vectors were made",
            )
        inside = dim if vectors is None else vectors.shape[1]
        n_bigrams = 0 if bigrams is None else len(bigrams)
        self.tokenizer = tokenizer
        self.table = nn.Embedding(n + n_bigrams, inside, sparse=True)
        with torch.no_grad():
            self.table.weight.mul_(SCALE)
            self.table.weight[n:] = 0.0  # random vectors of rare bigrams cost 1.3 P@1 on gutenberg-4k
            if vectors is not None:
                self.table.weight[:n] = vectors
        self.register_buffer("bigrams", torch.zeros(0, dtype=torch.int64) if bigrams is None else bigrams)
        self.register_buffer("weights", torch.ones(n + n_bigrams) if weights is None else weights.float())
        self.norm = nn.LayerNorm(inside)
        self.blocks = nn.ModuleList(
            ResidualBlock(inside, hidden_dim) if hidden_dim else nn.Identity() for _ in range(n_views)
        )
        self.widen = nn.Linear(inside, width) if width else None
        self.dropout, self.token_dropout, self.hidden_dim = nn.Dropout(dropout), token_dropout, hidden_dim
        self.dim, self.n_views = width or inside, n_views

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (B, T) int64 and mask (B, T) bool to views (B, V, D); the sum of an empty text is zero."""
        if len(self.bigrams):  # type: ignore[arg-type]
            tokens, mask = self._with_bigrams(tokens, mask)
        ids = tokens[mask]
        weights: Tensor = self.weights[ids]  # type: ignore[index]
        if self.training and self.token_dropout:
            weights = weights * (torch.rand_like(weights) >= self.token_dropout)
        ends = mask.sum(1).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        x = nn.functional.embedding_bag(
            ids, self.table.weight, starts, mode="sum", sparse=True, per_sample_weights=weights
        )
        rows = torch.repeat_interleave(torch.arange(len(starts), device=ids.device), mask.sum(1))
        scale = torch.zeros(len(starts), device=ids.device).index_add(0, rows, weights * weights).sqrt()
        return self.finished(x, scale)

    def finished(self, sums: Tensor, scale: Tensor) -> Tensor:
        """The views (B, V, D) of sums (B, D) of weighted token vectors, and roots (B,) of the squared weights."""
        x = self.norm(sums / scale.clamp(min=1e-6).unsqueeze(1))
        x = torch.stack([block(x) for block in self.blocks], dim=1)
        if self.widen is not None:
            x = self.widen(x)
        dropped: Tensor = self.dropout(x)
        return dropped

    def _with_bigrams(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Appends the bigrams that have a vector: tokens and mask (B, T) become (B, 2T - 1)."""
        bigrams: Tensor = self.bigrams  # type: ignore[assignment]
        codes = tokens[:, :-1] * self.n_tokens + tokens[:, 1:]
        positions = torch.searchsorted(bigrams, codes).clamp(max=len(bigrams) - 1)
        known = (bigrams[positions] == codes) & mask[:, 1:]
        return torch.cat([tokens, self.n_tokens + positions], 1), torch.cat([mask, known], 1)

    @torch.no_grad()
    def weighted_vectors(self, ids: list[int]) -> tuple[Tensor, np.ndarray]:
        """The vectors of the tokens and bigrams of one text, whose sum is what the first norm gets.

        Returns:
            (n, D) float64, and (2, n) int64, the two tokens of the text from which each comes, the same for both
            rows where it is one token.
        """
        tokens, mask = torch.tensor([ids], dtype=torch.int64), torch.ones(1, len(ids), dtype=torch.bool)
        owners = np.arange(len(ids))
        owners = np.stack([owners, owners])
        if len(self.bigrams) and ids:  # type: ignore[arg-type]
            tokens, mask = self._with_bigrams(tokens.to(self.bigrams.device), mask.to(self.bigrams.device))  # type: ignore[arg-type]
            owners = np.concatenate([owners, np.stack([owners[0, :-1], owners[0, 1:]])], axis=1)
            owners = owners[:, mask[0].cpu().numpy()]
        rows = tokens[mask].to(self.table.weight.device)
        weights: Tensor = self.weights[rows].double()[:, None]  # type: ignore[index]
        scale = weights.square().sum().sqrt().clamp(min=1e-6)
        return (self.table.weight[rows].double() * weights / scale).cpu(), owners

    def config(self) -> dict[str, Any]:
        """The shape and the dropouts."""
        return {
            "dim": self.table.embedding_dim,
            "n_bigrams": len(self.bigrams),  # type: ignore[arg-type]
            "width": self.widen.out_features if self.widen is not None else 0,
            "hidden_dim": self.hidden_dim,
            "n_views": self.n_views,
            "dropout": self.dropout.p,
            "token_dropout": self.token_dropout,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: TextTokenizer, folder: Path) -> Bag:
        """The same shape with weights still to be loaded."""
        config = dict(config)
        return cls(tokenizer, bigrams=torch.zeros(config.pop("n_bigrams"), dtype=torch.int64), **config)


def frequent_bigrams(rows: Rows, vocabulary_size: int, at_least: int = 2) -> Tensor:
    """The bigrams that occur in at least `at_least` rows, as `Bag` takes them: (n,) int64, sorted."""
    found = [_once_per_text(where, codes, vocabulary_size**2) for where, codes in _bigrams(rows, vocabulary_size)]
    codes, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *found]), return_counts=True)
    return torch.from_numpy(codes[counts >= at_least])


def idf_weights(rows: Rows, vocabulary_size: int, bigrams: Tensor | None = None) -> Tensor:
    """log((1 + N) / (1 + n_t)) + 1 for each token t that occurs in n_t of N rows, and then for each bigram.

    The result is (vocabulary + n,) float32, where n is the number of bigrams.
    """
    known = np.zeros(0, np.int64) if bigrams is None else bigrams.numpy()
    counts = np.zeros(vocabulary_size + len(known), np.int64)
    for where, ids in _tokens(rows):
        counts[:vocabulary_size] += _texts_with(where, ids, vocabulary_size)
    if len(known):
        for where, codes in _bigrams(rows, vocabulary_size):
            positions = np.searchsorted(known, codes).clip(max=len(known) - 1)
            found = known[positions] == codes
            counts[vocabulary_size:] += _texts_with(where[found], positions[found], len(known))
    return torch.from_numpy((np.log((1 + len(rows)) / (1 + counts)) + 1).astype(np.float32))


def _texts_with(where: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    """The number of texts in which each of n ids occurs: (n,) int64."""
    return np.bincount(_once_per_text(where, ids, n), minlength=n)


def _once_per_text(where: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    """The ids below n without those that a text repeats: (m,) int64, in the order of the texts.

    By sorting, which is several times faster than `np.unique` of NumPy 2.3 and later.
    """
    keys = (where - where[:1]) * n + ids
    keys.sort()
    first = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    once: np.ndarray = keys[first] % n
    return once


def _tokens(rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the row numbers and token ids of all rows, both (n,) int64, block by block."""
    for start in range(0, len(rows), BLOCK):
        some = np.arange(start, min(start + BLOCK, len(rows)))
        ids = [np.asarray(row, dtype=np.int64) for row in rows.tokens(some)]
        yield np.repeat(some, [len(row) for row in ids]), np.concatenate(ids)


def _bigrams(rows: Rows, vocabulary_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the row numbers and codes of all bigrams, both (n,) int64, block by block."""
    for where, ids in _tokens(rows):
        inside = where[:-1] == where[1:]
        yield where[:-1][inside], (ids[:-1] * vocabulary_size + ids[1:])[inside]
