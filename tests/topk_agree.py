"""Compares two rankings by score, as processors round sums differently and may swap labels that nearly tie."""

from __future__ import annotations

import numpy as np

from megalabel.types import TopK

RTOL, ATOL = 1.3e-6, 1e-5  # those of torch.testing.assert_close for float32


def assert_topk_agree(found: TopK, expected: TopK, *, rtol: float = RTOL, atol: float = ATOL) -> None:
    """Checks that two rankings of the same texts differ by rounding alone.

    Two numbers agree when they differ by at most `atol + rtol * |expected|`. Two rankings agree when

    - they have the same shape and end (-1 with -inf) at the same places, and no text has a label twice;
    - the scores agree place by place;
    - a label that both rankings hold has scores that agree;
    - a label that only one of them holds has a score that agrees with the last score of the other, which
      has to be full: it is a near tie at the cut.

    Raises:
        AssertionError: they do not agree; the message names the first text and place.
    """
    (labels, scores), (other, wanted) = found.numpy(), expected.numpy()
    assert labels.shape == other.shape, f"{labels.shape} labels, expected {other.shape}"
    _require((labels < 0) == (other < 0), "one ranking ends and the other does not", found, expected)
    given = labels >= 0
    _require(given | (scores == wanted), "a place without a label has another score", found, expected)
    for ids, name in ((labels, "found"), (other, "expected")):
        _require(~_twice(ids), f"a label twice in what was {name}", found, expected)
    _require(_close(scores, wanted, rtol, atol) | ~given, "scores differ", found, expected)
    # By the two checks below, no label stands where a clearly different score belongs.
    for ids, own, into in ((labels, scores, (other, wanted)), (other, wanted, (labels, scores))):
        elsewhere = _scores_in(ids, *into)
        _require(_close(own, elsewhere, rtol, atol) | ~given, "a label has another score", found, expected)


def _close(a: np.ndarray, b: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # the difference of two infinities
        return (a == b) | (np.abs(a.astype(float) - b) <= atol + rtol * np.abs(b.astype(float)))


def _twice(labels: np.ndarray) -> np.ndarray:
    same = (labels[:, :, None] == labels[:, None, :]) & (labels[:, :, None] >= 0)
    return same.sum(2) > 1


def _scores_in(labels: np.ndarray, other: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Each label's score in the other ranking; for a label not in it, the score at its cut (NaN if not full)."""
    if not labels.size:
        return np.zeros(labels.shape)
    same = labels[:, :, None] == other[:, None, :]
    cut = np.where(other[:, -1:] >= 0, scores[:, -1:], np.nan)
    return np.where(same.any(2), np.take_along_axis(scores, same.argmax(2), axis=1), cut)


def _require(holds: np.ndarray, what: str, found: TopK, expected: TopK) -> None:
    if holds.all():
        return
    row, place = np.argwhere(~holds)[0]
    lines = [
        f"{name}: labels {top.numpy()[0][row].tolist()}, scores {top.numpy()[1][row].tolist()}"
        for name, top in (("found", found), ("expected", expected))
    ]
    raise AssertionError("\n".join([f"{what}: text {row}, place {place} ({(~holds).sum()} places)", *lines]))
