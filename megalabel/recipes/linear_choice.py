"""Decides the settings of linear models that the options leave open, before the models are fitted on all texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp

from megalabel.data.filters import filter_of
from megalabel.data.row_weights import normalized_weights
from megalabel.distributed.objects import from_main
from megalabel.distributed.world import World
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.inputs.sparse_text import SparseText
from megalabel.linear.choice import (
    ALL_NGRAMS,
    FEWEST_HELD,
    MANY_SIGNS,
    SHORT_NGRAMS,
    WEIGHTS,
    Open,
    search,
    share_of_signs,
)
from megalabel.linear.label_texts import MIN_PRECISION, label_text_precision
from megalabel.linear.sample import draw
from megalabel.linear.training_rows import MANY_ALONE, median_words, texts_of_own_words
from megalabel.linear.tree import ALONE
from megalabel.linear.trial import READ, Setting, Trial, Trials

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.recipes.linear_options import LinearOptions

CLUSTERING_WORDS = 50_000  # the most frequent words, by which labels are clustered for the sample

Given = TypeVar("Given", bound="LinearOptions")


def decided(
    options: Given, corpus: Corpus, rows: np.ndarray, say: Callable[[str], Any], world: World = ALONE
) -> Given:
    """The options with a value for everything that was open: from the training texts, or from the defaults.

    What is given stays as it is. Fewer than 40 texts with labels decide nothing.

    Args:
        options: the options of `linear` or `hybrid`.
        corpus: the data set.
        rows: (n,) int64, the training texts that may be read.
        say: a function that takes a line of text per decision.
        world: the processes that divide the work; all of them decide the same.
    """
    start, free = start_of(options), open_of(options, corpus)
    tried = False
    label_texts: str = options.label_texts
    if free and len(rows) >= FEWEST_HELD and corpus.n_labels > 1:
        with_texts = corpus.train.features is None
        read = _read_texts(options, corpus, rows) if with_texts else _read_bags(corpus, rows)
        labels, pairs = corpus.train.labels[rows], filter_of(corpus.train, rows)
        draw_sample = partial(draw, read.contents, read.x, labels, seed=options.seed)
        # Sums of floats may differ between machines, so the main process decides.
        label_texts, samples = from_main(lambda: (read.label_texts, draw_sample()), world)
        if sum(len(sample.held) for sample in samples) >= FEWEST_HELD:
            names = corpus.label_texts if label_texts == "yes" else []
            inputs = corpus.train.texts[rows] if with_texts else read.x
            weights = normalized_weights(corpus.train, rows)
            parts = inputs, labels, names, pairs
            trials = Trials([Trial(*parts, sample, options.seed, weights, world) for sample in samples])
            start = search(trials, start, free, say)
            tried = True
        if with_texts and options.label_texts == "auto" and label_texts == "no":
            say(f"label texts: not used as training rows ({read.reason})")
    return _with(options, corpus, start, label_texts, tried=tried)


def start_of(options: LinearOptions) -> Setting:
    """The values that are given, and the defaults of those that are open."""
    lengths = options.char_ngram_lengths or SHORT_NGRAMS
    weight = WEIGHTS[0] if options.bigram_weight is None else options.bigram_weight
    return Setting(
        token_pattern=options.pattern,
        bigram_weight=0.0 if options.bigrams == "no" else weight,
        char_ngrams=(lengths[0], lengths[-1]) if options.char_ngrams == "yes" else None,
        c=1.0 if options.c is None else options.c,
    )


def open_of(options: LinearOptions, corpus: Corpus) -> Open:
    """What the options leave open, as far as it makes a difference for these texts."""
    if corpus.train.features is not None:
        return Open(token_pattern=False, char_ngrams=(), bigram_weights=(), c=options.c is None)
    weights: tuple[float, ...] = WEIGHTS if options.bigram_weight is None else (options.bigram_weight, 0.0)
    if options.bigrams != "auto":
        weights = tuple(w for w in weights if w) if options.bigrams == "yes" else ()
    return Open(
        token_pattern=options.token_pattern == "auto" and share_of_signs(corpus.train.texts) >= MANY_SIGNS,
        char_ngrams=_lengths(options, corpus) if options.char_ngrams == "auto" else (),
        bigram_weights=weights if len(weights) > 1 else (),
        c=options.c is None,
    )


def _lengths(options: LinearOptions, corpus: Corpus) -> tuple[tuple[int, int], ...]:
    """The lengths of character n-grams to try; none where texts are longer than the options allow."""
    texts = corpus.train.texts
    if options.char_ngrams_max_words and median_words(texts) > options.char_ngrams_max_words:
        return ()
    if options.char_ngram_lengths:
        return ((options.char_ngram_lengths[0], options.char_ngram_lengths[-1]),)
    alone = texts_of_own_words(texts, options.pattern)
    return (SHORT_NGRAMS, ALL_NGRAMS) if alone >= MANY_ALONE else (SHORT_NGRAMS,)


class _Read(NamedTuple):
    """What the sample is drawn by.

    x: (n, V) float32 CSR, bags of words, or the words in the beginnings of the texts.
    contents: the texts or rows as bytes.
    label_texts: whether label texts become training rows: "yes" or "no".
    reason: why not.
    """

    x: sp.csr_matrix
    contents: Iterable[bytes]
    label_texts: str
    reason: str = ""


def _read_texts(options: LinearOptions, corpus: Corpus, rows: np.ndarray) -> _Read:
    texts, names = corpus.train.texts[rows], corpus.label_texts
    beginnings = (text[:READ] for part in (texts, names) for text in part)
    learned = SparseText.learn(beginnings, vocabulary=CLUSTERING_WORDS, pattern=options.pattern, bigrams=False)
    x = learned.transform(text[:READ] for text in texts)
    contents = (text.encode("utf-8", "surrogatepass") for text in texts)
    if options.label_texts != "auto":
        return _Read(x, contents, options.label_texts)
    if names.are_numbers():
        return _Read(x, contents, "no", "they are only numbers")
    precision = label_text_precision(x, corpus.train.labels[rows], learned.transform(names), seed=options.seed)
    use = "yes" if precision >= MIN_PRECISION else "no"
    return _Read(
        x, contents, use, f"for the most similar quarter of a sample, the label is correct in {precision:.0%}"
    )


def _read_bags(corpus: Corpus, rows: np.ndarray) -> _Read:
    assert corpus.train.features is not None
    bags = corpus.train.features[rows]
    x = BagOfWords.from_rows(bags).transform(bags)
    ends = zip(x.indptr[:-1].tolist(), x.indptr[1:].tolist(), strict=True)
    contents = (x.indices[a:b].tobytes() + x.data[a:b].tobytes() for a, b in ends)
    return _Read(x, contents, "no")


def _with(options: Given, corpus: Corpus, chosen: Setting, label_texts: str, *, tried: bool) -> Given:
    """The options with the chosen values; where nothing was tried, character n-grams and label texts stay open."""
    otherwise = () if tried or options.char_ngrams == "no" else ALL_NGRAMS
    lengths = chosen.char_ngrams or options.char_ngram_lengths or otherwise
    values: dict[str, Any] = {"c": chosen.c}
    if corpus.train.features is None:
        values |= {
            "token_pattern": chosen.token_pattern,
            "bigrams": "yes" if chosen.bigram_weight else "no",
            "bigram_weight": chosen.bigram_weight or WEIGHTS[0],
            "char_ngram_lengths": lengths,
            "label_texts": label_texts,
        }
        if tried:
            values["char_ngrams"] = "yes" if chosen.char_ngrams else "no"
    return replace(options, **values)
