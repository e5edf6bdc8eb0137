"""One thread's pass over its labels for `_cpu/fixed_fan_in.py`: chunk by chunk, and within a chunk block by block."""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from megalabel.kernels._cpu.fan_in_blocks import back, back_four, score, score_four, slope
from megalabel.kernels._cpu.fan_in_rules import NOTHING, SGD, spend
from megalabel.kernels._cpu.hits import compiled
from megalabel.kernels._cpu.lanes import all_zero, inlined, load, store, total, zeros

WIDE, NARROW = 64, 16  # texts in a block


@compiled
def score_labels(low, high, first, x, wide, narrow, n_texts, weight, bias, inputs, group, out):
    """Logits of labels low … high − 1 into out, where label `first` has the first n_texts numbers."""
    fan_in, dim = inputs.shape[1], len(x) // (WIDE * wide + NARROW * narrow)
    rows, buffer = np.empty(fan_in, np.intp), np.empty(WIDE, np.float32)
    for label in range(low, high):
        at, to = label * fan_in, (label - first) * n_texts
        b = bias[label] if len(bias) else np.float32(0)
        for block in range(wide):
            _place(rows, inputs, label // group, block * dim * WIDE, WIDE)
            _put(score(x, rows, weight, at, b, zeros(WIDE)), WIDE, out, to, block * WIDE, n_texts, buffer)
        if narrow:
            _place(rows, inputs, label // group, wide * dim * WIDE, NARROW)
            _put(score(x, rows, weight, at, b, zeros(NARROW)), NARROW, out, to, wide * WIDE, n_texts, buffer)


@compiled
def backward(
    low,
    high,
    chunk,
    x,
    wide,
    narrow,
    n_texts,
    dx,
    weight,
    bias,
    inputs,
    group,
    loss,
    places,
    slopes,
    kind,
    kept,
    bias_kept,
    numbers,
    decays,
):
    """Labels low … high − 1 give their part of dx and spend their gradients, `chunk` of them at a time.

    loss −1: the slopes (L · B,) are given. Without dx, or for kind NOTHING, that part is left out.
    """
    fan_in, dim = inputs.shape[1], len(x) // max(WIDE * wide + NARROW * narrow, 1)
    g, of_bias = np.empty(chunk * fan_in, np.float32), np.empty(chunk, np.float32)
    touched, cuts = np.empty(chunk, np.bool_), np.empty(chunk + 1, np.intp)
    cuts[0] = np.searchsorted(places, low * n_texts)
    rows, local = np.empty(fan_in, np.intp), np.empty((2, fan_in * WIDE if group > 1 else 0), np.float32)
    buffer, wants = np.empty(WIDE, np.float32), (len(dx) > 0, kind != NOTHING)
    for start in range(low, high, chunk):
        n = min(chunk, high - start)
        g[: n * fan_in] = 0
        of_bias[:n] = 0
        touched[:n] = False
        for i in range(n):
            end = cuts[i]
            while end < len(places) and places[end] < (start + i + 1) * n_texts:
                end += 1
            cuts[i + 1] = end
        ours = start, n, g, of_bias, touched, cuts
        layer = x, dx, weight, bias, inputs, group
        targets = loss, places, slopes, n_texts
        for block in range(wide):
            at = block * dim * WIDE, block * WIDE
            _block(zeros(WIDE), WIDE, at, ours, layer, targets, rows, local, buffer, wants)
        if narrow:
            at = wide * dim * WIDE, wide * WIDE
            _block(zeros(NARROW), NARROW, at, ours, layer, targets, rows, local, buffer, wants)
        cuts[0] = cuts[n]
        if kind == SGD and decays[0] == 1 and decays[1] == 1:  # who has no gradient stays as it is
            for i in range(n):
                if touched[i]:
                    one = slice(i * fan_in, (i + 1) * fan_in)
                    spend(kind, weight, kept, numbers, decays[0], g[one], (start + i) * fan_in)
        else:
            spend(kind, weight, kept, numbers, decays[0], g[: n * fan_in], start * fan_in)
        if len(bias):
            spend(kind, bias, bias_kept, numbers, decays[1], of_bias[:n], start)


@inlined
def _block(like, width, at, ours, layer, targets, rows, local, buffer, wants):
    """A chunk of labels and a block of `width` texts, which begins at `at`: a place in x, and a text."""
    base, first = at
    start, n, g, of_bias, touched, cuts = ours
    x, dx, weight, bias, inputs, group = layer
    fan_in = len(rows)
    if group == 1:
        for i in range(n):
            _place(rows, inputs, start + i, base, width)
            _label(like, width, first, i, ours, x, dx, weight, bias, targets, rows, buffer, wants)
        return
    i = 0
    near, dnear = local[0], local[1]
    while i < n:
        number = (start + i) // group
        end = min(n, (number + 1) * group - start)
        for j in range(fan_in):
            store(near, j * width, load(x, base + np.intp(inputs[number, j]) * width, like))
            store(dnear, j * width, like)
            rows[j] = j * width
        some = False
        while i < end:
            if i + 4 <= end and width == WIDE:
                some |= _four(like, width, first, i, ours, near, dnear, weight, bias, targets, rows, buffer, wants)
                i += 4
            else:
                some |= _label(like, width, first, i, ours, near, dnear, weight, bias, targets, rows, buffer, wants)
                i += 1
        if some and wants[0]:
            for j in range(fan_in):
                row = base + np.intp(inputs[number, j]) * width
                store(dx, row, load(dx, row, like) + load(dnear, j * width, like))


@inlined
def _label(like, width, first, i, ours, x, dx, weight, bias, targets, rows, buffer, wants):
    """One label and one block; whether any of its texts had a slope."""
    start, _, g, of_bias, touched, cuts = ours
    loss, places, slopes, n_texts = targets
    label, fan_in = start + i, len(rows)
    if loss < 0:
        dz = _given(like, width, slopes, label * n_texts, first, n_texts, buffer)
    else:
        z = score(x, rows, weight, label * fan_in, bias[label] if len(bias) else np.float32(0), like)
        dz = _slope(z, width, loss, places, cuts[i], cuts[i + 1], label * n_texts, first, n_texts, buffer)
    if all_zero(dz):
        return False
    touched[i] = True
    of_bias[i] += total(dz)
    back(x, dx, rows, weight, label * fan_in, dz, g, i * fan_in, wants[0], wants[1])
    return True


@inlined
def _four(like, width, first, i, ours, x, dx, weight, bias, targets, rows, buffer, wants):
    """`_label` for four of a group."""
    start, _, g, of_bias, touched, cuts = ours
    loss, places, slopes, n_texts = targets
    label, fan_in = start + i, len(rows)
    at = label * n_texts
    if loss < 0:
        a = _given(like, width, slopes, at, first, n_texts, buffer)
        b = _given(like, width, slopes, at + n_texts, first, n_texts, buffer)
        c = _given(like, width, slopes, at + 2 * n_texts, first, n_texts, buffer)
        d = _given(like, width, slopes, at + 3 * n_texts, first, n_texts, buffer)
    else:
        a, b, c, d = score_four(x, rows, weight, label * fan_in, fan_in, bias, label, like)
        a = _slope(a, width, loss, places, cuts[i], cuts[i + 1], at, first, n_texts, buffer)
        b = _slope(b, width, loss, places, cuts[i + 1], cuts[i + 2], at + n_texts, first, n_texts, buffer)
        c = _slope(c, width, loss, places, cuts[i + 2], cuts[i + 3], at + 2 * n_texts, first, n_texts, buffer)
        d = _slope(d, width, loss, places, cuts[i + 3], cuts[i + 4], at + 3 * n_texts, first, n_texts, buffer)
    if all_zero(a) and all_zero(b) and all_zero(c) and all_zero(d):
        return False
    touched[i : i + 4] = True
    of_bias[i] += total(a)
    of_bias[i + 1] += total(b)
    of_bias[i + 2] += total(c)
    of_bias[i + 3] += total(d)
    back_four(x, dx, rows, weight, label * fan_in, fan_in, a, b, c, d, g, i * fan_in, wants[0], wants[1])
    return True


@inlined
def _slope(z, width, loss, places, low, high, at, first, n_texts, buffer):
    """∂loss/∂z: with their logits turned round, positives (places[low:high]) are as wrong as all others."""
    whole = first + width <= n_texts
    if low < high:
        z = _turned(z, width, places, low, high, at + first, buffer)
    z = slope(z, loss)
    if low < high:
        z = _turned(z, width, places, low, high, at + first, buffer)
    if not whole:
        store(buffer, 0, z)
        buffer[n_texts - first : width] = 0
        z = load(buffer, 0, z)
    return z


@inlined
def _turned(z, width, places, low, high, at, buffer):
    store(buffer, 0, z)
    for p in range(low, high):
        text = places[p] - at
        if 0 <= text < width:
            buffer[text] = -buffer[text]
    return load(buffer, 0, z)


@inlined
def _given(like, width, slopes, at, first, n_texts, buffer):
    """Slopes of texts first, first + 1, … of the label that begins at `at`; 0 beyond the last text."""
    if first + width <= n_texts:
        return load(slopes, at + first, like)
    buffer[n_texts - first : width] = 0
    for i in range(n_texts - first):
        buffer[i] = slopes[at + first + i]
    return load(buffer, 0, like)


@inlined
def _place(rows, inputs, group, base, width):
    """rows (F,) ← where the inputs of a group begin in a block that begins at `base`."""
    for j in range(len(rows)):
        rows[j] = base + np.intp(inputs[group, j]) * width


@inlined
def _put(z, width, out, at, first, n_texts, buffer):
    """z of texts first, first + 1, … into out[at:at + n_texts]; those from n_texts on are none."""
    if first + width <= n_texts:
        store(out, at + first, z)
        return
    store(buffer, 0, z)
    for i in range(n_texts - first):
        out[at + first + i] = buffer[i]
