"""A classifier that ranks long texts by their chunks, whose rankings are pooled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np

from megalabel.data.filters import FilterPairs
from megalabel.errors import SettingError
from megalabel.inputs.chunks import Chunking, Chunks
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.kernels.sparse.pool_topk import Pooling, Scale, pool_topk
from megalabel.models.base import Advance, Classifier, read_model_manifest
from megalabel.models.composed import BASE, ChangedClassifier, inner_model
from megalabel.models.mixture import DEPTH
from megalabel.models.neural import NeuralClassifier
from megalabel.types import TopK

if TYPE_CHECKING:
    import torch

BY_LABEL = ("bce", "squared_hinge", "mixed")  # losses whose scores are above 0 where a label applies
MOST = 4096  # chunks that are ranked together, unless a single text has more


class ChunkedClassifier(ChangedClassifier):
    """Cuts each text into chunks, ranks these with a classifier, and pools their rankings.

    A text of one chunk gets the ranking and the scores of the classifier. The best max(k, 50) labels of each chunk
    are pooled, so that no scores of texts × labels are held.

    Args:
        base_model: a classifier that reads texts.
        chunking: how texts are cut; tokens are those of the encoder of `base_model`.
        pooling: how the scores of a label are pooled: "max", "mean" or "softmax"; see `kernels.sparse.pool_topk`.

    Attributes:
        say: takes a line of text when texts are longer than `max_chunks` chunks, once; by default a warning.

    Raises:
        SettingError: a classifier that reads bags of words or is chunked already, an unknown pooling, chunks of
            tokens for a model without an encoder, or longer ones than it reads.
    """

    def __init__(self, base_model: Classifier, chunking: Chunking, pooling: Pooling = "mean") -> None:
        if not isinstance(base_model, Classifier) or base_model.n_features is not None:
            raise SettingError(
                f"a {type(base_model).__name__} as base_model", wanted="a classifier that reads texts"
            )
        if isinstance(base_model, ChunkedClassifier):
            raise SettingError(
                "a model that cuts texts already",
                wanted="one that reads whole texts",
                next_step="use its base_model, or the run that it was made from",
                where="chunks",
            )
        if pooling not in get_args(Pooling):
            raise SettingError.choice("chunk_pooling", pooling, get_args(Pooling))
        self.base_model, self.chunking, self.pooling = base_model, chunking, pooling
        self._tokenizer = _tokenizer(base_model, chunking) if chunking.unit == "tokens" else None
        self.label_texts, self.trained_on = base_model.label_texts, base_model.trained_on
        self.metadata = base_model.metadata
        self.score_type, self.loss_name = base_model.score_type, base_model.loss_name
        self.block_size = base_model.block_size
        self.say: Callable[[str], Any] = warnings.warn
        self._said = False

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, by the pooled scores of their chunks."""
        chunks = self.chunking.cut(texts, self._tokenizer)
        self._tell(chunks)
        ids, scores = np.full((len(texts), k), -1, np.int64), np.full((len(texts), k), -np.inf, np.float32)
        forbidden = FilterPairs(exclude, len(texts))
        for first, last in _groups(chunks.offsets):
            part, pairs = chunks.of_texts(first, last), forbidden.block(first, last)
            if len(part.texts) == last - first:
                top: TopK = self.base_model.topk(part.texts, k, exclude=pairs, batch_size=batch_size)
            else:
                top = rank_chunks(self.base_model, part, max(k, DEPTH), exclude=pairs, batch_size=batch_size)
                top = pool_topk(top, part.offsets, k, self.pooling, scale_of(self.base_model))
            ids[first:last], scores[first:last] = top.numpy()
            advance(last - first)
        return TopK(ids, scores)

    def restricted(self, labels: np.ndarray) -> ChunkedClassifier | None:
        """The same chunks, ranked by the base model over some labels, (n,) int64 ascending."""
        base = self.base_model.restricted(labels)
        return None if base is None else ChunkedClassifier(base, self.chunking, self.pooling)

    def _write(self, folder: Path) -> dict[str, Any]:
        return {"chunking": self.chunking.config(), "pooling": self.pooling}

    @classmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        manifest = read_model_manifest(folder, "chunked model", facts=("chunking", "pooling"))
        base = inner_model(folder, BASE, device, trust)
        return cls(base, Chunking(**manifest["chunking"]), manifest["pooling"])

    def _tell(self, chunks: Chunks) -> None:
        if chunks.n_sampled and not self._said:
            self._said = True
            most = self.chunking.max_chunks
            size = f"{self.chunking.size} {self.chunking.unit}"
            self.say(
                f"max_chunks: of longer texts, {most} evenly spaced chunks of {size} are read"
                if most > 1
                else f"max_chunks: of longer texts, only the first {size} are read"
            )


def described(model: Classifier | None) -> dict[str, str]:
    """How a model cuts texts, for files of what it answers; nothing where it reads whole texts."""
    if not isinstance(model, ChunkedClassifier):
        return {}
    return {"chunks": str(model.chunking), "chunk_pooling": model.pooling}


def scale_of(model: Classifier) -> Scale:
    """How the scores of a model are pooled: log-odds as probabilities, other logits as they are."""
    if model.score_type == "probability":
        return "probability"
    return "log_odds" if model.loss_name in BY_LABEL else "logit"


def rank_chunks(
    model: Classifier, chunks: Chunks, depth: int, *, exclude: np.ndarray | None = None, batch_size: int = 256
) -> TopK:
    """The best labels of all chunks of N texts by a model, (C, min(depth, L)).

    exclude: (F, 2) pairs (text, label) that are left out of the rankings of all chunks of the text.
    """
    if exclude is not None:
        counts = np.diff(chunks.offsets)[exclude[:, 0]]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(chunks.offsets[exclude[:, 0]], counts) + within
        exclude = np.stack([rows, np.repeat(exclude[:, 1], counts)], axis=1)
    return model.topk(chunks.texts, model.reach(depth), exclude=exclude, batch_size=batch_size)


def tokenizer_of(model: Classifier) -> TextTokenizer | None:
    """The tokenizer of the encoder of a model, which chunks of tokens need; None for a model without one."""
    encoded = getattr(model, "base_model", model)
    return encoded.encoder.tokenizer if isinstance(encoded, NeuralClassifier) else None


def most_tokens(model: Classifier) -> int | None:
    """The tokens of a text that the encoder of a model reads, without those that are added; None without one."""
    encoded = getattr(model, "base_model", model)
    if not isinstance(encoded, NeuralClassifier):
        return None
    return encoded.max_length - encoded.encoder.tokenizer.n_added


def _tokenizer(model: Classifier, chunking: Chunking) -> TextTokenizer:
    """The tokenizer of the encoder of a model; SettingError without one, or for chunks that it does not read."""
    tokenizer, most = tokenizer_of(model), most_tokens(model)
    if tokenizer is None or most is None:
        raise SettingError(
            f"chunks of tokens for a {type(model).__name__}, which has no single encoder",
            wanted="chunks of words",
            next_step="give --chunk-words",
            where="chunk_tokens",
        )
    if chunking.size > most:
        raise SettingError(
            f"chunks of {chunking.size:,} tokens for an encoder that reads {most:,}",
            wanted=f"at most {most:,}",
            where="chunk_tokens",
        )
    return tokenizer


def _groups(offsets: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of texts with at most `MOST` chunks together, or of one text with more."""
    found, first, n = [], 0, len(offsets) - 1
    while first < n:
        last = int(np.searchsorted(offsets, offsets[first] + MOST, side="right")) - 1
        last = min(max(last, first + 1), n)
        found.append((first, last))
        first = last
    return found
