"""Weights and momentum in narrow types: a chunk of labels is read as float32, moved, and rounded back.

What rounding cuts off the rows of compensated labels is added before they move, and kept again after it.

The code of the pass indexes weights by the label of the whole layer. Of narrow weights it gets a pointer to the
memory of a chunk, moved back by the weights before the chunk, so that these indices lead into that memory.
"""

from __future__ import annotations

from megalabel.kernels.core._cpu.pointers import by_type, inlined, shifted
from megalabel.kernels.core._cpu.search import lower_bound
from megalabel.kernels.fan_in._cpu.arrays import Layer, Rests
from megalabel.kernels.fan_in._cpu.update_tuples import (
    SGD,
    Adagrad,
    Adam,
    BufferedSGD,
    SummedAdagrad,
    SummedAdam,
    WriteGradients,
)
from megalabel.kernels.rounding._cpu.stored import BFloat16, Float8, Float32, read_row, round_row


def opened(weights, layer, values, start, n):
    """In compiled code: the layer with the weights of labels start … start + n − 1, read to `values` if narrow."""
    raise NotImplementedError


def with_parameter(s, parameter):
    """In compiled code: the update with the weights at `parameter`; for the rules that move narrow weights."""
    raise NotImplementedError


def with_buffer(buffer, s, buffers, start, n, fan_in):
    """In compiled code: the update with the momentum of a chunk, read to `buffers` if it is narrow."""
    raise NotImplementedError


def add_rests(rests, scratch, start, n, fan_in):
    """In compiled code: adds what was cut off before to the rows of compensated labels in a chunk."""
    raise NotImplementedError


def keep_rests(rests, weights, scratch, start, n, fan_in):
    """In compiled code: keeps what rounding has cut off the rows of compensated labels in a chunk."""
    raise NotImplementedError


def moves(s):
    """In compiled code: whether parameters change now, rather than after a later micro-batch."""
    raise NotImplementedError

    return s


@inlined
def _read(stored, values, start, n, fan_in):
    for i in range(n):
        read_row(stored, start + i, fan_in, values, i * fan_in)
    return shifted(values, -start * fan_in)


def _opened(weights, layer, values, start, n):
    weight = _read(weights, values, start, n, layer.fan_in)
    return Layer(weight, layer.bias, layer.inputs, layer.fan_in, layer.group)


by_type(
    opened,
    {Float32: lambda weights, layer, values, start, n: layer, BFloat16: _opened, Float8: _opened},
)
by_type(
    with_parameter,
    {
        WriteGradients: lambda s, parameter: s,
        SGD: lambda s, parameter: SGD(parameter, s.rate, s.keep),
        BufferedSGD: lambda s, parameter: BufferedSGD(
            parameter, s.buffer, s.times, s.fraction, s.last, s.lr, s.decay
        ),
        Adam: lambda s, parameter: s,
        SummedAdam: lambda s, parameter: s,
        Adagrad: lambda s, parameter: Adagrad(parameter, s.total, s.width, s.times, s.numbers),
        SummedAdagrad: lambda s, parameter: SummedAdagrad(
            Adagrad(parameter, s.adagrad.total, s.adagrad.width, s.adagrad.times, s.adagrad.numbers),
            s.gradient,
            s.fraction,
            s.last,
        ),
    },
)


def _with_buffer(buffer, s, buffers, start, n, fan_in):
    own = _read(buffer, buffers, start, n, fan_in)
    return BufferedSGD(s.parameter, own, s.times, s.fraction, s.last, s.lr, s.decay)


by_type(
    with_buffer,
    {Float32: lambda buffer, s, buffers, start, n, fan_in: s, BFloat16: _with_buffer},
)
by_type(
    moves,
    {
        WriteGradients: lambda s: False,
        SGD: lambda s: True,
        BufferedSGD: lambda s: s.last,
        Adam: lambda s: True,
        SummedAdam: lambda s: s.last,
        Adagrad: lambda s: True,
        SummedAdagrad: lambda s: s.last,
    },
)


def _add_rests(rests, scratch, start, n, fan_in):
    j = lower_bound(rests.labels, 0, rests.n, start)
    while j < rests.n and rests.labels[j] < start + n:
        i = rests.labels[j] - start
        read_row(rests.cut, j, fan_in, scratch.sums, 0)
        for c in range(fan_in):
            scratch.values[i * fan_in + c] += scratch.sums[c]
        scratch.touched[i] = True  # moved by its rest, if by nothing else
        j += 1


def _keep_rests(rests, weights, scratch, start, n, fan_in):
    j = lower_bound(rests.labels, 0, rests.n, start)
    while j < rests.n and rests.labels[j] < start + n:
        i = rests.labels[j] - start
        read_row(weights, start + i, fan_in, scratch.sums, 0)
        for c in range(fan_in):
            scratch.sums[c] = scratch.values[i * fan_in + c] - scratch.sums[c]
        round_row(rests.cut, j, fan_in, scratch.sums, 0)
        j += 1


by_type(add_rests, {Float32: lambda rests, scratch, start, n, fan_in: None, Rests: _add_rests})
by_type(keep_rests, {Float32: lambda rests, weights, scratch, start, n, fan_in: None, Rests: _keep_rests})
