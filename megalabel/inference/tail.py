"""What favoring rare labels costs on a data set: P@k against PSP@k for values of `tail`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.data.test_side import test_split
from megalabel.data.types import Split
from megalabel.errors import SettingError
from megalabel.inference.evaluate import DEPTHS, check_depths, measure_at, propensities
from megalabel.inference.matching import match_labels
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.metrics.table import table
from megalabel.models.answer import for_tail
from megalabel.models.asking import inverse_propensities
from megalabel.models.base import Classifier
from megalabel.models.calibrated import DEPTH
from megalabel.models.scores import probabilities
from megalabel.models.tail import TAILS, places
from megalabel.types import TopK


def tail_curve(
    model: Classifier,
    data: Corpus,
    *,
    split: Split | None = None,
    k: int | Iterable[int] = DEPTHS,
    tails: Sequence[float] = TAILS,
    batch_size: int = 256,
    progress: str = "",
) -> list[tuple[float, dict[str, float]]]:
    """Measures the answers of `predict(tail=…)` on a split, for each value of `tail`.

    The largest depth is the number of labels of an answer; smaller ones measure its first labels.

    Args:
        model, data, split, k, batch_size: as in `evaluate`.
        tails: values from 0 to 1.
        progress: the title of a progress bar; "" for none.

    Returns:
        For each value the metrics of `evaluate` in percent.

    Raises:
        SettingError: a value out of range; the model has no probabilities, or does not know its training labels.
        DataError: as `evaluate`.
    """
    side = test_split(data) if split is None else split
    truth, depths = match_labels(model.label_texts, data, side, model.metadata), check_depths(k)
    inverse, of_data = (
        inverse_propensities(model),
        propensities(model.trained_on, data, truth, side, None, None)[0],
    )
    probabilities(model, np.zeros(1, np.float32))  # refuses models without, before the work
    for tail in tails:
        if not 0 <= tail <= 1:
            raise SettingError(f"tail = {tail!r}", wanted="numbers from 0 to 1", where="tail")
    inputs = model_inputs(side, data, model.n_features)
    width = model.reach(max(DEPTH, *depths))
    shown: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    ids, scores = model.topk(inputs, width, exclude=truth.filter, **shown).numpy()
    p = for_tail(model, ids, probabilities(model, scores))
    found = []
    for tail in tails:
        at = places(ids, p, inverse, tail, max(depths))
        top = TopK(np.take_along_axis(ids, at, 1), np.take_along_axis(scores, at, 1))
        found.append((tail, measure_at(top, truth, depths, of_data)))
    return found


def tail_table(curve: Sequence[tuple[float, dict[str, float]]]) -> str:
    """The curve as a table of plain text."""
    columns = [name for name in curve[0][1] if name.startswith(("P@", "PSP@"))]
    return table([(f"{tail:.2f}", dict(values)) for tail, values in curve], columns=columns, title="tail")
