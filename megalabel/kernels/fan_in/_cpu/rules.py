"""Returns a chunk's gradients, or applies them by an update rule, while they are in the caches.

The rules are those of `updates/sgd_rule.py`, `adam_rule.py` and `adagrad_rule.py`, whose `apply` does the same in
torch. The named tuples of `update_tuples.py` select the rule: compiled code calls the function for the type of the
tuple.
"""

from __future__ import annotations

import numba
import numpy as np

from megalabel.kernels.core._cpu.pointers import by_type, pointer
from megalabel.kernels.fan_in._cpu.update_tuples import (
    SGD,
    Adagrad,
    Adam,
    BufferedSGD,
    SummedAdagrad,
    SummedAdam,
    WriteGradients,
)
from megalabel.kernels.updates._cpu.adagrad import row_rate
from megalabel.kernels.updates._cpu.adam import adam
from megalabel.kernels.updates._cpu.sgd import momentum, sgd

_inner = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_vectorized = numba.njit(fastmath={"reassoc", "contract", "nsz", "arcp"}, **_inner)


def pointers(s):
    """In compiled code: the tuple with pointers in place of arrays."""
    raise NotImplementedError


def skips_untouched(s):
    """In compiled code: whether parameters with zero gradient do not change, so that they can be skipped."""
    raise NotImplementedError


def apply_gradients(s, g, start, at, n):
    """In compiled code: applies gradients g[start : start + n] to parameters `at` … `at` + n − 1; overwrites g."""
    raise NotImplementedError


def _no(s):
    return False


by_type(
    skips_untouched,
    {
        WriteGradients: _no,
        SGD: lambda s: s.keep == 1,
        BufferedSGD: _no,
        Adam: _no,
        SummedAdam: _no,
        Adagrad: lambda s: s.numbers.keep == 1,
        SummedAdagrad: _no,
    },
)


def _adam_at(s):
    return Adam(pointer(s.parameter), pointer(s.mean), pointer(s.square), s.times, s.rate, s.over_root, s.numbers)


def _adagrad_at(s):
    return Adagrad(pointer(s.parameter), pointer(s.total), s.width, s.times, s.numbers)


_adam_pointers, _adagrad_pointers = numba.njit(**_inner)(_adam_at), numba.njit(**_inner)(_adagrad_at)


by_type(
    pointers,
    {
        WriteGradients: lambda s: WriteGradients(pointer(s.gradient), s.times),
        SGD: lambda s: SGD(pointer(s.parameter), s.rate, s.keep),
        BufferedSGD: lambda s: BufferedSGD(
            pointer(s.parameter), pointer(s.buffer), s.times, s.fraction, s.last, s.lr, s.decay
        ),
        Adam: _adam_at,
        SummedAdam: lambda s: SummedAdam(_adam_pointers(s.adam), pointer(s.gradient), s.fraction, s.last),
        Adagrad: _adagrad_at,
        SummedAdagrad: lambda s: SummedAdagrad(
            _adagrad_pointers(s.adagrad), pointer(s.gradient), s.fraction, s.last
        ),
    },
)


def _write(s, g, start, at, n):
    _times(g, start, s.gradient, at, n, s.times)


def _apply_sgd(s, g, start, at, n):
    _sgd(g, start, s.parameter, at, n, s.rate, s.keep)


def _apply_buffered(s, g, start, at, n):
    _sum(g, start, s.buffer, at, n, s.times, s.fraction)
    if s.last:
        _descend(s.buffer, s.parameter, at, n, s.lr, s.decay)


def _apply_adam(s, g, start, at, n):
    _times(g, start, g, start, n, s.times)
    _adam(g, start, s.parameter, s.mean, s.square, at, n, s.numbers, s.rate, s.over_root)


def _apply_summed(s, g, start, at, n):
    a = s.adam
    _sum(g, start, s.gradient, at, n, a.times, s.fraction)
    if s.last:
        _adam(g, start, a.parameter, a.mean, a.square, at, n, a.numbers, a.rate, a.over_root)


def _apply_adagrad(s, g, start, at, n):
    _times(g, start, g, start, n, s.times)
    _adagrad(g, start, s.parameter, s.total, at, n, s.width, s.numbers)


def _apply_summed_adagrad(s, g, start, at, n):
    a = s.adagrad
    _sum(g, start, s.gradient, at, n, a.times, s.fraction)
    if s.last:
        _adagrad(g, start, a.parameter, a.total, at, n, a.width, a.numbers)


by_type(
    apply_gradients,
    {
        WriteGradients: _write,
        SGD: _apply_sgd,
        BufferedSGD: _apply_buffered,
        Adam: _apply_adam,
        SummedAdam: _apply_summed,
        Adagrad: _apply_adagrad,
        SummedAdagrad: _apply_summed_adagrad,
    },
)


@_vectorized
def _times(g, start, out, at, n, times):
    for i in range(n):
        out[at + i] = times * g[start + i]


@_vectorized
def _sum(g, start, into, at, n, times, keep):
    """into ← keep · into + times · g, copied to g; for keep = 0 the old values are ignored, NaN included."""
    if keep == 0:
        for i in range(n):
            into[at + i] = times * g[start + i]
    else:
        for i in range(n):
            into[at + i] = keep * into[at + i] + times * g[start + i]
    for i in range(n):
        g[start + i] = into[at + i]


@_vectorized
def _sgd(g, start, p, at, n, rate, keep):
    for i in range(n):
        p[at + i] = sgd(p[at + i], g[start + i], rate, keep)


@_vectorized
def _descend(buffer, p, at, n, lr, decay):
    for i in range(at, at + n):
        p[i], buffer[i] = momentum(p[i], buffer[i], lr, decay)


@_vectorized
def _adam(g, start, p, mean, square, at, n, numbers, rate, over_root):
    for i in range(n):
        k = at + i
        mean[k], square[k], p[k] = adam(g[start + i], mean[k], square[k], p[k], numbers, rate, over_root)


@_vectorized
def _adagrad(g, start, p, total, at, n, width, numbers):
    for i in range(n // width):
        own, k = start + i * width, at + i * width
        square = np.float32(0)
        for j in range(width):
            square += g[own + j] * g[own + j]
        row = at // width + i
        total[row] += square / np.float32(width)
        rate = row_rate(total[row], numbers)
        for j in range(width):
            p[k + j] = sgd(p[k + j], g[own + j], rate, numbers.keep)
