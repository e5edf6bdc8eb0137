"""Merging score files of the test texts with each other and with runs, into one more score file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.cli.merge_runs import Open
from megalabel.cli.metrics_table import report
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.inference.evaluate import check_labels
from megalabel.inference.export import as_csr
from megalabel.inference.score_files import Scores, is_scores, read_scores
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.metrics.topk import checked_arrays
from megalabel.models.base import load
from megalabel.models.mixture import DEPTH, Mixture
from megalabel.recipes.hybrid import Hybrid
from megalabel.storage.files import write_bytes_atomically
from megalabel.training.trust import trusted
from megalabel.types import TopK

WEIGHTS = Hybrid.declared["weights"]
DEPTHS = (1, 3, 5)


def merge_scores(
    parts: Sequence[str],
    out: Path,
    data: str | None,
    weights: str | None,
    device: str | None,
    open_data: Open,
    say: Callable[[str], Any],
) -> None:
    """Merges rankings of the test texts, and writes the merged scores as a sparse matrix (.npz).

    Score files are of test texts, of which no labels may be used to fit weights, so weights are given or equal.

    Raises:
        SettingError: no data set is known, or `out` or the weights do not fit.
        DataError: a file of other texts or labels, or a data set without test texts.
    """
    chosen = WEIGHTS.check(weights) if weights is not None else (1.0,) * len(parts)
    if len(parts) < 2 or len(chosen) != len(parts):
        raise SettingError(
            f"{len(parts)} rankings and {len(chosen)} weights",
            wanted="two or more runs or files of scores, and as many weights or none",
            where="weights",
        )
    if out.suffix != ".npz" or out.is_dir():
        raise SettingError(
            f"{out}", wanted="a file that ends in .npz, since files of scores make no model", where="out"
        )
    run = next((part for part in parts if not is_scores(part)), None)
    if data is None and run is None:
        raise SettingError("files of scores without a data set", wanted="--data DATA", where="data")
    corpus = open_data(str(run), data)
    if corpus.test is None:
        raise DataError(f"{corpus.name} has no test texts", wanted="test texts", where=corpus.path)
    found = [_scores(part, corpus, device) for part in parts]
    tops = [_without_filter(one.top, corpus.test.filter) for one in found]
    merged = Mixture.from_weights(chosen).merge(tops, [one.score_type for one in found], DEPTH)
    say(_table(parts, [*tops, merged], corpus))
    with write_bytes_atomically(out) as file:
        sp.save_npz(file, as_csr(merged, corpus.n_labels))
    say(f"the merged scores are in {out}")


def _scores(part: str, corpus: Corpus, device: str | None) -> Scores:
    test = corpus.test
    assert test is not None
    if is_scores(part):
        return read_scores(part, corpus, len(test))
    model = load(part, device=device, trust=trusted())
    check_labels(model, corpus)
    top = model.topk(model_inputs(test, corpus, model.n_features), DEPTH, exclude=test.filter)
    return Scores(TopK(*checked_arrays(top)), model.score_type)


def _without_filter(top: TopK, pairs: np.ndarray | None) -> TopK:
    """The ranking without its filter pairs; the places at its end stay empty."""
    ids, scores = checked_arrays(top)
    if pairs is None or not len(pairs):
        return TopK(ids, scores)
    hidden = set(map(tuple, np.asarray(pairs).tolist()))
    for row in sorted({row for row, _ in hidden}):
        kept = np.array([(row, label) not in hidden for label in ids[row].tolist()])
        ids[row], scores[row] = _shifted(ids[row], kept, -1), _shifted(scores[row], kept, -np.inf)
    return TopK(ids, scores)


def _shifted(values: np.ndarray, kept: np.ndarray, filler: float) -> np.ndarray:
    out = np.full_like(values, filler)
    out[: int(kept.sum())] = values[kept]
    return out


def _table(parts: Sequence[str], tops: Sequence[TopK], corpus: Corpus) -> str:
    test, counts = corpus.test, np.asarray(corpus.train.labels.sum(axis=0)).ravel()
    assert test is not None
    weights = inverse_propensity(counts, len(corpus.train), *corpus.propensity_constants)
    width = min(top.ids.shape[1] for top in tops)
    depths = tuple(k for k in DEPTHS if k <= width)
    rows = [
        (name, measure(top, test.labels, k=depths, inverse_propensity=weights, n_true=test.n_true()))
        for name, top in zip([*parts, "together"], tops, strict=True)
    ]
    return report(rows)
