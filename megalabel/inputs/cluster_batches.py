"""Batches that are unions of clusters of similar texts, so that they hold hard negatives for each other: NGAME."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows
from megalabel.inputs.batches import Batches


class ClusterBatches(Batches):
    """Batches of whole clusters in random order (NGAME, WSDM 2023).

    The clusters come from the model, so an epoch is planned when the previous one has ended. They grow: a cluster
    of epoch e (from 0) has about `cluster_size` · 2^n texts, where n counts the numbers in `doublings` that are e
    or less, but never more than a batch. Clusters of one text are the random batches of `Batches`.

    Args:
        rows, size, epochs, seed, pad_id: as in `Batches`.
        order: gives (N,) integers, the rows such that the clusters that `halves` cuts are ranges of them.
        cluster_size: texts per cluster at first.
        doublings: numbers of epochs after which the clusters grow to twice their size.

    Raises:
        SettingError: a number is below 1.
    """

    ahead = False

    def __init__(
        self,
        rows: Rows,
        size: int,
        epochs: int,
        *,
        order: Callable[[], np.ndarray],
        cluster_size: int = 1,
        doublings: Sequence[int] = (),
        seed: int = 0,
        pad_id: int = 0,
    ) -> None:
        super().__init__(rows, size, epochs, seed=seed, pad_id=pad_id)
        if cluster_size < 1 or any(n < 1 for n in doublings):
            raise SettingError(
                f"cluster_size = {cluster_size}, doublings = {','.join(map(str, doublings))}",
                wanted="numbers of 1 or more",
                where="cluster_size",
            )
        self.order, self.first_size, self.doublings = order, cluster_size, tuple(doublings)

    def cluster_size(self, epoch: int) -> int:
        """The number of texts per cluster in an epoch, approximately."""
        doubled = sum(n <= epoch for n in self.doublings)
        return min(self.first_size << doubled, self.size)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch: clusters in random order, one after another, cut into batches."""
        n, most = len(self.rows), self.cluster_size(epoch)
        if most == 1:
            return self.shuffled(epoch)
        random = np.random.default_rng([self.seed, epoch])
        depth = max(round(np.log2(max(n / most, 1))), 0)
        bounds = halves(n, depth)
        order = np.asarray(self.order(), dtype=np.int64)
        clusters = [order[bounds[i] : bounds[i + 1]] for i in random.permutation(len(bounds) - 1)]
        rows = np.concatenate(clusters)
        batches = [rows[i : i + self.size] for i in range(0, n, self.size)]
        return [batches[i] for i in random.permutation(len(batches))]


def halves(n: int, depth: int) -> np.ndarray:
    """Where the ranges begin that halving n items `depth` times gives, and n; the first half is the larger one.

    They are the nodes of `megalabel.kernels.clustering.balanced_split.balanced_tree`: (2^depth + 1,) int64, or
    fewer where there are single items, which are not halved.
    """
    bounds = np.array([0, n], dtype=np.int64)
    for _ in range(depth):
        middles = bounds[:-1] + (np.diff(bounds) + 1) // 2
        bounds = np.unique(np.concatenate([bounds, middles]))
    return bounds
