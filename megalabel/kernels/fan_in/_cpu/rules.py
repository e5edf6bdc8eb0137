"""What becomes of a chunk's gradients, while they are in the caches: given back, or spent by a rule.

The rules are those of `updates/sgd_rule.py` and `updates/adam_rule.py`, whose `apply` does the same in torch. Each
way to spend gradients is a named tuple of arrays (in compiled code pointers to them) and float32 numbers; numba
compiles a pass for the types of the tuples that it gets.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numba
import numpy as np
from numba.extending import overload
from torch import Tensor

from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.updates._cpu.adam import AdamNumbers, adam, adam_numbers
from megalabel.kernels.updates._cpu.sgd import momentum, sgd
from megalabel.kernels.updates.adam import AdamSettings
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule

_inner = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_vectorised = numba.njit(fastmath={"reassoc", "contract", "nsz", "arcp"}, **_inner)


class Give(NamedTuple):
    """Gradients are given back."""

    gradient: Any  # where they go
    times: np.float32  # what they are multiplied by


class SGD(NamedTuple):
    """A parameter moves without anything kept beside it."""

    parameter: Any
    rate: np.float32  # lr, times the factor of the gradients
    keep: np.float32  # 1 − lr · weight decay


class BufferedSGD(NamedTuple):
    """A parameter moves by a buffer: with momentum, or over several micro-batches."""

    parameter: Any
    buffer: Any
    times: np.float32
    fraction: np.float32  # how much of the buffer remains when gradients are added
    last: bool  # whether the parameter moves after this micro-batch
    lr: np.float32
    decay: np.float32


class Adam(NamedTuple):
    """A parameter moves by its moments, in a step of one micro-batch."""

    parameter: Any
    mean: Any
    square: Any
    times: np.float32
    rate: np.float32  # lr / (1 − β₁ᵗ)
    over_root: np.float32  # 1 / √(1 − β₂ᵗ)
    numbers: AdamNumbers


class SummedAdam(NamedTuple):
    """The same in a step of several micro-batches, whose gradients are summed."""

    adam: Adam
    gradient: Any
    fraction: np.float32  # 0 in the first micro-batch, whatever is in the buffer, else 1
    last: bool


Spending: TypeAlias = Give | SGD | BufferedSGD | Adam | SummedAdam


def compiled_rule(rule: UpdateRule | None) -> bool:
    """Whether the compiled pass spends gradients by this rule; it calls no method of rules of one's own."""
    return rule is None or type(rule) in (SGDRule, AdamRule)


def give(gradient: Tensor | None, times: float) -> Give | None:
    """They go to `gradient` (L, F) or (L,), if that is there."""
    return None if gradient is None else Give(_flat(gradient), np.float32(times))


def spend_by(
    rule: UpdateRule, step: StepContext, times: float, weight: Tensor | None, bias: Tensor | None
) -> tuple[Spending | None, Spending | None]:
    """How a rule, which is prepared, spends gradients by weight and bias; None for what is frozen."""
    if isinstance(rule, AdamRule):
        of_weight = [weight, rule.mean, rule.square, rule.gradient]
        of_bias = [bias, rule.bias_mean, rule.bias_square, rule.bias_gradient]
        return (
            None if weight is None else _by_adam(rule.settings, rule.steps, step, times, *map(_flat, of_weight)),
            None if bias is None else _by_adam(rule.bias_settings, rule.steps, step, times, *map(_flat, of_bias)),
        )
    assert isinstance(rule, SGDRule)
    return (
        None if weight is None else _by_sgd(rule, step, times, weight, rule.buffer, rule.weight_decay),
        None if bias is None else _by_sgd(rule, step, times, bias, rule.bias_buffer, rule.bias_decay),
    )


def _by_adam(
    settings: AdamSettings,
    steps: int,
    step: StepContext,
    times: float,
    parameter: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    gradient: np.ndarray,
) -> Spending:
    rate, over_root = np.float32(settings.rate(steps)), np.float32(1 / settings.root(steps))
    whole = Adam(parameter, mean, square, np.float32(times), rate, over_root, adam_numbers(settings))
    return whole if step.single else SummedAdam(whole, gradient, np.float32(not step.first), step.last)


def _by_sgd(
    rule: SGDRule, step: StepContext, times: float, parameter: Tensor, buffer: Tensor | None, decay: float
) -> Spending:
    lr, factor = np.float32(rule.lr), np.float32(times)
    if not rule.buffered(step):
        return SGD(_flat(parameter), factor * lr, np.float32(1 - rule.lr * decay))
    fraction = np.float32(rule.kept_fraction(step))
    return BufferedSGD(_flat(parameter), _flat(buffer), factor, fraction, step.last, lr, np.float32(decay))


def _flat(tensor: Tensor | None) -> np.ndarray:
    return np.empty(0, np.float32) if tensor is None else tensor.view(-1).numpy()


def _by_type(function: Callable[..., Any], bodies: dict[type, Callable[..., Any]]) -> None:
    """Makes compiled code call the body that belongs to the type of the first argument, a named tuple."""

    def body_of(s, *_):
        return bodies.get(getattr(s, "instance_class", type(None)))

    overload(function, jit_options=_inner, strict=False)(body_of)


def pointers(s):
    """In compiled code: the same with pointers in place of arrays."""
    raise NotImplementedError


def skips_untouched(s):
    """In compiled code: whether what has no gradient stays as it is, so that it need not be spent."""
    raise NotImplementedError


def spend(s, g, start, at, n):
    """In compiled code: g[start:start + n] are the gradients of the numbers at `at`, `at` + 1, …; overwrites g."""
    raise NotImplementedError


def _no(s):
    return False


_by_type(skips_untouched, {Give: _no, SGD: lambda s: s.keep == 1, BufferedSGD: _no, Adam: _no, SummedAdam: _no})


def _adam_at(s):
    return Adam(pointer(s.parameter), pointer(s.mean), pointer(s.square), s.times, s.rate, s.over_root, s.numbers)


_adam_pointers = numba.njit(**_inner)(_adam_at)


_by_type(
    pointers,
    {
        Give: lambda s: Give(pointer(s.gradient), s.times),
        SGD: lambda s: SGD(pointer(s.parameter), s.rate, s.keep),
        BufferedSGD: lambda s: BufferedSGD(
            pointer(s.parameter), pointer(s.buffer), s.times, s.fraction, s.last, s.lr, s.decay
        ),
        Adam: _adam_at,
        SummedAdam: lambda s: SummedAdam(_adam_pointers(s.adam), pointer(s.gradient), s.fraction, s.last),
    },
)


def _give(s, g, start, at, n):
    _times(g, start, s.gradient, at, n, s.times)


def _spend_sgd(s, g, start, at, n):
    _sgd(g, start, s.parameter, at, n, s.rate, s.keep)


def _spend_buffered(s, g, start, at, n):
    _sum(g, start, s.buffer, at, n, s.times, s.fraction)
    if s.last:
        _descend(s.buffer, s.parameter, at, n, s.lr, s.decay)


def _spend_adam(s, g, start, at, n):
    _times(g, start, g, start, n, s.times)
    _adam(g, start, s.parameter, s.mean, s.square, at, n, s.numbers, s.rate, s.over_root)


def _spend_summed(s, g, start, at, n):
    a = s.adam
    _sum(g, start, s.gradient, at, n, a.times, s.fraction)
    if s.last:
        _adam(g, start, a.parameter, a.mean, a.square, at, n, a.numbers, a.rate, a.over_root)


_by_type(
    spend,
    {Give: _give, SGD: _spend_sgd, BufferedSGD: _spend_buffered, Adam: _spend_adam, SummedAdam: _spend_summed},
)


@_vectorised
def _times(g, start, out, at, n, times):
    for i in range(n):
        out[at + i] = times * g[start + i]


@_vectorised
def _sum(g, start, into, at, n, times, keep):
    """into ← keep · into + times · g, and g the same; where nothing is kept, whatever was there."""
    if keep == 0:
        for i in range(n):
            into[at + i] = times * g[start + i]
    else:
        for i in range(n):
            into[at + i] = keep * into[at + i] + times * g[start + i]
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
def _adam(g, start, p, mean, square, at, n, numbers, rate, over_root):
    for i in range(n):
        k = at + i
        mean[k], square[k], p[k] = adam(g[start + i], mean[k], square[k], p[k], numbers, rate, over_root)
