"""SGD's step on one number: the one numba form, inlined into the loops of the compiled bodies."""

from __future__ import annotations

from megalabel.kernels.core._cpu.compiling import scalar


@scalar
def sgd(parameter, gradient, rate, keep):
    """What one step makes of a parameter: keep = 1 − lr · weight decay."""
    return keep * parameter - rate * gradient


@scalar
def momentum(parameter, buffer, rate, decay):
    """What one step makes of a parameter and of a buffer that holds momentum · buffer + gradient already."""
    buffer = buffer + decay * parameter
    return parameter - rate * buffer, buffer
