"""Triton kernels of `fixed_fan_in.py`: sums over gathered rows of x, densified weights, sums of rows by input."""

import triton
import triton.language as tl


@triton.jit
def forward(
    xt,
    weight,
    inputs,
    z,
    first,
    n,
    fan_in,
    n_texts,
    group,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """Logits of HEIGHT labels and WIDTH texts; weight and z begin at label `first`."""
    row = tl.program_id(0).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    b = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    live, text = row < n, (b < n_texts)[None, :]
    weight += row * fan_in
    inputs += (first + row) // group * fan_in
    total = tl.zeros([HEIGHT, WIDTH], tl.float32)
    at = 0
    while at < fan_in:
        for i in tl.static_range(TOGETHER):
            there = live & (at + i < fan_in)
            place = tl.load(inputs + at + i, mask=there, other=0).to(tl.int64)
            w = tl.load(weight + at + i, mask=there, other=0.0)
            x = tl.load(xt + place[:, None] * n_texts + b[None, :], mask=there[:, None] & text, other=0.0)
            total += w[:, None] * x
        at += TOGETHER
    tl.store(z + row[:, None] * n_texts + b[None, :], total, mask=live[:, None] & text)


@triton.jit
def gradient(
    xt,
    dz,
    inputs,
    out,
    scale,
    first,
    fan_in,
    n_texts,
    group,
    CONNECTIONS: tl.constexpr,
    TEXTS: tl.constexpr,
):
    """The weight gradients of CONNECTIONS connections of one label; dz and out begin at label `first`."""
    row = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * CONNECTIONS + tl.arange(0, CONNECTIONS)
    place = tl.load(inputs + (first + row) // group * fan_in + j, mask=j < fan_in, other=0).to(tl.int64)
    total = tl.zeros([CONNECTIONS], tl.float32)
    t = 0
    while t < n_texts:
        b = t + tl.arange(0, TEXTS)
        d = tl.load(dz + row * n_texts + b, mask=b < n_texts, other=0.0)
        if tl.max((d != 0).to(tl.int32), 0) > 0:  # also true for NaN
            inside = (j < fan_in)[:, None] & (b < n_texts)[None, :]
            x = tl.load(xt + place[:, None] * n_texts + b[None, :], mask=inside, other=0.0)
            total += tl.sum(d[None, :] * x, 1)
        t += TEXTS
    tl.store(out + row * fan_in + j, total * scale, mask=j < fan_in)


@triton.jit
def densify(
    weight,
    inputs,
    dense,
    first,
    n,
    fan_in,
    dim,
    group,
    LABELS: tl.constexpr,
):
    """Each thread adds the connections of one label to its row of zeros, in order; duplicates add up."""
    row = tl.program_id(0).to(tl.int64) * LABELS + tl.arange(0, LABELS)
    live = row < n
    weight += row * fan_in
    inputs += (first + row) // group * fan_in
    dense += row * dim
    j = 0
    while j < fan_in:
        to = dense + tl.load(inputs + j, mask=live, other=0).to(tl.int64)
        w = tl.load(weight + j, mask=live, other=0.0)
        tl.store(to, tl.load(to, mask=live, other=0.0) + w, mask=live)
        j += 1


@triton.jit
def sum_rows(
    rows,
    order,
    cuts,
    out,
    scale,
    n_texts,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """out[d] += scale · sum of the rows order[cuts[d]:cuts[d + 1]]."""
    d = tl.program_id(0)
    b = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    text = b < n_texts
    i, end = tl.load(cuts + d), tl.load(cuts + d + 1)
    total = tl.zeros([HEIGHT, WIDTH], tl.float32)
    while i < end:
        at = i + tl.arange(0, HEIGHT)
        row = tl.load(order + at, mask=at < end, other=0)
        inside = (at < end)[:, None] & text[None, :]
        total += tl.load(rows + row[:, None] * n_texts + b[None, :], mask=inside, other=0.0)
        i += HEIGHT
    to = out + d.to(tl.int64) * n_texts + b
    tl.store(to, tl.load(to, mask=text, other=0.0) + scale * tl.sum(total, 0), mask=text)
