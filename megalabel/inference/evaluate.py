"""Evaluates a model on the test split of a data set."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.models.base import Classifier


def evaluate(
    model: Classifier,
    data: Corpus,
    *,
    k: int | Iterable[int] = (1, 3, 5),
    a: float | None = None,
    b: float | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> dict[str, float]:
    """Computes the metrics of a model on the test split of a data set.

    Filter pairs of the test split are removed before the top k is taken. Propensities come from the original
    training labels.

    Args:
        model: the model.
        data: the data set that the model was trained on.
        k: one or more depths of the metrics.
        a, b: constants of the propensity model; default: those of the data set, see `Corpus.propensity_constants`.
        batch_size: the number of texts that are predicted at once.
        progress: whether to show a progress bar.

    Returns:
        Metrics in percent: {"P@1": …, "PSP@5": …, …}.

    Raises:
        DataError: there is no test split, it holds texts where the model reads bags of words or the other way
            around, or its labels are not those of the model.
        SettingError: a depth, `a`, `b` or the batch size is out of range.
    """
    if data.test is None:
        raise DataError(
            f"{data.name} has no test split",
            wanted="test texts with labels, such as tst_X.txt and tst_X_Y.txt",
            next_step="add them, or use `predict` for texts without labels",
            where=data.path,
        )
    check_labels(model, data)
    inputs = model_inputs(data.test, data, model.n_features)
    depths = [k] if isinstance(k, int) else list(k)
    if not depths:
        raise SettingError("k is empty", wanted="at least one depth, such as 1, 3 and 5", where="k")
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


def check_labels(model: Classifier, data: Corpus) -> None:
    """Raises DataError unless the labels of the model are those of the data set, in the same order."""
    if len(model.label_texts) != data.n_labels:
        raise DataError(
            f"{data.name} has {data.n_labels:,} labels, the model {len(model.label_texts):,}",
            wanted="the data set that the model was trained on",
            next_step="give that data set, or train on this one",
            where=data.path,
        )
    for i, (of_model, of_data) in enumerate(zip(model.label_texts, data.label_texts, strict=True)):
        if of_model != of_data:
            raise DataError(
                f"label {i} of {data.name} is {of_data!r}, that of the model is {of_model!r}",
                wanted="the same labels in the same order",
                next_step="give the data set that the model was trained on",
                where=data.path,
            )
