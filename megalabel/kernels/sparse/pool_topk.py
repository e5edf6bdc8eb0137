"""Pools the rankings of the parts of a text, such as its chunks, into one ranking per text.

For each label that some part ranks, with its values v over the C parts of the text:

    max      the largest v
    mean     Σ v / C
    softmax  Σ v · exp(α v) / Σ exp(α v)

What the values are depends on the scores:

    probability  the scores; 0 where a part does not rank the label
    log_odds     σ(score), or 0; the result is turned back into log-odds
    logit        the scores; where a part does not rank the label, the least score in any ranking of the text

A mean of log-odds instead of probabilities would be that of the parts that say nothing: a label that one of many
parts has is then below one that none has, but none excludes. The maximum takes only the scores that are there. The
third way is softmax pooling (McFee, Salamon and Bello, "Adaptive Pooling Operators for Weakly Labeled Sound Event
Detection", 2018, section III): α = 0 is the mean, a large α the maximum. The plain version below is the reference;
the numba version (`_cpu/pool_topk.py`) runs for inputs that are large enough to be worth its compilation.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.types import TopK

Pooling = Literal["max", "mean", "softmax"]
Scale = Literal["probability", "log_odds", "logit"]
# α of the softmax: chosen on held-out texts (docs/log.md, 2026-11-30).
SHARPNESS: dict[Scale, float] = {"probability": 2.0, "log_odds": 2.0, "logit": 1.0}
LARGEST = 700.0  # log-odds beyond which the exponential function overflows

_COMPILED = Operation(__package__, "pool_topk", enough_work=1 << 14)  # entries of rankings


def pool_topk(top: TopK, offsets: np.ndarray, k: int, pooling: Pooling, scale: Scale = "probability") -> TopK:
    """The k labels of each text with the largest pooled scores; ties to the lower label.

    Args:
        top: rankings of the C parts of all texts, (C, d); -1 for no label. A label occurs once per part.
        offsets: (N + 1,) int64; the parts of text n are offsets[n] … offsets[n + 1] − 1.
        k: labels per text.
        pooling: "max", "mean" or "softmax".
        scale: what the scores are; see above.

    Returns:
        Labels (N, k) int64 and scores (N, k) float32, numpy arrays, best first; -1 and -inf where there are fewer.

    Raises:
        SettingError: an unknown pooling or scale, or k below 1.
        DataError: offsets that do not fit the rankings, or scores that are NaN or infinite.
    """
    if pooling not in get_args(Pooling):
        raise SettingError.choice("pooling", pooling, get_args(Pooling))
    if scale not in get_args(Scale):
        raise SettingError.choice("scale", scale, get_args(Scale))
    if k < 1:
        raise SettingError(f"k = {k}", wanted="at least 1", where="k")
    ids, scores = top.numpy()
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    if (
        offsets.ndim != 1
        or len(offsets) < 1
        or offsets[0] != 0
        or offsets[-1] != len(ids)
        or (np.diff(offsets) < 0).any()
    ):
        raise DataError(
            f"{len(ids)} rankings and offsets of shape {offsets.shape}",
            wanted="ascending offsets from 0 to the number of rankings",
            where="offsets",
        )
    if not np.isfinite(scores[ids >= 0]).all():
        raise DataError("scores that are NaN or infinite", wanted="finite scores", where="top")
    out = np.full((len(offsets) - 1, k), -1, np.int64), np.full((len(offsets) - 1, k), -np.inf, np.float32)
    alpha = {"max": np.inf, "mean": 0.0, "softmax": SHARPNESS[scale]}[pooling]
    missing = _least(ids, scores, offsets) if scale == "logit" else np.zeros(len(offsets) - 1)
    arguments: Any = (ids, scores, offsets, missing, alpha, scale == "log_odds", *out)
    fast = _COMPILED.for_work(ids.size)
    if fast is None:
        _plain(*arguments)
    else:
        fast.pool(*arguments)
    return TopK(*out)


def _least(ids: np.ndarray, scores: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The least score in the rankings of each text, 0 without any: (N,) float64."""
    found = np.zeros(len(offsets) - 1)
    if ids.size:
        least = np.where(ids >= 0, scores, np.inf).min(axis=1)
        filled = np.flatnonzero(np.diff(offsets))
        lowest = np.minimum.reduceat(least, offsets[:-1][filled])
        found[filled] = np.where(np.isfinite(lowest), lowest, 0.0)
    return found


def _plain(
    ids: np.ndarray,
    scores: np.ndarray,
    offsets: np.ndarray,
    missing: np.ndarray,
    alpha: float,
    odds: bool,
    labels: np.ndarray,
    values: np.ndarray,
) -> None:
    for n in range(len(labels)):
        part = slice(offsets[n], offsets[n + 1])
        there = ids[part] >= 0
        found, places = np.unique(ids[part][there], return_inverse=True)
        if len(found) == 0:
            continue
        given = scores[part][there].astype(np.float64)
        pooled = np.full(len(found), -np.inf)
        if alpha == np.inf:
            np.maximum.at(pooled, places, given)
        else:
            clipped = np.clip(given, -LARGEST, LARGEST)
            value = 1 / (1 + np.exp(-clipped)) if odds else given
            highest = np.full(len(found), missing[n])
            np.maximum.at(highest, places, value)
            weights = np.exp(alpha * (value - highest[places]))
            absent = (len(ids[part]) - np.bincount(places)) * np.exp(alpha * (missing[n] - highest))
            total = np.bincount(places, weights * value) + absent * missing[n]
            if odds:  # with 1 − p = σ(−score), which keeps its precision near p = 1
                rest = np.bincount(places, weights / (1 + np.exp(clipped))) + absent
                pooled = np.log(total) - np.log(rest)
            else:
                pooled = total / (np.bincount(places, weights) + absent)
        pooled = pooled.astype(np.float32)
        best = np.argsort(-pooled, kind="stable")[: labels.shape[1]]
        labels[n, : len(best)], values[n, : len(best)] = found[best], pooled[best]
