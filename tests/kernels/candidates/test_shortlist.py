"""The nodes that are kept, against sorted lists; numba and the plain version alike."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.candidate_cases import NONE, candidates_of, case, positives_of
from torch import Tensor

from megalabel.errors import DataError, SettingError
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.shortlist import Shortlist, shortlist
from megalabel.types import Positives

DTYPES = [torch.float32, torch.float64]  # numba, and the plain version


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    shortlist(torch.zeros(4), Candidates.all_rows(2, 2), 1, torch.arange(3))


@pytest.fixture(autouse=True, params=[1, 2], scope="module")
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


Blocks = list[list[tuple[int, int]]]


def expected(logits: Tensor, blocks: Blocks, k: int, pairs: set[tuple[int, int]]) -> tuple[list[list[int]], int]:
    """Kept nodes of each text, and how many positives are among the k best without being lifted."""
    kept, found, scores = [], 0, iter(logits.tolist())
    for text, own in enumerate(blocks):
        of_node = {row: next(scores) for start, end in own for row in range(start, end)}
        best = sorted(of_node, key=lambda row: (-of_node[row], row))
        found += sum((text, row) in pairs for row in best[:k])
        lifted = sorted(best, key=lambda row: (text, row) not in pairs)
        n_positive = sum((text, row) in pairs for row in best)
        kept.append(sorted(lifted[: max(k, n_positive)]))
    return kept, found


def kept_by(short: Shortlist, candidates: Candidates) -> list[list[int]]:
    rows, cuts = candidates.rows_of_cells()[short.cells].tolist(), short.candidates.texts.tolist()
    return [rows[a:b] for a, b in pairwise(cuts)]


def check(logits: Tensor, blocks: Blocks, k: int, pairs: set[tuple[int, int]], n: int) -> None:
    candidates = candidates_of(blocks)
    children = torch.from_numpy(np.cumsum([0] + [1 + row % 3 for row in range(n)]))
    nodes, found = expected(logits, blocks, k, pairs)
    for dtype in DTYPES:
        short = shortlist(logits.to(dtype), candidates, k, children, positives_of(pairs))
        assert kept_by(short, candidates) == nodes
        assert short.found == found
        assert short.wanted == len(pairs)
        flat = torch.tensor([node for own in nodes for node in own], dtype=torch.int64)
        assert torch.equal(short.candidates.starts, children[flat])
        assert torch.equal(short.candidates.ends, children[flat + 1])
        texts = candidates.texts_of_cells()[short.cells].tolist()
        assert texts == [text for text, own in enumerate(nodes) for _ in own]


@settings(max_examples=30)
@given(st.integers(0, 2**31 - 1), st.integers(0, 5), st.integers(1, 30), st.sampled_from([1, 4, 1000]))
def test_it_equals_sorted_lists(seed: int, batch: int, k: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    c = case(seed, batch=batch, widest=4, share=float(rng.random()))
    logits = torch.from_numpy(rng.integers(-values, values + 1, c.candidates.n_cells)).float() / 4  # with ties
    check(logits, c.blocks, k, c.pairs, len(c.weight))
    check(logits, c.blocks, k, set(), len(c.weight))


def test_logits_that_share_their_upper_bits(seed):
    """Every stage of the selection decides somewhere."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, (4, 3000), dtype=np.uint64).astype(np.uint32)
    bits[1] = 0x40000000 | (bits[1] & 0x1FFFFF)
    bits[2] = 0xC0000000 | (bits[2] & 0x3FF)
    bits[3] = 0x80000000 * (bits[3] & 1) | (bits[3] & 2) >> 1  # ±0 and ± the smallest number
    logits = torch.from_numpy(bits.view(np.float32).copy()).flatten()
    logits[~logits.isfinite()] = 0.0
    check(
        logits, [[(0, 3000)]] * 4, 700, {(b, int(row)) for b in range(4) for row in rng.integers(0, 3000, 9)}, 3000
    )


def test_float32_probabilities_of_1_are_told_apart():
    """The k largest of sigmoid + target in float32 would take row 0 for the best, and 300 for no positive."""
    logits = torch.tensor([20.0, 30.0, 40.0, -300.0])
    for dtype in DTYPES:
        every = Candidates.all_rows(1, 4)
        short = shortlist(logits.to(dtype), every, 2, torch.arange(5), positives_of({(0, 3)}))
        assert short.cells.tolist() == [2, 3]
        assert (short.found, short.wanted) == (0, 1)


def test_ties_go_to_the_lower_row_and_minus_zero_is_zero():
    logits = torch.tensor([-1.0, -0.0, 0.0, -0.0, 0.0])
    check(logits, [[(0, 5)]], 2, set(), 5)
    check(logits, [[(0, 5)]], 2, {(0, 4)}, 5)


def test_fewer_candidates_than_k_and_none():
    check(torch.tensor([1.0, 3.0, 2.0]), [[(4, 5), (7, 8)], [], [(4, 5)]], 10, {(1, 4), (2, 4)}, 8)
    check(torch.empty(0), [[], []], 3, set(), 8)
    check(torch.empty(0), [], 3, set(), 8)


def test_more_positives_than_k_are_all_kept():
    pairs = {(0, row) for row in (1, 3, 5, 7)} | {(0, 9), (1, 0)}  # 9 is no candidate
    check(torch.arange(8.0).repeat(2), [[(0, 8)], [(0, 8)]], 2, pairs, 10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_what_is_finite_can_be_ranked(dtype):
    for bad in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(SettingError, match="diverged"):
            shortlist(torch.tensor([1.0, bad], dtype=dtype), Candidates.all_rows(1, 2), 1, torch.arange(3))


def test_arguments_that_do_not_fit():
    logits, every, children = torch.zeros(4), Candidates.all_rows(2, 2), torch.arange(3)
    with pytest.raises(SettingError, match="k=0"):
        shortlist(logits, every, 0, children)
    with pytest.raises(SettingError, match="one logit per candidate"):
        shortlist(logits[1:], every, 1, children)
    with pytest.raises(SettingError, match="one logit per candidate"):
        shortlist(logits.long(), every, 1, children)
    for wrong in (children[:2], children.int(), children[None]):
        with pytest.raises(SettingError, match="offsets"):
            shortlist(logits, every, 1, wrong)
    with pytest.raises(SettingError, match="without rows"):
        shortlist(logits, every, 1, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(SettingError, match="one device"):
        shortlist(logits, every, 1, children.to("meta"))
    with pytest.raises(DataError, match="row 2 among the positives"):
        shortlist(logits, every, 1, children, Positives(torch.tensor([0]), torch.tensor([2])))
    assert shortlist(logits, every, 1, children, NONE).wanted == 0
