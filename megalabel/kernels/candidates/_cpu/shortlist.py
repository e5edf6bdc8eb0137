"""Numba implementation of `candidates/shortlist.py`: the k best of each text by radix selection, without sorting.

float32 logits are mapped to unsigned integers in the same order. Three histograms, of the upper, middle and lower
bits, find the k-th largest exactly; ties go to the lower position, and thus to the lower row.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core.threads import run_ranges, thread_count

_BINS = 2048  # 11 bits at a time; 8 KB of counts


class Given(NamedTuple):
    """The scored candidates and the positives of all texts."""

    bits: np.ndarray  # (C,) int32, the bits of the logits
    bounds: np.ndarray  # (B + 1,), where the cells of each text begin
    texts: np.ndarray  # (B + 1,), where the blocks of each text begin
    starts: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray  # (B + 1,), where the positives of each text begin
    rows: np.ndarray


class Kept(NamedTuple):
    """The nodes that texts keep; those of text b are written from room[b] on."""

    room: np.ndarray
    cells: np.ndarray
    nodes: np.ndarray
    kept: np.ndarray  # (B,), the number of kept nodes
    found: np.ndarray  # (B,), the number of positives among the k best


def select(
    logits: Tensor, candidates: Candidates, k: int, offsets: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """cells (m,) and nodes (m,) of the kept nodes, ascending within each text; texts (B + 1,); found."""
    bounds = candidates.text_cells()
    counts, gold = bounds.diff(), offsets.diff()
    most = torch.minimum(counts, gold.clamp(min=k))  # the number of kept nodes if all positives are candidates
    room = torch.nn.functional.pad(most.cumsum(0), (1, 0))
    cells, nodes = torch.empty(int(room[-1]), dtype=torch.int64), torch.empty(int(room[-1]), dtype=torch.int64)
    kept, found = torch.zeros_like(counts), torch.zeros_like(counts)
    inputs = logits.view(torch.int32), bounds, candidates.texts, candidates.starts, candidates.ends, offsets, rows
    given = Given(*(tensor.numpy() for tensor in inputs))
    out = Kept(*(tensor.numpy() for tensor in (room, cells, nodes, kept, found)))
    threads = min(thread_count(logits.device), max(1, candidates.batch))
    cuts = np.searchsorted(bounds.numpy(), np.arange(1, threads) * candidates.n_cells / threads)
    cuts = np.concatenate([[0], cuts, [candidates.batch]])
    ranges = [range(a, b) for a, b in pairwise(cuts)]
    run_ranges(lambda texts: _select(texts.start, texts.stop, k, given, out), ranges)
    texts = torch.nn.functional.pad(kept.cumsum(0), (1, 0))
    if len(cells) != int(texts[-1]):  # a text with more than k positives, not all of them candidates
        place = torch.arange(len(cells)) - room[:-1].repeat_interleave(most)
        there = place < kept.repeat_interleave(most)
        cells, nodes = cells[there], nodes[there]
    return cells, nodes, texts, int(found.sum())


@helper
def _threshold(keys, k, counts):
    """The k-th largest of keys (m,) uint32, 1 ≤ k ≤ m, and how many of the k largest are equal to it."""
    prefix, left = np.uint32(0), k
    for level in range(3):
        shift = np.uint32((21, 10, 0)[level])
        width = np.uint32((11, 11, 10)[level])
        counts[:] = 0
        if level == 0:
            for key in keys:
                counts[key >> shift] += 1
        else:
            for key in keys:
                part = key >> shift
                if part >> width == prefix:
                    counts[part & ((np.uint32(1) << width) - np.uint32(1))] += 1
        bin_ = (1 << width) - 1
        while left > counts[bin_]:
            left -= counts[bin_]
            bin_ -= 1
        prefix = np.uint32((np.uint32(prefix) << width) | np.uint32(bin_))
    return prefix, left


@helper
def _keys(bits, keys):
    """Maps the bits (m,) int32 of float32 numbers to keys (m,) uint32 in the same order; −0 is treated as 0."""
    for i in range(len(keys)):
        b = bits[i]
        if b == np.int32(-2147483648):
            b = np.int32(0)
        keys[i] = np.uint32(b ^ ((b >> np.int32(31)) & np.int32(0x7FFFFFFF))) ^ np.uint32(0x80000000)


@helper
def _mark(starts, ends, rows, gold):
    """Marks in gold (m,) bool the cells of a text that are among its positives `rows`; returns their number."""
    gold[:] = False
    at, cell, n_gold = 0, 0, 0
    for j in range(len(starts)):
        while at < len(rows) and rows[at] < starts[j]:
            at += 1
        while at < len(rows) and rows[at] < ends[j]:
            gold[cell + rows[at] - starts[j]] = True
            n_gold += 1
            at += 1
        cell += ends[j] - starts[j]
    return n_gold


@helper
def _lift(keys, gold, bar, ties, others):
    """Counts the positives among the k best (given by bar and ties), and moves the keys of positives to the top.

    Writes the keys of the k best that are not positive to others (m,). Returns both counts.
    """
    hits, n = 0, 0
    for i in range(len(keys)):
        best = keys[i] > bar
        if keys[i] == bar and ties > 0:
            best = True
            ties -= 1
        if gold[i]:
            hits += best
            keys[i] = np.uint32(0xFFFFFFFF)
        elif best:
            others[n] = keys[i]
            n += 1
    return hits, n


@helper
def _keep(keys, bar, ties, starts, ends, first, cells, nodes):
    """Writes cells, counted from `first`, and nodes of the best (given by bar and ties); returns their number."""
    kept, cell = 0, 0
    for j in range(len(starts)):
        for row in range(starts[j], ends[j]):
            best = keys[cell] > bar
            if keys[cell] == bar and ties > 0:
                best = True
                ties -= 1
            if best:
                cells[kept], nodes[kept] = first + cell, row
                kept += 1
            cell += 1
    return kept


@compiled
def _select(low, high, k, given, out):
    """Selects the nodes of texts low … high − 1."""
    bits, bounds, texts, starts, ends, offsets, rows = given
    room, cells, nodes, kept, found = out
    longest = 0
    for b in range(low, high):
        longest = max(longest, bounds[b + 1] - bounds[b])
    scratch, others, marks = (
        np.empty(longest, np.uint32),
        np.empty(longest, np.uint32),
        np.empty(longest, np.bool_),
    )
    counts = np.empty(_BINS, np.int64)
    for b in range(low, high):
        m = bounds[b + 1] - bounds[b]
        if m == 0:
            continue
        first, last = starts[texts[b] : texts[b + 1]], ends[texts[b] : texts[b + 1]]
        keys, gold = scratch[:m], marks[:m]
        _keys(bits[bounds[b] : bounds[b + 1]], keys)
        keep = min(k, m)
        bar, ties = _threshold(keys, keep, counts)
        if offsets[b] < offsets[b + 1]:
            n_gold = _mark(first, last, rows[offsets[b] : offsets[b + 1]], gold)
            found[b], n = _lift(keys, gold, bar, ties, others)
            if n_gold >= keep:
                bar, ties = np.uint32(0xFFFFFFFF), n_gold
            elif n_gold > 0:  # only cells that were among the best before can still be
                bar, ties = _threshold(others[:n], keep - n_gold, counts)
        kept[b] = _keep(keys, bar, ties, first, last, bounds[b], cells[room[b] :], nodes[room[b] :])
