"""SGD on scalars: the numba implementation, inlined into the loops of compiled code."""

from __future__ import annotations

from megalabel.kernels.core._cpu.compiling import scalar


@scalar
def sgd(parameter, gradient, rate, keep):
    """The parameter after one step: keep = 1 − lr · weight decay."""
    return keep * parameter - rate * gradient


@scalar
def momentum(parameter, buffer, rate, decay):
    """Parameter and buffer after one step; the buffer must already contain momentum · buffer + gradient."""
    buffer = buffer + decay * parameter
    return parameter - rate * buffer, buffer
