"""The pass of one thread over its labels for `_cpu/fixed_fan_in.py`: by chunks of labels, then blocks of texts."""

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.lanes import all_zero, load, store, total, zeros
from megalabel.kernels.core._cpu.pointers import called, inlined, merged, pointer
from megalabel.kernels.core._cpu.search import lower_bound
from megalabel.kernels.fan_in._cpu.arrays import NARROW, WIDE, kept_at, layer_at, scratch_at, targets_at, texts_at
from megalabel.kernels.fan_in._cpu.blocks import back, back_four, score, score_four, slope
from megalabel.kernels.fan_in._cpu.narrow import add_rests, keep_rests, moves, opened, with_buffer, with_parameter
from megalabel.kernels.fan_in._cpu.rules import apply_gradients, pointers, skips_untouched
from megalabel.kernels.rounding._cpu.stored import round_row, stored_at


@compiled
def score_labels(low, high, first, texts, layer, weights, scratch, out):
    """Writes the logits of labels low … high − 1 to out (n · B,), which begins with those of label `first`."""
    texts, whole, scratch, out = texts_at(texts), layer_at(layer), scratch_at(scratch), pointer(out)
    weights = stored_at(weights)
    for label in range(low, high):
        layer = opened(weights, whole, scratch.values, label, 1)
        to = (label - first) * texts.n_texts
        number = label // layer.group
        for block in range(texts.wide):
            _place(layer, scratch, number, block * texts.dim * WIDE, WIDE)
            z = _score(texts.x, layer, scratch, label, zeros(WIDE))
            _put(z, WIDE, out, to, block * WIDE, texts.n_texts, scratch.buffer)
        if texts.narrow:
            _place(layer, scratch, number, texts.wide * texts.dim * WIDE, NARROW)
            z = _score(texts.x, layer, scratch, label, zeros(NARROW))
            _put(z, NARROW, out, to, texts.wide * WIDE, texts.n_texts, scratch.buffer)


@compiled
def backward(low, high, chunk, texts, layer, targets, of_weights, of_biases, wants, scratch, kept):
    """Adds to dx and applies the gradients of labels low … high − 1, `chunk` labels at a time.

    wants: whether dx, the weights' gradients and the biases' gradients are requested.
    """
    texts, whole, targets, scratch = texts_at(texts), layer_at(layer), targets_at(targets), scratch_at(scratch)
    of_weights, of_biases, fan_in, kept = pointers(of_weights), pointers(of_biases), whole.fan_in, kept_at(kept)
    first = lower_bound(targets.places, 0, targets.n_places, low * texts.n_texts)
    for start in range(low, high, chunk):
        n = min(chunk, high - start)
        first = _begin(scratch, start, n, fan_in, targets, first, texts.n_texts)
        layer = opened(kept.weight, whole, scratch.values, start, n)
        _chunk(start, n, texts, layer, targets, scratch, wants)
        if wants[1]:
            _move(start, n, with_parameter(of_weights, layer.weight), layer, scratch, kept)
        if wants[2]:
            apply_gradients(of_biases, scratch.of_bias, 0, start, n)


@inlined
def _move(start, n, of_weights, layer, scratch, kept):
    """Applies the gradients of a chunk, and rounds the weights and the momentum where they are narrow."""
    fan_in = layer.fan_in
    if moves(of_weights):
        add_rests(kept.rests, scratch, start, n, fan_in)
    if skips_untouched(of_weights):
        for i in range(n):
            if scratch.touched[i]:
                apply_gradients(of_weights, scratch.g, i * fan_in, (start + i) * fan_in, fan_in)
                round_row(kept.weight, start + i, fan_in, scratch.values, i * fan_in)
        keep_rests(kept.rests, kept.weight, scratch, start, n, fan_in)
        return
    own = with_buffer(kept.buffer, of_weights, scratch.buffers, start, n, fan_in)
    apply_gradients(own, scratch.g, 0, start * fan_in, n * fan_in)
    for i in range(n):
        round_row(kept.buffer, start + i, fan_in, scratch.buffers, i * fan_in)
    if moves(own):
        for i in range(n):
            round_row(kept.weight, start + i, fan_in, scratch.values, i * fan_in)
        keep_rests(kept.rests, kept.weight, scratch, start, n, fan_in)


@inlined
def _begin(scratch, start, n, fan_in, targets, first, n_texts):
    """Clears the gradients of a chunk and finds its positives, from place `first` on; returns where they end."""
    for i in range(n * fan_in):
        scratch.g[i] = 0
    scratch.cuts[0] = first
    for i in range(n):
        scratch.of_bias[i] = 0
        scratch.touched[i] = False
        while first < targets.n_places and targets.places[first] < (start + i + 1) * n_texts:
            first += 1
        scratch.cuts[i + 1] = first
    return first


@called
def _chunk(start, n, texts, layer, targets, scratch, wants):
    """One chunk of labels on all blocks of texts; compiled once for all update rules."""
    for block in range(texts.wide):
        at = block * texts.dim * WIDE
        _block(zeros(WIDE), WIDE, at, block * WIDE, start, n, texts, layer, targets, scratch, wants)
    if texts.narrow:
        at = texts.wide * texts.dim * WIDE
        _block(zeros(NARROW), NARROW, at, texts.wide * WIDE, start, n, texts, layer, targets, scratch, wants)


@merged
def _block(like, width, at, first, start, n, texts, layer, targets, scratch, wants):
    """One chunk of labels on the block of texts first, first + 1, …, which begins in x at `at`."""
    grouped, rows = layer.group > 1, scratch.rows
    x, dx = texts.x, texts.dx
    if grouped:
        x, dx = scratch.near, scratch.dnear
    i = 0
    while i < n:
        number = (start + i) // layer.group
        end = min(n, (number + 1) * layer.group - start)
        _place(layer, scratch, number, at, width)
        if grouped:
            for j in range(layer.fan_in):
                store(x, j * width, load(texts.x, rows[j], like))
                store(dx, j * width, like)
                rows[j] = j * width
        some = False
        while i < end:
            if i + 4 <= end and width == WIDE:
                some |= _four(like, width, first, start, i, texts.n_texts, x, dx, layer, targets, scratch, wants)
                i += 4
            else:
                some |= _label(like, width, first, start, i, texts.n_texts, x, dx, layer, targets, scratch, wants)
                i += 1
        if grouped and some and wants[0]:
            _place(layer, scratch, number, at, width)
            for j in range(layer.fan_in):
                store(texts.dx, rows[j], load(texts.dx, rows[j], like) + load(dx, j * width, like))


@merged
def _label(like, width, first, start, i, n_texts, x, dx, layer, targets, scratch, wants):
    """One label on one block; returns whether any text has a nonzero slope."""
    z = like
    if targets.loss >= 0:
        z = _score(x, layer, scratch, start + i, like)
    dz = _slope(z, width, first, start, i, n_texts, targets, scratch)
    if all_zero(dz):
        return False
    scratch.touched[i] = True
    scratch.of_bias[i] += total(dz)
    fan_in = layer.fan_in
    at, to = (start + i) * fan_in, i * fan_in
    back(x, dx, scratch.rows, fan_in, layer.weight, at, dz, scratch.g, to, wants[0], wants[1])
    return True


@merged
def _four(like, width, first, start, i, n_texts, x, dx, layer, targets, scratch, wants):
    """`_label` for four labels of a group."""
    fan_in, label = layer.fan_in, start + i
    a, b, c, d = like, like, like, like
    if targets.loss >= 0:
        bias = layer.bias[label], layer.bias[label + 1], layer.bias[label + 2], layer.bias[label + 3]
        a, b, c, d = score_four(x, scratch.rows, fan_in, layer.weight, label * fan_in, bias, like)
    a = _slope(a, width, first, start, i, n_texts, targets, scratch)
    b = _slope(b, width, first, start, i + 1, n_texts, targets, scratch)
    c = _slope(c, width, first, start, i + 2, n_texts, targets, scratch)
    d = _slope(d, width, first, start, i + 3, n_texts, targets, scratch)
    if all_zero(a) and all_zero(b) and all_zero(c) and all_zero(d):
        return False
    for k in range(i, i + 4):
        scratch.touched[k] = True
    scratch.of_bias[i] += total(a)
    scratch.of_bias[i + 1] += total(b)
    scratch.of_bias[i + 2] += total(c)
    scratch.of_bias[i + 3] += total(d)
    at, to = label * fan_in, i * fan_in
    back_four(x, dx, scratch.rows, fan_in, layer.weight, at, (a, b, c, d), scratch.g, to, scratch.sums, wants)
    return True


@inlined
def _score(x, layer, scratch, label, like):
    return score(x, scratch.rows, layer.fan_in, layer.weight, label * layer.fan_in, layer.bias[label], like)


@inlined
def _slope(z, width, first, start, i, n_texts, targets, scratch):
    """∂loss/∂z of texts first, first + 1, … for label start + i; 0 beyond the last text."""
    at, buffer = (start + i) * n_texts + first, scratch.buffer
    here = min(width, n_texts - first)
    if targets.loss < 0:
        if here == width:
            return load(targets.slopes, at, z)
        for b in range(here):
            buffer[b] = targets.slopes[at + b]
        return _cut(buffer, here, width, z)
    low, high = scratch.cuts[i], scratch.cuts[i + 1]
    if low < high:  # ℓ(z, 1) = ℓ(−z, 0) for both losses: negate the logits and the slopes of positives
        z = _turned(z, width, targets.places, low, high, at, buffer)
    z = slope(z, targets.loss)
    if low < high:
        z = _turned(z, width, targets.places, low, high, at, buffer)
    if here < width:
        store(buffer, 0, z)
        z = _cut(buffer, here, width, z)
    if targets.weighted:
        z = z * load(targets.text_weights, first, z)
    return z


@inlined
def _cut(buffer, here, width, like):
    for b in range(here, width):
        buffer[b] = 0
    return load(buffer, 0, like)


@inlined
def _turned(z, width, places, low, high, at, buffer):
    store(buffer, 0, z)
    for p in range(low, high):
        b = places[p] - at
        if 0 <= b < width:
            buffer[b] = -buffer[b]
    return load(buffer, 0, z)


@inlined
def _place(layer, scratch, number, at, width):
    """Computes where the inputs of group `number` begin in a block that begins at `at`."""
    for j in range(layer.fan_in):
        scratch.rows[j] = at + np.intp(layer.inputs[number * layer.fan_in + j]) * width


@inlined
def _put(z, width, out, to, first, n_texts, buffer):
    """Writes z of texts first, first + 1, … to a row of n_texts numbers that begins at `to`."""
    if first + width <= n_texts:
        store(out, to + first, z)
        return
    store(buffer, 0, z)
    for b in range(n_texts - first):
        out[to + first + b] = buffer[b]
