"""The bag of token vectors, with its head: ranks labels for a text as `megalabel.encoders.bag` does.

    x = norm(Σ w e / √(Σ w²)),   view_v = widen(x + narrow_v(gelu(widen_v(norm_v(x)))))

Sums are in float64, and views are rounded to float32.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import erf, sqrt

from .container import Container
from .heads import head_of
from .kernels import chosen
from .plain import FLOAT32
from .tokens import tokens_of

EPSILON, LEAST_SCALE = 1e-5, 1e-6


class BagRanker:
    """Ranks labels for a text by a bag and a head."""

    def __init__(self, file: Container) -> None:
        about = file.model["bag"]
        self._tokens, self._dim, self._n_views = tokens_of(file), int(about["dim"]), int(about["n_views"])
        self._n_tokens = int(about["n_tokens"])
        self._table, self._weights = file.array("bag.table", "f"), file.array("bag.weights", "f")
        self._bigrams = file.array("bag.bigrams", "q")
        self._norm = _Norm(file, "bag.norm", self._dim)
        self._blocks = [
            _Block(file, f"bag.block{i}", self._dim) for i in range(self._n_views * bool(about["hidden"]))
        ]
        self._widen = _Map(file, "bag.widen", self._dim) if about["width"] else None
        self._head = head_of(file, file.model["head"], "head")

    def rank(self, text: str, k: int) -> tuple[list[int], list[float]]:
        """The k best labels of a text, and their scores as float32."""
        found: tuple[list[int], list[float]] = self._head.rank(self.views(text), k)
        return found

    def views(self, text: str) -> list[array[float]]:
        """The views of a text, float32."""
        rows = array("q", self._rows(self._tokens(text)))
        weights = array("f", [self._weights[row] for row in rows])
        total = array("d", bytes(8 * self._dim))
        chosen.add_rows(self._table, rows, weights, total)
        scale = max(sqrt(sum([weight * weight for weight in weights])), LEAST_SCALE)
        x = self._norm([value / scale for value in total])
        views = [block(x) for block in self._blocks] or [x] * self._n_views
        if self._widen is not None:
            return [self._widen(view) for view in views]
        return [array("f", view) for view in views]

    def _rows(self, ids: list[int]) -> list[int]:
        """The rows of the table: the tokens, then the bigrams that have a vector."""
        bigrams, n = self._bigrams, len(self._bigrams)
        rows = list(ids)
        for left, right in pairwise(ids) if n else ():
            code = left * self._n_tokens + right
            at = bisect_left(bigrams, code)
            if at < n and bigrams[at] == code:
                rows.append(self._n_tokens + at)
        return rows


class _Norm:
    """Layer normalization."""

    def __init__(self, file: Container, name: str, dim: int) -> None:
        self._weight, self._bias = (file.array(f"{name}.{part}", "f").tolist() for part in ("weight", "bias"))
        if not len(self._weight) == len(self._bias) == dim:
            raise file.refused(f"weights of {name!r} of another width than {dim}")

    def __call__(self, x: Sequence[float]) -> list[float]:
        mean = sum(x) / len(x)
        centered = [value - mean for value in x]
        factor = 1 / sqrt(sum([value * value for value in centered]) / len(x) + EPSILON)
        return [value * factor * w + b for value, w, b in zip(centered, self._weight, self._bias, strict=True)]


class _Map:
    """A linear map with bias."""

    def __init__(self, file: Container, name: str, dim: int) -> None:
        self._weight, self._bias = file.array(f"{name}.weight", "f"), file.array(f"{name}.bias", "f")
        if len(self._weight) != dim * len(self._bias):
            raise file.refused(f"weights of {name!r} of another width than {dim}")
        self.size = len(self._bias)

    def __call__(self, x: Sequence[float]) -> array[float]:
        out = array("f", bytes(4 * self.size))
        chosen.dots(self._weight, FLOAT32, array("f", x), self._bias, None, 0, out)
        return out


class _Block:
    """x + narrow(gelu(widen(norm(x))))."""

    def __init__(self, file: Container, name: str, dim: int) -> None:
        self._norm, self._widen = _Norm(file, f"{name}.norm", dim), _Map(file, f"{name}.widen", dim)
        self._narrow = _Map(file, f"{name}.narrow", self._widen.size)
        if self._narrow.size != dim:
            raise file.refused(f"a block {name!r} of another width than {dim}")

    def __call__(self, x: Sequence[float]) -> list[float]:
        hidden = self._widen(self._norm(x))
        inside = [0.5 * value * (1 + erf(value * 0.7071067811865476)) for value in hidden]
        return [a + b for a, b in zip(x, self._narrow(inside), strict=True)]
