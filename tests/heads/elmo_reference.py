"""ELMO's classifier step in plain Python and numpy, float64, from the description of the paper; shares no code.

The narrow types are lists of all their numbers. Rounding looks a number's neighbors up in the list and takes the
upper one if a random fraction is below the number's position between them. Random fractions are megalabel's,
computed here with Python's integers, so that both round alike.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

MASK64, MASK32 = (1 << 64) - 1, (1 << 32) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(value: int) -> int:
    """The finalizer of SplitMix64."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK64
    return value ^ value >> 31


def fraction(seed: int, row: int, column: int, number: int) -> Fraction:
    """The random fraction of a cell in the `number`-th rounding, below 1."""
    key = mix(mix((seed + GOLDEN) & MASK64) ^ mix((row + GOLDEN) & MASK64))
    key = mix((key + (number + 1) * GOLDEN) & MASK64)
    x = (key + column * 0x9E3779B9) & MASK32
    x = (x ^ x >> 16) * 0x85EBCA6B & MASK32
    x ^= key >> 32
    x = (x ^ x >> 13) * 0xC2B2AE35 & MASK32
    return Fraction((x ^ x >> 16) >> 1, 1 << 31)


def e4m3() -> list[float]:
    """The numbers of E4M3 from 0 up: exponents −6 to 8, three bits; the last one, 480, would be NaN."""
    small = [m * 2.0**-9 for m in range(8)]
    return small + [(8 + m) * 2.0 ** (e - 3) for e in range(-6, 9) for m in range(8)][:-1]


def bfloat16() -> list[float]:
    """The numbers of bfloat16 that these tests reach, from 0 up: exponents −60 to 20."""
    return [0.0] + [(128 + m) * 2.0 ** (e - 7) for e in range(-60, 21) for m in range(128)]


NUMBERS = {"float8": e4m3(), "bfloat16": bfloat16()}


def rounded(value: float, numbers: list[float], chance: Fraction) -> float:
    """The stochastic rounding of one value."""
    size = abs(value)
    above = bisect.bisect_right(numbers, size)
    low = numbers[above - 1]
    if above == len(numbers) or size == low:
        return float(np.copysign(low, value))
    position = (Fraction(size) - Fraction(low)) / (Fraction(numbers[above]) - Fraction(low))
    return float(np.copysign(numbers[above] if chance < position else low, value))


@dataclass
class Elmo:
    """A classifier without bias, and how it is trained.

    weight: (L, D). rest: (C, D), what was cut off the rows `compensated`.
    """

    weight: np.ndarray
    kind: str
    lr: float
    weight_decay: float
    seed: int
    compensated: list[int] = field(default_factory=list)
    n_steps: int = 0

    def __post_init__(self) -> None:
        self.rest = np.zeros((len(self.compensated), self.weight.shape[1]))

    def step(self, x: np.ndarray, labels: list[set[int]]) -> np.ndarray:
        """One step on embeddings (B, D); returns the gradient of the embeddings."""
        self.n_steps += 1
        logits = x @ self.weight.T
        slope = 1 / (1 + np.exp(-logits))
        for b, own in enumerate(labels):
            slope[b, sorted(own)] -= 1
        gradient = slope @ self.weight
        target = self.weight.copy()
        target[self.compensated] += self.rest
        target = (1 - self.lr * self.weight_decay) * target - self.lr * slope.T @ x
        for row in range(len(target)):
            self.weight[row] = self._row(target[row], row)
        for i, row in enumerate(self.compensated):
            for column, cut in enumerate(target[row] - self.weight[row]):
                chance = fraction((2 << 48) + self.seed, i, column, self.n_steps)
                self.rest[i, column] = rounded(cut, NUMBERS["bfloat16"], chance)
        return gradient

    def _row(self, values: np.ndarray, row: int) -> np.ndarray:
        scale = 1.0
        if self.kind == "float8":  # the smallest power of two with which the largest number fits
            scale = 2.0**-100
            while np.abs(values).max() > 448 * scale:
                scale *= 2
        chances = [fraction(self.seed, row, column, self.n_steps) for column in range(len(values))]
        pairs = zip(values / scale, chances, strict=True)
        return np.array([rounded(value, NUMBERS[self.kind], chance) for value, chance in pairs]) * scale
