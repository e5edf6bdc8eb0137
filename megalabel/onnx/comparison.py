"""How an exported graph differs from the model: in scores, and in precision on labeled texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.data.subsets import rows_of
from megalabel.data.types import Split
from megalabel.inference.evaluate import measure_at
from megalabel.inference.matching import match_labels
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.models.base import Classifier
from megalabel.onnx.session import OnnxModel
from megalabel.types import TopK

MOST_TEXTS = 10_000  # labeled texts that are compared


def difference(found: TopK, expected: TopK) -> tuple[float, float]:
    """The largest difference of scores, and the fraction of texts with the same labels in the same order.

    A label that only one ranking holds differs by its distance from the last score of the other one, where it is
    above that: by rounding alone if it is a near tie. Rankings are of shape (N, k).
    """
    (ids, scores), (other, wanted) = found.numpy(), expected.numpy()
    if not ids.size:
        return 0.0, 1.0
    largest = max(_above(ids, scores, other, wanted), _above(other, wanted, ids, scores))
    return largest, float((ids == other).all(1).mean())


def _above(ids: np.ndarray, scores: np.ndarray, other: np.ndarray, theirs: np.ndarray) -> float:
    """The largest distance of the scores of one ranking from those of the same labels in the other."""
    same = (ids[:, :, None] == other[:, None, :]) & (ids[:, :, None] >= 0)
    at = np.where(same.any(2), np.take_along_axis(theirs, same.argmax(2), axis=1), theirs[:, -1:])
    given = ids >= 0
    return float(np.abs(scores.astype(np.float64)[given] - at[given]).max(initial=0.0))


def labeled_texts(model: Classifier, data: Corpus, split: Split) -> tuple[list[str], Any]:
    """Up to MOST_TEXTS texts of a split, drawn with a fixed seed, and their true labels in the model's columns.

    Raises:
        DataError: a split without texts, or without any label of the model.
    """
    rows = np.arange(len(split))
    if len(rows) > MOST_TEXTS:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_TEXTS])
    some = rows_of(split, rows)
    texts = [str(text) for text in model_inputs(some, data, None)]
    return texts, match_labels(model.label_texts, data, some, model.metadata)


def precision(top: TopK, truth: Any) -> dict[str, float]:
    """P@1 and, for k of 5 and more, P@5 in percent; texts keep all their labels, known ones too."""
    depths = [depth for depth in (1, 5) if depth <= top.ids.shape[1]]
    found = measure_at(top, truth, depths, None)
    return {f"P@{depth}": round(found[f"P@{depth}"], 3) for depth in depths}


def compared(graph: OnnxModel, texts: list[str], expected: TopK, truth: Any) -> dict[str, Any]:
    """The facts of a graph for export.json: precision, largest difference of scores, equal rankings."""
    top = graph.topk(texts)
    largest, same = difference(top, expected)
    return {**precision(top, truth), "difference": largest, "same_rankings": same}
