"""Precision of every level of a cascade on the test split, under both schemes of CascadeXML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from megalabel.data.corpus import Corpus
from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError
from megalabel.heads.abilities import having
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.cascade_levels import CascadeLevels
from megalabel.inference.evaluate import check_labels
from megalabel.kernels.candidates.beam import PathScore
from megalabel.metrics.ranking import measure
from megalabel.models.base import Classifier
from megalabel.models.neural import NeuralClassifier
from megalabel.progress import Progress
from megalabel.types import Positives, TopK

BLOCK = 4096  # texts whose views are in memory at once
SCHEMES: tuple[PathScore, ...] = ("label", "label*parent")


class LevelMetrics(NamedTuple):
    """What one level reaches.

    nodes: number of clusters, or of labels on the last level.
    alone: metrics in percent by the nodes' own probabilities, {"P@1": …}.
    with_parent: by the products with their parents' probabilities; those of the first level have none.
    recall: percent of the positive clusters that the search passes on; NaN on the last level.
    """

    nodes: int
    alone: dict[str, float]
    with_parent: dict[str, float]
    recall: float


def evaluate_levels(
    model: Classifier, data: Corpus, *, k: Iterable[int] = (1, 3, 5), batch_size: int = 256, progress: str = ""
) -> list[LevelMetrics]:
    """P@k of each level on the test split, coarse to fine, labels last; `progress` is the title of a bar.

    A cluster is right if the text has one of its labels. Filter pairs are left out of the labels.

    Raises:
        SettingError: the model is not a cascade.
        DataError: there is no test split, or its labels are not those of the model.
    """
    depths = tuple(sorted(set(k)))
    neural, levels = levels_of(model)
    split = data.test
    if split is None or split.texts is None:
        raise DataError(f"{data.name} has no test texts", wanted="test texts with labels", where=data.path)
    check_labels(model, data)
    pairs = FilterPairs(split.filter, len(split))
    tops: list[list[list[TopK]]] = [[[] for _ in SCHEMES] for _ in range(levels.n_levels)]
    truths: list[list[sp.csr_matrix]] = [[] for _ in range(levels.n_levels)]
    found, wanted = np.zeros(levels.n_levels, np.int64), np.zeros(levels.n_levels, np.int64)
    for rows, views in views_of(neural, split.texts, batch_size, progress):
        nodes = levels.head.nodes(_positives(split.labels[rows]).to(views.device))
        exclude = pairs.for_rows(rows, views.device)
        for i, positives in enumerate(nodes):
            last = i == levels.n_levels - 1
            truth = split.labels[rows] if last else _matrix(positives, len(rows), levels.head.sizes[i])
            truths[i].append(truth)
            for scheme, into in zip(SCHEMES, tops[i], strict=True):
                into.append(TopK(*levels.topk(views, i, max(depths), scheme, exclude if last else None).numpy()))
            if not last:
                kept = _matrix(_rows(levels.kept(views, i)), len(rows), levels.head.sizes[i])
                found[i] += int(kept.multiply(truth > 0).sum())
                wanted[i] += truth.nnz
    results = []
    for i in range(levels.n_levels):
        truth = sp.csr_matrix(sp.vstack(truths[i]))
        alone, product = (measure(_joined(parts), truth, k=depths, which=["P"]) for parts in tops[i])
        recall = 100 * found[i] / max(wanted[i], 1) if i < levels.n_levels - 1 else float("nan")
        results.append(LevelMetrics(levels.head.sizes[i], alone, product, recall))
    return results


def levels_table(levels: Sequence[LevelMetrics]) -> str:
    """The metrics of the levels as lines of text."""
    names = list(levels[0].alone)
    lines = [f"{'level':<18}{'nodes':>10}  " + "".join(f"{name:>8}" for name in names) + f"{'recall':>9}"]
    for i, level in enumerate(levels):
        title = "labels" if i == len(levels) - 1 else f"clusters {i}"
        recall = "" if np.isnan(level.recall) else f"{level.recall:9.2f}"
        lines.append(f"{title:<18}{level.nodes:>10,}  " + _numbers(level.alone) + recall)
        if i:
            lines.append(f"{'  × parent':<18}{'':>10}  " + _numbers(level.with_parent))
    return "\n".join(lines)


def levels_of(model: Classifier) -> tuple[NeuralClassifier, CascadeLevels]:
    """The model with its levels; SettingError for one that is not a cascade."""
    heads = having(model.head, CascadeHead) if isinstance(model, NeuralClassifier) else []
    if not heads or not isinstance(model, NeuralClassifier) or model.head is not heads[0]:
        raise SettingError(
            f"a model without levels ({type(model).__name__})",
            wanted="a run of cascadexml",
            next_step="leave --levels out",
            where="levels",
        )
    return model, CascadeLevels(heads[0])


def views_of(
    model: NeuralClassifier, texts: Texts, batch_size: int, progress: str = ""
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Row numbers (B,) and views (B, V, D) on the model's device, block by block; `progress` titles a bar."""
    with Progress(progress, len(texts)) as shown:
        for start in range(0, len(texts), BLOCK):
            part = texts[start : start + BLOCK]
            views = torch.from_numpy(model.encode(part, batch_size=batch_size)).to(model.device)
            yield np.arange(start, start + len(part)), views
            shown.advance(len(part))


def _numbers(metrics: dict[str, float]) -> str:
    return "".join(f"{value:8.2f}" for value in metrics.values())


def _positives(labels: sp.csr_matrix) -> Positives:
    labels = labels.tocoo()
    return Positives.from_pairs(torch.from_numpy(labels.row), torch.from_numpy(labels.col))


def _rows(ids: torch.Tensor) -> Positives:
    rows = torch.arange(len(ids), device=ids.device).unsqueeze(1).expand_as(ids)
    return Positives.from_pairs(rows[ids >= 0], ids[ids >= 0])


def _matrix(pairs: Positives, n: int, size: int) -> sp.csr_matrix:
    rows, columns = pairs.rows.cpu().numpy(), pairs.labels.cpu().numpy()
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n, size))


def _joined(parts: list[Any]) -> TopK:
    return TopK(np.concatenate([top.ids for top in parts]), np.concatenate([top.scores for top in parts]))
