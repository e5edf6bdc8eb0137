"""What becomes of a chunk's gradients, while they are in the caches: given back, or spent by a rule.

The rules are those of `updates/sgd_rule.py` and `updates/adam_rule.py`, whose `apply` says the same in torch.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from torch import Tensor

from megalabel.kernels.core._cpu.pointers import called, inlined, pointer
from megalabel.kernels.updates._cpu.adam import AdamNumbers, adam, adam_numbers
from megalabel.kernels.updates._cpu.sgd import momentum, sgd
from megalabel.kernels.updates.adam import AdamSettings
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule

GIVE, SGD, BUFFERED_SGD, ADAM = range(4)
_vectorised = numba.njit(
    nogil=True,
    error_model="numpy",
    fastmath={"reassoc", "contract", "nsz", "arcp"},
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)


class Spending(NamedTuple):
    """How gradients of the weights, or of the biases, are spent: arrays, or in compiled code pointers to them."""

    kind: int
    parameter: Any  # what moves, or where gradients are given back
    first: Any  # SGD's buffer, or Adam's mean; empty if there is none, as the others
    second: Any  # Adam's square
    third: Any  # Adam's gradient of several micro-batches
    summed: bool  # whether there is one
    decay: float  # what times the weights is added to the buffer, else what of the weights is kept
    numbers: Any  # (11,) float32, as the functions below read them


def give(gradient: Tensor | None, of_w: float) -> Spending | None:
    """Times of_w they go to `gradient` (L, F) or (L,), if that is there."""
    return None if gradient is None else _spending(GIVE, gradient, [], 0.0, [of_w])


def compiled_rule(rule: UpdateRule | None) -> bool:
    """Whether the compiled pass spends gradients by this rule; it calls no method of rules of one's own."""
    return rule is None or type(rule) in (SGDRule, AdamRule)


def spendings(
    rule: UpdateRule, step: StepContext, of_w: float, weight: Tensor | None, bias: Tensor | None
) -> tuple[Spending | None, Spending | None]:
    """How a rule, which is prepared, spends gradients times of_w by weight and bias; None for what is frozen."""
    if isinstance(rule, AdamRule):
        kept = [rule.mean, rule.square, rule.gradient]
        kept_of_bias = [rule.bias_mean, rule.bias_square, rule.bias_gradient]
        of_weights = None if weight is None else _by_adam(rule, step, of_w, weight, kept, rule.settings)
        return of_weights, None if bias is None else _by_adam(
            rule, step, of_w, bias, kept_of_bias, rule.bias_settings
        )
    assert isinstance(rule, SGDRule)
    of_weights = None if weight is None else _by_sgd(rule, step, of_w, weight, rule.buffer, rule.weight_decay)
    return of_weights, None if bias is None else _by_sgd(rule, step, of_w, bias, rule.bias_buffer, rule.bias_decay)


def _by_adam(
    rule: AdamRule,
    step: StepContext,
    of_w: float,
    parameter: Tensor,
    kept: list[Tensor | None],
    settings: AdamSettings,
) -> Spending:
    numbers = [of_w, rule.lr, 0.0 if step.first else 1.0, step.last]
    numbers += [settings.rate(rule.steps), 1 / settings.root(rule.steps), *map(float, adam_numbers(settings))]
    return _spending(ADAM, parameter, kept[: 2 if step.single else 3], settings.keep, numbers)


def _by_sgd(
    rule: SGDRule, step: StepContext, of_w: float, parameter: Tensor, buffer: Tensor | None, decay: float
) -> Spending:
    numbers = [of_w, rule.lr, rule.kept_fraction(step), step.last]
    if rule.buffered(step):
        return _spending(BUFFERED_SGD, parameter, [buffer], decay, numbers)
    return _spending(SGD, parameter, [], 1 - rule.lr * decay, numbers)


def _spending(kind: int, parameter: Tensor, kept: Any, decay: float, numbers: list[float]) -> Spending:
    flat = [t.view(-1).numpy() for t in (parameter, *kept)]
    none = np.empty(0, np.float32)
    first, second, third = flat[1:] + [none] * (4 - len(flat))
    padded = np.array(numbers + [0] * (11 - len(numbers)), np.float32)
    return Spending(kind, flat[0], first, second, third, len(third) > 0, float(decay), padded)


@inlined
def pointers(s):
    """The same with pointers in place of arrays."""
    a, b, c, d = pointer(s.parameter), pointer(s.first), pointer(s.second), pointer(s.third)
    return Spending(s.kind, a, b, c, d, s.summed, np.float32(s.decay), pointer(s.numbers))  # type: ignore[arg-type]


@called
def spend(s, g, start, at, n):
    """Numbers g[start:start + n] are the gradients of those at `at`, `at` + 1, …; overwrites them."""
    if s.kind == GIVE:
        _times(g, start, s.parameter, at, n, s.numbers[0])
    elif s.kind == SGD:
        _sgd(g, start, s.parameter, at, n, s.numbers[0] * s.numbers[1], s.decay)
    elif s.kind == BUFFERED_SGD:
        _sum(g, start, s.first, at, n, s.numbers[0], s.numbers[2])
        if s.numbers[3]:
            _descend(s.first, s.parameter, at, n, s.numbers[1], s.decay)
    else:
        if s.summed:
            _sum(g, start, s.third, at, n, s.numbers[0], s.numbers[2])
        else:
            _times(g, start, g, start, n, s.numbers[0])
        if s.numbers[3]:
            _adam(g, start, s.parameter, s.first, s.second, at, n, s.numbers)


@_vectorised
def _times(g, start, out, at, n, of_w):
    for i in range(n):
        out[at + i] = of_w * g[start + i]


@_vectorised
def _sum(g, start, into, at, n, of_w, keep):
    """into ← keep · into + of_w · g, and g the same; where nothing is kept, whatever was there."""
    if keep == 0:
        for i in range(n):
            into[at + i] = of_w * g[start + i]
    else:
        for i in range(n):
            into[at + i] = keep * into[at + i] + of_w * g[start + i]
    for i in range(n):
        g[start + i] = into[at + i]


@_vectorised
def _sgd(g, start, p, at, n, rate, keep):
    for i in range(n):
        p[at + i] = sgd(p[at + i], g[start + i], rate, keep)


@_vectorised
def _descend(buffer, p, at, n, lr, decay):
    for i in range(at, at + n):
        p[i], buffer[i] = momentum(p[i], buffer[i], lr, decay)


@_vectorised
def _adam(g, start, p, mean, square, at, n, numbers):
    rate, over_root = numbers[4], numbers[5]
    own = AdamNumbers(numbers[6], numbers[7], numbers[8], numbers[9], numbers[10])
    for i in range(n):
        k = at + i
        mean[k], square[k], p[k] = adam(g[start + i], mean[k], square[k], p[k], own, rate, over_root)
