"""The gain of each source of training texts: what linear models lose on held-out texts without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.data.filters import filter_of
from megalabel.data.row_weights import SHOWN, source_counts
from megalabel.data.subsets import rows_of
from megalabel.errors import DataError
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.inputs.batches import hold_out
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.metrics.table import table
from megalabel.recipes.linear import linear
from megalabel.types import TopK

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

GAINS = ("nDCG@5", "P@1", "PSP@5")
DEPTH = 5
OTHERS = "nDCG@5, others"  # measured on the held-out texts of the other sources


@dataclass(frozen=True)
class SourceGains:
    """What each source contributes.

    Attributes:
        metrics: of a model that is trained on all sources, in percent, on the held-out texts.
        gains: for each source the number of its training texts under "texts", and the metrics with it minus those
            without it.
    """

    metrics: dict[str, float]
    gains: dict[str, dict[str, float]]

    def table(self) -> str:
        """The values as a table; the first row is that of all sources together."""
        whole = {"texts": sum(int(gain["texts"]) for gain in self.gains.values()), **self.metrics}
        shown = {"all sources": whole, **self.gains}
        rows: list[tuple[str, dict[str, Any]]] = [(name or "(no source)", dict(v)) for name, v in shown.items()]
        for _, values in rows:
            values["texts"] = int(values["texts"])
        return table(rows, columns=["texts", *GAINS, OTHERS], title="source")


def source_gains(
    corpus: Corpus,
    *,
    validation_fraction: float = 0.1,
    seed: int = 0,
    say: Callable[[str], Any] = lambda line: None,
    **options: Any,
) -> SourceGains:
    """Trains `linear` with all sources and without each of them, and compares the models on held-out texts.

    The held-out texts are the same for all, and come from all sources. Metrics are not weighted, and propensities
    are those of all training texts. The 20 largest sources are compared.

    Args:
        corpus: a data set whose training texts have sources.
        validation_fraction: the fraction of the training texts that is held out.
        seed: seeds the draw and the models.
        say: gets a line on each model.
        options: further options of `linear`.

    Raises:
        DataError: the training texts have fewer than two sources, or those held out have no labels.
    """
    train = corpus.train
    if train.sources is None or len(source_counts(train)) < 2:
        raise DataError(
            f"the training texts of {corpus.name} have {len(source_counts(train))} sources",
            wanted="two or more",
            next_step="name the field of the sources: source_field (--source-field)",
            where=corpus.path,
        )
    kept, held = hold_out(len(train), validation_fraction, seed)
    side, of_rows = rows_of(train, held), np.array(list(train.sources), dtype=object)
    options |= {"validation_fraction": 0.0, "calibration": "no", "seed": seed}
    propensities = _propensities(corpus)

    def rankings(rows: np.ndarray) -> TopK:
        return _rankings(corpus, rows, held, options)

    def measured(top: TopK, rows: np.ndarray) -> dict[str, float]:
        part = TopK(top.ids[rows], top.scores[rows])
        found = measure(part, side.labels[rows], k=(1, DEPTH), inverse_propensity=propensities)
        return {name: found[name] for name in GAINS}

    every, whole = np.arange(len(held)), rankings(kept)
    metrics = measured(whole, every)
    say(f"all sources: {len(kept):,} texts, nDCG@5 {metrics['nDCG@5']:.2f}")
    gains: dict[str, dict[str, float]] = {}
    for name, _ in source_counts(rows_of(train, kept))[:SHOWN]:
        rest = kept[of_rows[kept] != name]
        if train.labels[rest].nnz == 0:
            continue
        without, others = rankings(rest), np.flatnonzero(of_rows[held] != name)
        reached = measured(without, every)
        gain: dict[str, float] = {key: metrics[key] - reached[key] for key in GAINS}
        if len(others) and side.labels[others].nnz:
            gain[OTHERS] = measured(whole, others)["nDCG@5"] - measured(without, others)["nDCG@5"]
        gains[name] = {"texts": len(kept) - len(rest), **gain}
        say(f"without {name!r}: {len(rest):,} texts, nDCG@5 {reached['nDCG@5']:.2f}")
    return SourceGains(metrics, gains)


def _rankings(corpus: Corpus, rows: np.ndarray, held: np.ndarray, options: dict[str, Any]) -> TopK:
    """The best labels of the texts `held` by a linear model that is trained on some rows."""
    train = corpus.train
    model = linear(replace(corpus, train=rows_of(train, rows), test=None), **options).solve(lambda line: None)
    assert model is not None  # in a job of one process
    inputs = model_inputs(train, corpus, model.n_features)[held]
    ids, scores = model.topk(inputs, min(DEPTH, corpus.n_labels), exclude=filter_of(train, held)).numpy()
    pad = ((0, 0), (0, DEPTH - ids.shape[1]))
    return TopK(np.pad(ids, pad, constant_values=-1), np.pad(scores, pad, constant_values=-np.inf))


def _propensities(corpus: Corpus) -> np.ndarray:
    counts = np.asarray((corpus.train.labels > 0).sum(axis=0)).ravel()
    return inverse_propensity(counts, len(corpus.train), *corpus.propensity_constants)
