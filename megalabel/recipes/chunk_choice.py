"""Chooses on held-out texts whether a model reads texts in chunks, of which size, and how they are pooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np

from megalabel.data.filters import filter_of
from megalabel.inference.matching import match_labels
from megalabel.inputs.chunks import Chunking, word_starts
from megalabel.kernels.sparse.pool_topk import Pooling, pool_topk
from megalabel.linear.choice import gains
from megalabel.linear.trial import TOP, ndcg
from megalabel.models.chunked import ChunkedClassifier, most_tokens, rank_chunks, scale_of, tokenizer_of
from megalabel.models.mixture import DEPTH
from megalabel.models.neural import NeuralClassifier
from megalabel.types import TopK

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.data.texts import Texts
    from megalabel.models.base import Classifier
    from megalabel.recipes.chunk_options import Chunked

MOST_TEXTS = 2_000  # held-out texts that are ranked, evenly spaced
WORDS, TOKENS = (25, 50, 100, 200, 400), (32, 64, 128, 256, 512)  # sizes that are tried
LONG = 0.9  # the quantile of the lengths of texts that counts
MOST_CHUNKS = 32  # of a text of this length, so that small chunks of long texts are not tried
ERRORS = 2.0  # standard errors of the differences by which chunks have to be better, on texts not chosen on
SAMPLE, READ = 2_000, 100_000  # texts whose length is counted, and characters of each


class Tried(NamedTuple):
    """A way of reading texts, and nDCG@5 of each held-out text in percent, (n,) float64."""

    chunking: Chunking
    pooling: Pooling
    scores: np.ndarray


def long_words(texts: Texts) -> float:
    """The number of words that nine of ten texts do not exceed, by a sample."""
    step = max(1, -(-len(texts) // SAMPLE))
    return _quantile([len(word_starts(texts[i][:READ])) for i in range(0, len(texts), step)])


def chosen(
    model: Classifier, corpus: Corpus, rows: np.ndarray, options: Chunked, say: Callable[[str], Any]
) -> Classifier:
    """The model over chunks or, where held-out texts do not gain by them, the model itself.

    Args:
        model: a classifier that reads texts.
        corpus: a data set with labels of the model.
        rows: (n,) int64, its training texts that the model has not learned.
        options: those of the recipe chunked; where they leave nothing open, they are followed.
        say: a function that takes a line of text per decision.
    """
    if options.given:
        (chunking,) = sizes_of(model, corpus.train.texts[rows[:0]], options)
        return ChunkedClassifier(model, chunking, options.chunk_pooling)  # type: ignore[arg-type]
    rows = rows[:: max(1, -(-len(rows) // MOST_TEXTS))]
    sizes = sizes_of(model, corpus.train.texts[rows], options)
    if not sizes:
        say("chunks: none, since nine of ten texts are no longer than a chunk")
        return model
    matched = match_labels(model.label_texts, corpus, corpus.train, model.metadata)
    for note in matched.notes:
        say(note)
    truth = matched.labels[rows]
    exclude = filter_of(replace(corpus.train, filter=matched.filter), rows)  # pairs in the columns of the model
    texts = corpus.train.texts[rows]
    whole = _scores(model.topk(texts, model.reach(TOP), exclude=exclude), truth)
    poolings = get_args(Pooling) if options.chunk_pooling == "auto" else (options.chunk_pooling,)
    tried: list[Tried] = []
    for size in sizes:
        found = _tried(model, texts, truth, exclude, size, poolings)
        tried += found
        reached = ", ".join(f"{_name(one)} {one.scores.mean():.2f}" for one in found)
        say(f"chunks of {size.size} {size.unit}: {reached} (held-out nDCG@5; whole texts {whole.mean():.2f})")
    best = max(tried, key=lambda one: float(one.scores.mean()))
    if not gains(unseen_differences([one.scores for one in tried], whole), ERRORS, 0.0):
        say(f"chunks: none, since no way of cutting gains more than its error on {len(rows):,} held-out texts")
        return model
    say(
        f"chosen: {best.chunking}" + (f", {best.pooling} of their scores" if best.chunking.max_chunks != 1 else "")
    )
    made = ChunkedClassifier(model, best.chunking, best.pooling)
    made.chosen = {
        f"chunk_{best.chunking.unit}": (best.chunking.size,),
        "chunk_pooling": best.pooling,
        "max_chunks": best.chunking.max_chunks,
    }
    return made


def unseen_differences(tried: Sequence[np.ndarray], whole: np.ndarray) -> np.ndarray:
    """What cutting gains on texts on which the way of cutting was not chosen: (n,) float64.

    The best of many ways owes a part of its lead to chance on the texts that it was chosen on. Every second text
    is therefore compared in the way that is best on the others, and the others in the way that is best on these.

    Args:
        tried: the scores of each text in every way, (n,) each.
        whole: those of whole texts, (n,).
    """
    found = np.empty(len(whole))
    halves = slice(0, None, 2), slice(1, None, 2)
    for half, other in (halves, halves[::-1]):
        best = max(tried, key=lambda scores: float(scores[other].sum()))
        found[half] = best[half] - whole[half]
    return found


def sizes_of(model: Classifier, texts: Texts, options: Chunked) -> list[Chunking]:
    """The sizes of chunks to try: of tokens for a model that is an encoder and a head, else of words."""
    tokenizer = tokenizer_of(model) if isinstance(model, NeuralClassifier) else None
    tokens = bool(options.chunk_tokens) or (tokenizer is not None and not options.chunk_words)
    sizes = options.chunk_tokens or options.chunk_words
    if not sizes:
        read = [text[:READ] for text in texts]
        starts = tokenizer.starts(read) if tokens and tokenizer else [word_starts(text) for text in read]
        length = _quantile([len(begins) for begins in starts])
        most = most_tokens(model) if tokens else None
        known = WORDS if most is None else sorted({*(n for n in TOKENS if n < most), most})
        least = max(length / MOST_CHUNKS, options.chunk_overlap)
        sizes = tuple(n for n in known if least < n < length)
    return [Chunking(n, "tokens" if tokens else "words", options.chunk_overlap, options.max_chunks) for n in sizes]


def _tried(
    model: Classifier,
    texts: Texts,
    truth: Any,
    exclude: np.ndarray | None,
    size: Chunking,
    poolings: tuple[Any, ...],
) -> list[Tried]:
    """Chunks of one size, pooled in several ways, and the first chunk alone; each chunk is ranked once."""
    tokenizer = tokenizer_of(model) if size.unit == "tokens" else None
    chunks = size.cut(texts, tokenizer)
    top = rank_chunks(model, chunks, DEPTH, exclude=exclude)
    found = [
        Tried(size, pooling, _scores(pool_topk(top, chunks.offsets, TOP, pooling, scale_of(model)), truth))
        for pooling in poolings
    ]
    first = TopK(*(array[chunks.offsets[:-1], :TOP] for array in top.numpy()))
    return [*found, Tried(replace(size, max_chunks=1), "mean", _scores(first, truth))]


def _scores(top: TopK, truth: Any) -> np.ndarray:
    return 100 * ndcg(top.numpy()[0], truth)


def _name(tried: Tried) -> str:
    return "the first alone" if tried.chunking.max_chunks == 1 else tried.pooling


def _quantile(lengths: list[int]) -> float:
    return float(np.quantile(lengths, LONG)) if lengths else 0.0
