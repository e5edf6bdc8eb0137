"""Initialization of a block of classifiers, and pruning of their final weights."""

import numpy as np

from megalabel.kernels.core._cpu.compiling import helper
from megalabel.kernels.core._cpu.lane_bits import bits_at_least, lowest_bit
from megalabel.kernels.core._cpu.lanes import all_of, load, store, where_below, zeros
from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.linear._cpu.descent_block import LANES, STATE


@helper
def begin(data, texts, children, shared, problem, s):
    """Initializes weights and α: the optimum with one α for all positives and one for all negatives."""
    n, width = len(texts), data.dense.shape[1]
    s.weights[: shared * LANES] = 0
    s.dense[:] = 0
    s.lanes[: 2 * LANES] = 0
    s.state[: n * STATE] = -1
    everything = 0.0
    for i in range(n):
        everything += s.shares[i]
    positive, negative = s.lanes[2 * LANES : 3 * LANES], s.lanes[3 * LANES :]
    positive[:] = 0
    negative[:] = 0
    for lane in range(len(children)):
        first, last = data.child_starts[children[lane]], data.child_starts[children[lane] + 1]
        n_positive, with_all = _add_positives(data, data.child_texts[first:last], lane, s)
        bias = n_positive * problem.bias
        with_self = bias * bias + _length(data, data.child_texts[first:last], lane, s)
        p, q = _two_alphas(n_positive, n - n_positive, with_self, with_all, everything, problem)
        positive[lane], negative[lane] = p, q
        s.lanes[lane] = problem.bias * (p * n_positive - q * (n - n_positive))
        s.lanes[LANES + lane] = 1
        for at in range(first, last):
            row = np.int64(s.row_of[data.child_texts[at]]) - 1
            if row >= 0:
                s.state[row * STATE + LANES + lane] = 1
    _fill(n, shared, width, s)


@helper
def has_positives(data, child, s):
    """Whether a child has a positive among the rows."""
    for at in range(data.child_starts[child], data.child_starts[child + 1]):
        if s.row_of[data.child_texts[at]] > 0:
            return True
    return False


@helper
def has_errors(data, child, s):
    """Whether the scores with which a child starts have an error: a positive below 1, or a negative above −1."""
    start, end = data.score_starts[child], data.score_starts[child + 1]
    above = 0
    for at in range(start, end):
        if data.scores[at] > -1:
            above += 1
    for at in range(data.child_starts[child], data.child_starts[child + 1]):
        row = np.int64(s.row_of[data.child_texts[at]]) - 1
        if row >= 0:
            if data.scores[start + row] < 1:
                return True
            above -= 1
    return above > 0


@helper
def begin_at(data, texts, children, shared, s):
    """Initializes weights and α with 0, and the scores with which the children start."""
    n = len(texts)
    s.weights[: shared * LANES] = 0
    s.dense[:] = 0
    s.lanes[: 2 * LANES] = 0
    s.start[: n * LANES] = 0
    for row in range(n):
        s.state[row * STATE : row * STATE + LANES] = 0
        s.state[row * STATE + LANES : (row + 1) * STATE] = -1
    for lane in range(len(children)):
        child = children[lane]
        s.lanes[LANES + lane] = 1
        for row in range(n):
            s.start[row * LANES + lane] = data.scores[data.score_starts[child] + row]
        for at in range(data.child_starts[child], data.child_starts[child + 1]):
            own = np.int64(s.row_of[data.child_texts[at]]) - 1
            if own >= 0:
                s.state[own * STATE + LANES + lane] = 1


@helper
def _add_positives(data, positives, lane, s):
    """Adds the positive rows to the weights of a lane; returns their number and the sum of their shares."""
    count, with_all = 0, 0.0
    for text in positives:
        row = np.int64(s.row_of[text]) - 1
        if row < 0:
            continue
        count += 1
        with_all += s.shares[row]
        for at in range(s.starts[row], s.starts[row + 1]):
            s.weights[s.columns[at] + lane] += s.values[at]
        for j in range(data.dense.shape[1]):
            s.dense[j * LANES + lane] += data.dense[text, j]
    return count, with_all


@helper
def _length(data, positives, lane, s):
    """‖sum of the positive rows‖², without the bias feature."""
    total = 0.0
    for text in positives:
        row = np.int64(s.row_of[text]) - 1
        if row < 0:
            continue
        total += s.own[row]
        for at in range(s.starts[row], s.starts[row + 1]):
            total += np.float64(s.values[at]) * s.weights[s.columns[at] + lane]
        for j in range(data.dense.shape[1]):
            total += np.float64(data.dense[text, j]) * s.dense[j * LANES + lane]
    return total


@helper
def _two_alphas(n_positive, n_negative, with_self, with_all, everything, problem):
    """`descent_plain.two_alphas` of a classifier, from the products of the sum of its positive rows."""
    across = with_all - with_self
    a = with_self + problem.soft_positive * n_positive
    b = everything - with_all - across + problem.soft_negative * n_negative
    if n_negative == 0:
        return n_positive / a, 0.0
    size = a * b - across * across
    p, q = n_positive * b + across * n_negative, n_negative * a + across * n_positive
    if p <= 0:
        return 0.0, n_negative / b
    if q <= 0:
        return n_positive / a, 0.0
    return p / size, q / size


@helper
def _fill(n, shared, width, s):
    """Computes weights and α from the sums of the positives and the two α, stored in the last two lanes."""
    lanes, state, weights, dense = pointer(s.lanes), pointer(s.state), pointer(s.weights), pointer(s.dense)
    positive, negative = load(lanes, 2 * LANES, zeros(LANES)), load(lanes, 3 * LANES, zeros(LANES))
    both = positive + negative
    for i in range(shared):
        total = all_of(s.sums[i], both)
        store(weights, i * LANES, both * load(weights, i * LANES, both) - negative * total)
    for i in range(width):
        total = all_of(s.dense_sums[i], both)
        store(dense, i * LANES, both * load(dense, i * LANES, both) - negative * total)
    zero = all_of(0.0, both)
    for i in range(n):
        sign = load(state, i * STATE + LANES, both)
        store(state, i * STATE, where_below(sign, zero, negative, positive))


@helper
def keep(s, n, n_touched, n_lanes, threshold, bias_column, columns, values, place, counts):
    """Writes weights of at least `threshold`, by classifier, from `place` on; returns where they end."""
    weights, state = pointer(s.weights), pointer(s.state)
    bar = all_of(threshold, zeros(LANES))
    room = n_touched + 1
    counts[:] = 0
    for k in range(n):
        alphas = load(state, k * STATE, bar)
        s.heard[k] = bits_at_least(alphas * all_of(s.tops[k], bar), bar) != 0
    wanted = (1 << n_lanes) - 1
    for i in range(n_touched):
        number = np.int64(s.seen[s.touched[i]])
        if number > 0:
            found = load(weights, (number - 1) * LANES, bar)
        else:
            row = np.int64(s.own_rows[-number - 1])
            if not s.heard[row]:
                continue
            found = load(state, row * STATE, bar) * load(state, row * STATE + LANES, bar)
            found = found * all_of(s.own_values[-number - 1], bar)
        bits = bits_at_least(found, bar) & wanted
        if bits == 0:
            continue
        store(pointer(s.lanes), 2 * LANES, found)
        while bits != 0:
            lane = lowest_bit(bits)
            bits &= bits - 1
            at = place + lane * room + counts[lane]
            columns[at] = s.touched[i]
            values[at] = s.lanes[2 * LANES + lane]
            counts[lane] += 1
    end = place
    for lane in range(n_lanes):
        start = place + lane * room
        for at in range(counts[lane]):
            columns[end + at] = columns[start + at]
            values[end + at] = values[start + at]
        end += counts[lane]
        if bias_column >= 0 and s.lanes[lane] != 0:
            columns[end] = bias_column
            values[end] = s.lanes[lane]
            end += 1
            counts[lane] += 1
    return end
