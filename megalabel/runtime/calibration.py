"""Calibrated probabilities of the scores of a ranking, as `megalabel.models.monotone` defines them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from .container import Container


class Calibration:
    """The monotone functions of groups of ranks: knots `calibration.scores` and `.probabilities`, and `.ends`."""

    def __init__(self, file: Container) -> None:
        scores, probabilities = (file.array(f"calibration.{name}", "d") for name in ("scores", "probabilities"))
        self._ranks: list[int] = list(file.model["calibration_ranks"])
        first, self._functions = 0, []
        for last in file.array("calibration.ends", "q"):
            if not 0 <= first < last <= min(len(scores), len(probabilities)):
                raise file.refused("tables of a calibration that do not fit")
            self._functions.append((scores[first:last], probabilities[first:last]))
            first = last
        if len(self._functions) != 1 + len(self._ranks):
            raise file.refused("tables of a calibration that do not fit")

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """The probabilities of scores that are ranked best first, as float32."""
        found = []
        for rank, score in enumerate(scores):
            groups = bisect_right(self._ranks, rank)
            found.append(min(_between(score, x, y) for x, y in self._functions[1 : groups + 1]))
        return list(array("f", found))


def _between(score: float, x: memoryview, y: memoryview) -> float:
    """Linear interpolation between knots; the value of the first or last knot beyond them."""
    at = bisect_right(x, score)
    if at == 0 or at == len(x):
        value: float = y[0] if at == 0 else y[-1]
        return value
    slope: float = (y[at] - y[at - 1]) / (x[at] - x[at - 1])
    return slope * (score - x[at - 1]) + y[at - 1]
