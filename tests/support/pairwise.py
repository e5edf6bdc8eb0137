"""Chooses few combinations of test parameters such that any two values occur together.

Most faults that depend on parameters depend on one of them, or on two together (Kuhn, Wallace and Gallo, "Software
fault interactions and implications for software testing", IEEE TSE 2004). So a test that names its factors,

    @pytest.mark.pairwise(shape=SHAPES, bias=[True, False], loss=LOSSES, dtype=DTYPES)
    def test_gradients(shape, bias, loss, dtype): ...

runs for a covering subset of the product, about 30 instead of 400 cases; `pytest --exhaustive` runs the whole
product. Fixtures can be factors as well: name them first, as in `pairwise("threads", threads=[1, 2],
shape=SHAPES)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import pytest

Case = tuple[Any, ...]


def all_pairs(factors: list[list[Any]]) -> list[Case]:
    """Combinations of one value per factor, in which any two values of two factors occur together.

    The first combination has the first value of every factor. Each further one is the first combination of the
    product that adds the most new pairs, so that the result depends on the factors only.
    """
    cases = list(product(*(range(len(values)) for values in factors)))
    missing = {pair for case in cases for pair in _pairs(case)}
    chosen: list[tuple[int, ...]] = []
    while missing:
        best = max(cases, key=lambda case: len(missing.intersection(_pairs(case)))) if chosen else cases[0]
        missing.difference_update(_pairs(best))
        chosen.append(best)
    return [tuple(values[i] for values, i in zip(factors, case, strict=True)) for case in chosen]


def _pairs(case: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    """The pairs of (factor, value) of a combination; for a single factor, its values."""
    return combinations(enumerate(case), min(2, len(case)))


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Turns `@pytest.mark.pairwise` into `parametrize`; called by conftest before pytest reads that mark."""
    for mark in metafunc.definition.iter_markers("pairwise"):
        names = list(mark.kwargs)
        factors = [list(values) for values in mark.kwargs.values()]
        cases = list(product(*factors)) if metafunc.config.getoption("--exhaustive") else all_pairs(factors)
        values = cases if len(names) > 1 else [value for (value,) in cases]  # pytest takes single values bare
        metafunc.definition.add_marker(pytest.mark.parametrize(",".join(names), values, indirect=list(mark.args)))
