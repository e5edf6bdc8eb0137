"""Predict a split, then measure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.inputs.bags import given
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.models.base import Ranker


def evaluate(
    model: Ranker,
    data: Corpus,
    *,
    k: int | Iterable[int] = (1, 3, 5),
    a: float | None = None,
    b: float | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> dict[str, float]:
    """Metrics in percent of a model on the test side of a data set: {"P@1": …, "PSP@5": …, …}.

    Filter pairs of the test side are left out before the top k. Propensities come from the training side as
    it is on disk, with `a` and `b` from the data set's catalogue entry where they are not given.

    Raises:
        DataError: there is no test side, it holds texts where the model was trained on bags of words or the other
            way round, or the labels are not the model's.
        SettingError: a depth, `a`, `b` or a batch size that is out of range.
    """
    if data.test is None:
        raise DataError(
            f"{data.name} has no test side",
            wanted="test texts with labels (tst_X.txt and tst_X_Y.txt, or the like)",
            next_step="add them, or use `predict` for texts without labels",
            where=data.path,
        )
    check_labels(model, data)
    inputs = given(data.test, data, model.n_features)
    depths = [k] if isinstance(k, int) else list(k)
    if not depths:
        raise SettingError("k is empty", wanted="one depth or more", next_step="give e.g. (1, 3, 5)")
    constants = data.propensity_constants
    weights = inverse_propensity(
        np.asarray(data.train.labels.sum(axis=0)).ravel(),
        len(data.train),
        constants[0] if a is None else a,
        constants[1] if b is None else b,
    )
    top = model.topk(
        inputs,
        max(depths),
        exclude=data.test.filter,
        batch_size=batch_size,
        progress=f"predicting {data.name}" if progress else "",
    )
    return measure(top, data.test.labels, k=depths, inverse_propensity=weights, n_true=data.test.n_true())


def check_labels(model: Ranker, data: Corpus) -> None:
    """DataError unless the model's labels are the data set's, in the same order."""
    if len(model.label_texts) != data.n_labels:
        raise DataError(
            f"{data.name} has {data.n_labels:,} labels, the model {len(model.label_texts):,}",
            wanted="the data set that the model was trained on",
            next_step="give that folder, or train on this one",
            where=data.path,
        )
    for i, (ours, theirs) in enumerate(zip(model.label_texts, data.label_texts, strict=True)):
        if ours != theirs:
            raise DataError(
                f"label {i} of {data.name} is {theirs!r}, the model's is {ours!r}",
                wanted="the same labels in the same order",
                next_step="give the folder that the model was trained on",
                where=data.path,
            )
