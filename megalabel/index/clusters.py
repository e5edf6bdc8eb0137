"""Divides labels into groups and clusters of similar direction by k-means, for the index `tree`."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from megalabel.index.base import LabelTable

LABELS = 48  # labels of a cluster on average
_MOST = 4 * LABELS  # labels of a cluster at most
_SAMPLE = 64  # labels per group by which groups are found
_ROUNDS = 6  # of k-means


class Clusters(NamedTuple):
    """Labels in groups of clusters.

    The labels of cluster c are order[labels[c] : labels[c + 1]], ascending, and the clusters of group g those from
    clusters[g] to clusters[g + 1] − 1.
    """

    clusters: np.ndarray  # (G + 1,) int64
    labels: np.ndarray  # (C + 1,) int64
    order: np.ndarray  # (L,) int64
    sums: np.ndarray  # (C, D) float32, of the label vectors
    squares: np.ndarray  # (C,) float64, sums of squared norms
    bias_sums: np.ndarray  # (C,) float64


def cluster_labels(table: LabelTable, seed: int) -> Clusters:
    """Groups of about √(L / 48) clusters of about 48 labels, by the directions of label vectors.

    Groups are found by k-means (spherical: Dhillon and Modha, 2001) in a sample of 64 labels per group,
    clusters by k-means within each group. A cluster of more than 192 labels is divided into parts of equal
    size. The same seed gives the same clusters on the same number of threads.
    """
    n = table.weight.shape[0]
    draw = np.random.default_rng(seed)
    n_groups = max(1, round((n / LABELS) ** 0.5))
    sample = np.sort(draw.permutation(n)[: min(n, _SAMPLE * n_groups)])
    centers = _means(normalize(torch.from_numpy(table.rows(sample)), dim=1), n_groups, draw)
    group = np.concatenate(
        [_nearest(normalize(torch.from_numpy(rows), dim=1), centers).numpy() for _, rows in table.blocks()]
    )
    by_group = np.argsort(group, kind="stable")
    cuts = np.searchsorted(group[by_group], np.arange(n_groups + 1))
    bias = table.biases()
    parts: list[np.ndarray] = []
    counts: list[int] = []
    sums, squares, bias_sums = [], [], []
    for first, last in pairwise(cuts):
        if first == last:
            continue
        ids = by_group[first:last]
        rows = table.rows(ids)
        clusters = list(_split(rows, draw))
        counts.append(len(clusters))
        for members in clusters:
            own = rows[members]
            parts.append(ids[members])
            sums.append(own.sum(0))
            squares.append(float(np.einsum("ij,ij->", own, own)))
            bias_sums.append(0.0 if bias is None else float(bias[ids[members]].sum()))
    sizes = np.array([len(part) for part in parts])
    return Clusters(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate(parts),
        np.array(sums),
        np.array(squares),
        np.array(bias_sums),
    )


def _split(rows: np.ndarray, draw: np.random.Generator) -> list[np.ndarray]:
    """Divides the vectors of a group (m, D) into clusters, as ascending positions."""
    n_clusters = -(-len(rows) // LABELS)
    if n_clusters == 1:
        return [np.arange(len(rows))]
    directions = normalize(torch.from_numpy(rows), dim=1)
    nearest = _nearest(directions, _means(directions, n_clusters, draw)).numpy()
    order = np.argsort(nearest, kind="stable")
    found = np.split(order, np.searchsorted(nearest[order], np.arange(1, n_clusters)))
    return [part for own in found if len(own) for part in np.array_split(own, -(-len(own) // _MOST))]


def _means(rows: Tensor, k: int, draw: np.random.Generator) -> Tensor:
    """Directions (k, D) of clusters of unit vectors (m, D); one without members keeps its own."""
    first = np.sort(draw.permutation(len(rows))[:k])
    centers = rows[torch.from_numpy(first)]
    for _ in range(_ROUNDS):
        nearest = _nearest(rows, centers)
        sums = torch.zeros_like(centers).index_add_(0, nearest, rows)
        there = sums.norm(dim=1, keepdim=True) > 0
        centers = torch.where(there, normalize(sums, dim=1), centers)
    return centers


def _nearest(rows: Tensor, centers: Tensor) -> Tensor:
    """The number of the nearest center of each row, (m,) int64, ties to the lower number."""
    return torch.cat([(part @ centers.t()).argmax(1) for part in rows.split(8192)])
