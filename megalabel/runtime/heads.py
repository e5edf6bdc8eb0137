"""Heads: views of a text to its best labels. Dense and sparse heads score all labels, cascades search a tree."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import erf, exp

from .container import Container
from .kernels import chosen
from .plain import BFLOAT16, FLOAT8, FLOAT32, log_sigmoid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Ranked = tuple[list[int], list[float]]

KINDS = {"float32": (FLOAT32, "f"), "bfloat16": (BFLOAT16, "H"), "float8": (FLOAT8, "B")}
ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "none": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: 0.5 * x * (1 + erf(x * 0.7071067811865476)),
}


class Table:
    """Rows of weights in one of three types, with biases."""

    def __init__(self, file: Container, name: str, kind: str, width: int) -> None:
        self.kind, items = KINDS[kind]
        self.width = width
        self.weights = file.array(f"{name}.weight", items)
        self.bias = file.array(f"{name}.bias", "f") if f"{name}.bias" in file else None
        self.exponents = file.array(f"{name}.exponents", "b") if kind == "float8" else None
        self.n_rows = len(self.weights) // max(width, 1)
        others = [part for part in (self.bias, self.exponents) if part is not None]
        if width < 1 or len(self.weights) != self.n_rows * width or any(len(p) != self.n_rows for p in others):
            raise file.refused(f"weights of {name!r} of another size")

    def scores(self, x: array[float], first: int, out: Any) -> None:
        """Writes the scores of the rows from `first` on."""
        chosen.dots(self.weights, self.kind, x, self.bias, self.exponents, first, out)


class Dense:
    """Scores every label by its weights."""

    def __init__(self, file: Container, about: dict[str, Any], name: str) -> None:
        self._table = Table(file, name, about["weights"], int(about["dim"]))
        self._ids = file.array(f"{name}.ids", "q") if f"{name}.ids" in file else None

    def rank(self, views: Sequence[array[float]], k: int) -> Ranked:
        """The k best labels by the last view."""
        out = array("f", bytes(4 * self._table.n_rows))
        self._score(views[-1], out)
        ids, scores = chosen.largest(out, k, self._ids)
        return ids, scores

    def _score(self, x: array[float], out: array[float]) -> None:
        self._table.scores(x, 0, out)


class Sparse(Dense):
    """Scores every label by the few inputs that it reads; neighbors may share them."""

    def __init__(self, file: Container, about: dict[str, Any], name: str) -> None:
        super().__init__(file, {**about, "dim": about["fan_in"]}, name)
        self._inputs, self._group = file.array(f"{name}.inputs", "Bhi"), int(about["group"])

    def _score(self, x: array[float], out: array[float]) -> None:
        table = self._table
        layer = table.weights, table.kind, self._inputs, table.width, self._group
        chosen.fan_in(*layer, x, table.bias, table.exponents, out)


class Partitioned:
    """Several heads over labels of their own."""

    def __init__(self, file: Container, about: dict[str, Any], name: str) -> None:
        self._parts = [head_of(file, part, f"{name}.{i}") for i, part in enumerate(about["parts"])]

    def rank(self, views: Sequence[array[float]], k: int) -> Ranked:
        """The k best of the best labels of all parts."""
        found = [pair for part in self._parts for pair in zip(*part.rank(views, k), strict=True)]
        best = sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]
        return [label for label, _ in best], [score for _, score in best]


class Projection:
    """A linear layer before another head."""

    def __init__(self, file: Container, about: dict[str, Any], name: str) -> None:
        self._layer = Table(file, f"{name}.layer", "float32", int(about["dim"]))
        self._activation = ACTIVATIONS[about["activation"]]
        self._head = head_of(file, about["head"], f"{name}.head")

    def rank(self, views: Sequence[array[float]], k: int) -> Ranked:
        """The k best labels of the head."""
        out = array("f", bytes(4 * self._layer.n_rows))
        self._layer.scores(views[-1], 0, out)
        ids, scores = self._head.rank([array("f", map(self._activation, out))], k)
        return ids, scores


class Cascade:
    """Searches a tree of clusters with the best of each level; see `megalabel.kernels.candidates.beam`."""

    def __init__(self, file: Container, about: dict[str, Any], name: str) -> None:
        self._beams, self._path_score = [int(beam) for beam in about["beams"]], str(about["path_score"])
        levels = range(len(self._beams) + 1)
        self._tables = [Table(file, f"{name}.level{i}", about["weights"], int(about["dim"])) for i in levels]
        self._offsets = [file.array(f"{name}.level{i}.offsets", "q") for i in levels[:-1]]
        self._order = file.array(f"{name}.order", "q")
        sizes = [table.n_rows for table in self._tables]
        if [len(part) - 1 for part in self._offsets] != sizes[:-1] or len(self._order) != sizes[-1]:
            raise file.refused(f"levels of {name!r} that do not fit")

    def rank(self, views: Sequence[array[float]], k: int) -> Ranked:
        """The k best labels that the beams reach, and their probabilities."""
        blocks, last = [(0, self._tables[0].n_rows, 0.0)], len(self._beams)
        for i, beam in enumerate(self._beams):
            rows, z, above = self._candidates(i, views, blocks)
            joined = self._path_score in ("path", "decayed") and i > 0
            logs = [a + log_sigmoid(value) for a, value in zip(above, z, strict=True)] if joined else []
            kept, _ = chosen.largest(array("f", logs) if joined else z, beam, None)
            fade, children = 0.5 if self._path_score == "decayed" else 1.0, self._offsets[i]
            blocks = [
                (children[rows[at]], children[rows[at] + 1], fade * (logs[at] if joined else log_sigmoid(z[at])))
                for at in sorted(kept)
            ]
        rows, z, above = self._candidates(last, views, blocks)
        alone = self._path_score == "label"
        if not alone:
            z = array("f", [a + log_sigmoid(value) for a, value in zip(above, z, strict=True)])
        ids, keys = chosen.largest(z, k, array("q", [self._order[row] for row in rows]))
        return ids, list(array("f", [exp(log_sigmoid(key) if alone else key) for key in keys]))

    def _candidates(
        self, level: int, views: Sequence[array[float]], blocks: list[tuple[int, int, float]]
    ) -> tuple[list[int], array[float], list[float]]:
        """The rows in some blocks, their scores, and what each adds to the logarithm of its probability."""
        rows = [row for first, end, _ in blocks for row in range(first, end)]
        above = [add for first, end, add in blocks for _ in range(first, end)]
        z, at, x = array("f", bytes(4 * len(rows))), 0, views[min(level, len(views) - 1)]
        out = memoryview(z)
        for first, end, _ in blocks:
            self._tables[level].scores(x, first, out[at : at + end - first])
            at += end - first
        return rows, z, above


HEADS: dict[str, Any] = {
    "dense": Dense, "sparse": Sparse, "partitioned": Partitioned, "projection": Projection, "cascade": Cascade,
}  # fmt: skip


def head_of(file: Container, about: dict[str, Any], name: str) -> Any:
    """The head that a file describes; its arrays begin with `name`."""
    return HEADS[about["type"]](file, about, name)
