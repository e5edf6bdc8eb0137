"""Forward and backward computations of one label, or of four that share their inputs, on one block of texts.

A block holds 16 or 64 texts. Its inputs are rows of a flat array that begin at the positions `rows` (F,), so that
one input of all texts is a single load. Rows may repeat: each occurrence is read and written separately, in order.
"""

from megalabel.kernels.core._cpu.lanes import all_of, four_totals, load, power_of_two, store, total, where_below
from megalabel.kernels.core._cpu.pointers import inlined

BCE, SQUARED_HINGE = 0, 1


@inlined
def score(x, rows, fan_in, weight, at, bias, like):
    """bias + Σ_j weight[at + j] · x[rows[j]]."""
    z = all_of(bias, like)
    for j in range(fan_in):
        z = z + all_of(weight[at + j], like) * load(x, rows[j], like)
    return z


@inlined
def back(x, dx, rows, fan_in, weight, at, dz, g, to, wants_x, wants_w):
    """dx[rows[j]] += weight[at + j] · dz, and g[to + j] += dz · x[rows[j]] summed over the texts."""
    for j in range(fan_in):
        row = rows[j]
        if wants_w:
            g[to + j] += total(dz * load(x, row, dz))
        if wants_x:
            store(dx, row, load(dx, row, dz) + all_of(weight[at + j], dz) * dz)


@inlined
def score_four(x, rows, fan_in, weight, at, bias, like):
    """`score` of four labels with consecutive weights; each row of x is loaded once for all four."""
    a, b, c, d = all_of(bias[0], like), all_of(bias[1], like), all_of(bias[2], like), all_of(bias[3], like)
    for j in range(fan_in):
        row = load(x, rows[j], like)
        a = a + all_of(weight[at + j], like) * row
        b = b + all_of(weight[at + fan_in + j], like) * row
        c = c + all_of(weight[at + 2 * fan_in + j], like) * row
        d = d + all_of(weight[at + 3 * fan_in + j], like) * row
    return a, b, c, d


@inlined
def back_four(x, dx, rows, fan_in, weight, at, slopes, g, to, sums, wants):
    """`back` of four labels with their dz in `slopes`; sums: scratch (4 · F,); wants: are dx, g needed."""
    a, b, c, d = slopes
    wants_x, wants_w = wants[0], wants[1]
    for j in range(fan_in):
        if wants_w:
            row = load(x, rows[j], a)
            store(sums, 4 * j, four_totals(a * row, b * row, c * row, d * row))
        if wants_x:
            sum_ = load(dx, rows[j], a) + all_of(weight[at + j], a) * a
            sum_ = sum_ + all_of(weight[at + fan_in + j], a) * b
            sum_ = sum_ + all_of(weight[at + 2 * fan_in + j], a) * c
            store(dx, rows[j], sum_ + all_of(weight[at + 3 * fan_in + j], a) * d)
    if wants_w:
        for k in range(4):
            for j in range(fan_in):
                g[to + k * fan_in + j] += sums[4 * j + k]


@inlined
def slope(z, loss):
    """∂ℓ/∂z for targets of 0."""
    one, zero = all_of(1.0, z), all_of(0.0, z)
    if loss == SQUARED_HINGE:
        wrong = z + one
        return where_below(wrong, zero, zero, wrong + wrong)
    low = all_of(-80.0, z)  # e⁻⁸⁰ and less is set to 0: products with it would be denormal and therefore slow
    e = exponential(zero - where_below(z, low, low, z))
    return where_below(z, low, zero, one / (one + e))


@inlined
def exponential(z):
    """eᶻ with an error of one or two ulp for −80 ≤ z ≤ 88; e⁻⁸⁰ for z < −80, NaN for NaN."""
    low, round_up = all_of(-80.0, z), all_of(12582912.0, z)
    z = where_below(z, low, low, z)
    n = z * all_of(1.4426950408889634, z) + round_up  # adding 1.5 · 2²³ rounds to an integer
    k = n - round_up
    r = z - k * all_of(0.693359375, z) - k * all_of(-2.12194440e-4, z)
    p = all_of(1 / 5040, z)
    p = p * r + all_of(1 / 720, z)
    p = p * r + all_of(1 / 120, z)
    p = p * r + all_of(1 / 24, z)
    p = p * r + all_of(1 / 6, z)
    p = p * r + all_of(0.5, z)
    p = p * r + all_of(1.0, z)
    p = p * r + all_of(1.0, z)
    return p * power_of_two(n)
