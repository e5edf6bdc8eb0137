"""What becomes of a chunk's gradients, while they are in the caches: given back, or spent by a rule.

The rules are those of `kernels/sgd_rule.py` and `kernels/adam_rule.py`, whose `apply` says the same in torch.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from torch import Tensor

from megalabel.kernels._cpu.lanes import inlined
from megalabel.kernels.adam_rule import AdamRule, Rule

NOTHING, GIVE, SGD, BUFFERED_SGD, ADAM = range(5)
_vectorised = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


class Spending(NamedTuple):
    """How gradients are spent, as compiled code takes it; each of the kept is flat, and empty if there is none."""

    kind: int
    kept: tuple[np.ndarray, np.ndarray, np.ndarray]  # of weights: what is given back or SGD's buffer; Adam's
    bias_kept: tuple[np.ndarray, np.ndarray, np.ndarray]  # mean, square and gradient
    numbers: np.ndarray  # (11,) float32
    decays: np.ndarray  # (2,) float32, of weights and of biases


def give(weight: Tensor | None, bias: Tensor | None, of_w: float) -> Spending:
    """Gradients times of_w go to weight (L, F) and bias (L,), those of them that are there."""
    kind = NOTHING if weight is None and bias is None else GIVE
    return Spending(kind, _flat(weight), _flat(bias), np.array([of_w] + [0] * 10, np.float32), np.zeros(2, np.float32))


def spend_by(rule: Rule, of_w: float) -> Spending:
    """Gradients times of_w move the weights by a rule that is prepared."""
    decays = np.array([rule.weight_decay, rule.weight_decay if rule.decay_bias else 0.0], np.float64)
    keep = 0.0 if rule.first else 1.0
    if isinstance(rule, AdamRule):
        numbers = [of_w, rule.lr, keep, rule.last, *rule.betas, rule.eps, rule.rate, rule.root]
        numbers += [1 - rule.betas[0], 1 - rule.betas[1]]
        gradients = (rule.gradient, rule.bias_gradient) if rule.needs_gradient else (None, None)
        kept = _flat(rule.mean, rule.square, gradients[0])
        bias_kept = _flat(rule.bias_mean, rule.bias_square, gradients[1])
        return Spending(ADAM, kept, bias_kept, np.array(numbers, np.float32), (1 - rule.lr * decays).astype(np.float32))
    numbers = [of_w, rule.lr, rule.momentum if rule.first else 1.0, rule.last] + [0] * 7
    if rule.needs_buffer:
        kept, bias_kept = _flat(rule.buffer), _flat(rule.bias_buffer)
        return Spending(BUFFERED_SGD, kept, bias_kept, np.array(numbers, np.float32), decays.astype(np.float32))
    keep_weights = (1 - rule.lr * decays).astype(np.float32)
    return Spending(SGD, _flat(), _flat(), np.array(numbers, np.float32), keep_weights)


def _flat(*tensors: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    none = np.empty(0, np.float32)
    flat = [none if t is None else t.view(-1).numpy() for t in tensors]
    a, b, c = flat + [none] * (3 - len(flat))
    return a, b, c


@inlined
def spend(kind, parameter, kept, numbers, decay, g, start):
    """Gradients g of the parameters from `start` on; overwrites g."""
    a, b, c = kept
    here = slice(start, start + len(g))
    if kind == GIVE:
        if len(a):
            _give(g, a[here], numbers[0])
    elif kind == SGD:
        _sgd(g, parameter[here], numbers[0] * numbers[1], decay)
    elif kind == BUFFERED_SGD:
        _buffered_sgd(g, parameter[here], a[here], numbers, decay)
    elif kind == ADAM:
        if len(c):
            _gather(g, c[here], numbers[0], numbers[2])
        else:
            _give(g, g, numbers[0])
        if numbers[3]:
            _adam(g, parameter[here], a[here], b[here], numbers, decay)


@_vectorised
def _give(g, out, of_w):
    for i in range(len(g)):
        out[i] = of_w * g[i]


@_vectorised
def _gather(g, total, of_w, keep):
    """total ← keep · total + of_w · g, and g the same; what was there counts for nothing where nothing is kept."""
    for i in range(len(g)):
        old = total[i] if keep else np.float32(0)
        g[i] = total[i] = old + of_w * g[i]


@_vectorised
def _sgd(g, p, rate, keep):
    for i in range(len(g)):
        p[i] = keep * p[i] - rate * g[i]


@_vectorised
def _buffered_sgd(g, p, buffer, numbers, decay):
    of_w, lr, keep, last = numbers[0], numbers[1], numbers[2], numbers[3]
    if last:
        for i in range(len(g)):
            old = keep * buffer[i] if keep else np.float32(0)
            buffer[i] = old + of_w * g[i] + decay * p[i]
            p[i] -= lr * buffer[i]
    else:
        for i in range(len(g)):
            old = keep * buffer[i] if keep else np.float32(0)
            buffer[i] = old + of_w * g[i]


@_vectorised
def _adam(g, p, mean, square, numbers, keep):
    beta2, eps, rate, over_root = numbers[5], numbers[6], numbers[7], np.float32(1) / numbers[8]
    less1, less2 = numbers[9], numbers[10]  # 1 − β₁ and 1 − β₂, rounded once
    for i in range(len(g)):
        m = mean[i] + less1 * (g[i] - mean[i])
        v = beta2 * square[i] + less2 * g[i] * g[i]
        mean[i] = m
        square[i] = v
        p[i] = keep * p[i] - rate * m / (np.sqrt(v) * over_root + eps)
