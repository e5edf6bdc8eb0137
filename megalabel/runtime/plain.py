"""The operations of the runtime in plain Python, which define what the compiled ones compute.

Arrays are memory views or arrays of one dimension; products are summed in float64. `_fast.c` has the functions of
`Plain` with the same arguments.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from heapq import nsmallest
from math import exp, inf, isfinite, log1p
from operator import mul

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VERSION = 1  # of the functions and their arguments, as in `_fast.c`
FLOAT32, BFLOAT16, FLOAT8 = range(3)  # how the numbers of a table are stored
ROWS_PER_ENTRY = 8


class Tree:
    """A label tree with sparse weights; see `tree`."""

    def __init__(
        self, levels: Sequence[tuple[Any, ...]], order: Any, beams: Sequence[int], mode: int, size: int
    ) -> None:
        self.levels = [_Level(level, size) for level in levels]
        self.order, self.beams, self.log_score = order, beams, _LOG_SCORES[mode]
        if len(beams) != len(levels) - 1 or len(order) != len(self.levels[-1].bias):
            raise ValueError("levels, beams and labels of a tree do not fit")


def tree(levels: Sequence[tuple[Any, ...]], order: Any, beams: Sequence[int], mode: int, size: int) -> Any:
    """A label tree for `search`.

    Args:
        levels: for each level (offsets, starts, features, entries, lengths or None, children, values, scales or
            None, bias), as `megalabel.kernels.linear.sparse_chunks.Chunks` describes them.
        order: the label at each node of the last level, int64.
        beams: how many nodes of each level of clusters are kept.
        mode: 0 for the l3-hinge, 1 for the l2-hinge, 2 for the sigmoid.
        size: V, the number of features.
    """
    return Tree(levels, order, beams, mode, size)


def search(tree: Tree, columns: array[int], values: array[float], k: int) -> tuple[list[int], list[float]]:
    """The k best labels that the beam reaches, and their probabilities, best first; ties to the lower label.

    Raises:
        ValueError: a number of the tree points outside of its arrays.
    """
    found, last = [(0.0, 0)], len(tree.levels) - 1
    try:
        for i, level in enumerate(tree.levels):
            keys = []
            for above, chunk in found:
                first, scores = level.scores(chunk, columns, values)
                for node, z in enumerate(scores, first):
                    keys.append((-above - tree.log_score(z), tree.order[node] if i == last else node))
            best = nsmallest(k if i == last else tree.beams[i], keys)
            found = [(-key, node) for key, node in best]
    except IndexError as error:
        raise ValueError("a number that points outside of its array") from error
    return [label for _, label in found], list(array("f", [exp(key) for key, _ in found]))


class _Level:
    def __init__(self, arrays: tuple[Any, ...], size: int) -> None:
        self.offsets, self.starts, self.features, self.entries, self.lengths = arrays[:5]
        self.children, self.values, self.scales, self.bias = arrays[5:]
        self.narrow = self.features.itemsize == 2  # features of ranges of 65,536
        self.ranges = max(1, -(-size >> 16)) if self.narrow else 1
        fits = (len(self.offsets) - 1) * self.ranges + 1 == len(self.starts)
        if not fits or len(self.values) != len(self.children):
            raise ValueError("arrays of a level that do not fit")

    def scores(self, chunk: int, columns: array[int], values: array[float]) -> tuple[int, list[float]]:
        """The number of the first child of a chunk, and the scores of the children for a text."""
        if chunk < 0:
            raise IndexError(chunk)
        first, last = self.offsets[chunk], self.offsets[chunk + 1]
        bias = self.bias[first:last].tolist()
        if not 0 <= first <= last or len(bias) != last - first:
            raise IndexError(last)
        scores = [0.0] * len(bias) if self.scales is not None else bias
        at, end, part = 0, 0, -1
        for column, x in zip(columns, values, strict=True):
            own, feature = (column >> 16, column & 0xFFFF) if self.narrow else (0, column)
            if own != part:
                part = own
                at, end = self.starts[chunk * self.ranges + part], self.starts[chunk * self.ranges + part + 1]
            at = bisect_left(self.features, feature, at, end)
            if at < end and self.features[at] == feature:
                self._add(scores, at, x)
        if self.scales is not None:
            scores = [b + s * z for b, s, z in zip(bias, self.scales[first:last], scores, strict=True)]
        return first, scores

    def _add(self, scores: list[float], row: int, x: float) -> None:
        if self.lengths is None:
            first, last = self.entries[row], self.entries[row + 1]
        else:
            start = row - row % ROWS_PER_ENTRY
            first = self.entries[row // ROWS_PER_ENTRY] + sum(self.lengths[start:row]) + row - start
            last = first + self.lengths[row] + 1
        weights = self.values[first:last]
        if weights.itemsize == 2:
            weights = widened(weights)
        for child, weight in zip(self.children[first:last], weights, strict=True):
            scores[child] += weight * x


def log_sigmoid(z: float) -> float:
    """The logarithm of 1 / (1 + exp(−z))."""
    return -log1p(exp(-z)) if z >= 0 else z - log1p(exp(z))


_LOG_SCORES: tuple[Callable[[float], float], ...] = (
    lambda z: -(max(0.0, 1 - z) ** 3),
    lambda z: -(max(0.0, 1 - z) ** 2),
    log_sigmoid,
)


def dots(table: Any, kind: int, x: array[float], bias: Any, exponents: Any, first: int, out: array[float]) -> None:
    """out[i] = x · row first + i of a table, + bias of that row; float32 from float64 sums.

    Args:
        table: rows of len(x) numbers, one after the other.
        kind: FLOAT32, BFLOAT16 or FLOAT8.
        x: float32.
        bias: float32 per row, or None.
        exponents: int8 per row of float8: the row is multiplied by 2 to this power; else None.
        first: the first row.
        out: float32, as many as rows are wanted; overwritten.

    Raises:
        ValueError: there are fewer rows.
    """
    dim, read = len(x), _READ[kind]
    if first < 0 or (first + len(out)) * dim > len(table):
        raise ValueError("rows beyond the end of a table")
    for i in range(len(out)):
        row = first + i
        total = sum(map(mul, read(table[row * dim : (row + 1) * dim]), x))
        out[i] = _finished(total, row, bias, exponents)


def fan_in(
    table: Any, kind: int, inputs: Any, fan: int, group: int, x: array[float], bias: Any, exponents: Any,
    out: array[float],
) -> None:  # fmt: skip
    """out[l] = Σ over f of table[l, f] · x[inputs[l // group, f]], + the bias of l; arguments as of `dots`."""
    read = _READ[kind]
    if len(out) * fan > len(table) or -(-len(out) // group) * fan > len(inputs):
        raise ValueError("rows beyond the end of a table")
    seen: list[float] = []
    try:
        for row in range(len(out)):
            if row % group == 0:
                at = row // group * fan
                seen = [x[i] for i in inputs[at : at + fan]]
            total = sum(map(mul, read(table[row * fan : (row + 1) * fan]), seen))
            out[row] = _finished(total, row, bias, exponents)
    except IndexError as error:
        raise ValueError("an input that the encoder does not have") from error


def _finished(total: float, row: int, bias: Any, exponents: Any) -> float:
    if exponents is not None:
        total *= 2.0 ** exponents[row]
    return total if bias is None else total + bias[row]


def add_rows(table: Any, rows: Sequence[int], weights: Sequence[float], out: array[float]) -> None:
    """Adds rows of a float32 table, each times its weight, to `out`, float64; ValueError for rows beyond it."""
    dim = len(out)
    for row, weight in zip(rows, weights, strict=True):
        if row < 0 or (row + 1) * dim > len(table):
            raise ValueError("rows beyond the end of a table")
        for i, value in enumerate(table[row * dim : (row + 1) * dim]):
            out[i] += weight * value


def largest(scores: array[float], k: int, ids: Any) -> tuple[list[int], list[float]]:
    """The k largest scores, falling, and their ids, or their positions if ids is None; ties to the lower id.

    Raises:
        ValueError: a score is NaN or infinite.
    """
    if not all(map(isfinite, scores)):
        raise ValueError("scores that are NaN or infinite")
    pairs = zip((-score for score in scores), range(len(scores)) if ids is None else ids, strict=True)
    best = nsmallest(k, pairs)
    return [label for _, label in best], [-score for score, _ in best]


def widened(codes: Any) -> array[float]:
    """bfloat16, as the upper halves of the bits of float32 numbers, as float32."""
    return array("f", array("I", [code << 16 for code in codes]).tobytes())


def _float8(code: int) -> float:
    """The number of a code of float8 E4M3: 1 sign, 4 exponent and 3 mantissa bits, no infinities."""
    exponent, mantissa = code >> 3 & 15, code & 7
    size = (8 + mantissa) * 2.0 ** (exponent - 10) if exponent else mantissa * 2.0**-9
    size = inf if code & 127 == 127 else size  # NaN, which `largest` refuses too
    return -size if code & 128 else size


_FLOAT8 = [_float8(code) for code in range(256)]
_READ: tuple[Callable[[Any], Any], ...] = (
    lambda row: row,
    widened,
    lambda row: [_FLOAT8[code] for code in row],
)


class Plain:
    """The functions, by the names that those of `_fast.c` have."""

    tree, search, dots = staticmethod(tree), staticmethod(search), staticmethod(dots)
    fan_in, add_rows, largest = staticmethod(fan_in), staticmethod(add_rows), staticmethod(largest)
