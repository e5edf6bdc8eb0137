"""Evaluates a model on the texts of a data set, or predictions that were stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import numpy as np

from megalabel.data.catalog import known_name, propensity_constants, propensity_source
from megalabel.data.corpus import Corpus
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.test_side import test_split
from megalabel.data.types import Split
from megalabel.errors import DataError, SettingError, of_type
from megalabel.inference.hierarchy import hierarchical, taxonomy_for
from megalabel.inference.matching import Truth, match_labels
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.metrics.calibration import reliability
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.metrics.results import Metrics
from megalabel.models.base import Classifier
from megalabel.models.trained_on import TrainedOn
from megalabel.types import TopK

DEPTHS = (1, 3, 5)
MOST_CELLS = 1 << 30  # labels of all texts together that a ranking may hold
Say = Callable[[str], Any]


def evaluate(
    model: Classifier,
    data: Corpus,
    *,
    split: Split | None = None,
    k: int | Iterable[int] = DEPTHS,
    a: float | None = None,
    b: float | None = None,
    batch_size: int = 256,
    progress: bool = False,
    taxonomy: Taxonomy | None = None,
    say: Say | None = None,
) -> Metrics:
    """Computes the metrics of a model on the test split of a data set.

    Labels are matched by URI or by name where they are not those of the model in the same order. Filter pairs of
    the split are removed before the top k is taken. Propensities come from the labels of the model's own training
    set or, where a model does not know them, from the training split of the data set if its labels are those of
    the model; without either, PSP and PSnDCG are left out.

    Args:
        model: the model.
        data: the data set.
        split: the split that is measured; default: `data.test`. For a file of test texts alone, which is opened as
            one split: `data.train`.
        k: one or more depths of the metrics.
        a, b: constants of the propensity model; default: those of the data set or of the model's training set.
        batch_size: the number of texts that are predicted at once.
        progress: whether to show a progress bar.
        taxonomy: over the labels of the model; default: that of the model or else of the data set, if any.
        say: gets a sentence on each label that does not match, and on metrics that are left out; default: a
            warning where the metrics are affected.

    Returns:
        Metrics in percent, a dictionary {"P@1": …, "PSP@5": …, …}; with a taxonomy also those of
        `metrics.hierarchical`; of a calibrated model also ECE@k of the largest depth k, the expected calibration
        error of its probabilities.

    Raises:
        DataError: there is no test split, it holds texts where the model reads bags of words or the other way
            around, or none of its labels is a label of the model.
        SettingError: a depth, `a`, `b` or the batch size is out of range.
    """
    _check_arguments(model, data, split, a, b)
    side = test_split(data) if split is None else split
    inputs = model_inputs(side, data, model.n_features)
    truth = match_labels(model.label_texts, data, side, model.metadata)
    hierarchy = taxonomy_for(taxonomy, model.metadata, data, truth, model.label_texts)
    depths = check_depths(k)
    weights, why = propensities(model.trained_on, data, truth, side, a, b)
    notes = [*truth.notes, *([f"PSP and PSnDCG are left out: {why}"] if weights is None else [])]
    tell(notes, say, serious=weights is None or truth.labels.nnz < truth.n_true.sum())
    if say is not None and weights is not None:
        say(why)
    width = _width(depths, model, side)
    shown = f"predicting {data.name}" if progress else ""
    top = model.topk(inputs, width, exclude=truth.filter, batch_size=batch_size, progress=shown)
    found = measure_at(top, truth, depths, weights) | hierarchical(top, truth, depths, hierarchy)
    return Metrics(found | _calibration_error(model, top, truth))


def _width(depths: list[int], model: Classifier, side: Split) -> int:
    """The labels per text that are ranked; SettingError where they are too many for memory."""
    width = min(max(depths), len(model.label_texts))
    if width * len(side) > MOST_CELLS:
        raise SettingError(
            f"k = {max(depths):,} for {len(side):,} texts", wanted="a smaller k, which fits into memory", where="k"
        )
    return width


def _check_arguments(model: object, data: object, split: object, a: object, b: object) -> None:
    """SettingError for objects of other types, such as the path of a model."""
    for name, value, kind, step in (
        ("model", model, (Classifier,), "load it by megalabel.load(folder)"),
        ("data", data, (Corpus,), "open it by Corpus.open(folder); the model comes first"),
        ("split", split, (Split, type(None)), "give data.test or data.train"),
        ("a", a, (Real, type(None)), "give a number such as 0.55"),
        ("b", b, (Real, type(None)), "give a number such as 1.5"),
    ):
        if not isinstance(value, kind):
            wanted = {"Real": "a number"}.get(kind[0].__name__, f"a {kind[0].__name__}")
            raise SettingError(of_type(value), wanted=wanted, next_step=step, where=name)


def measure_at(top: TopK, truth: Truth, depths: list[int], weights: np.ndarray | None) -> dict[str, float]:
    """The metrics of rankings that hold all labels where they are narrower than a depth.

    Beyond the number of labels, and of true labels of any text, only P@k still changes: hits are divided by k.
    """
    ids, scores = top.numpy()
    width = max(min(max(depths), max(truth.labels.shape[1], int(truth.n_true.max(initial=1)))), ids.shape[1])
    pad = ((0, 0), (0, width - ids.shape[1]))
    top = TopK(np.pad(ids, pad, constant_values=-1), np.pad(scores, pad, constant_values=-np.inf))
    inside = sorted({min(depth, width) for depth in depths})
    found = measure(top, truth.labels, k=inside, inverse_propensity=weights, n_true=truth.n_true)
    families = list(dict.fromkeys(name.partition("@")[0] for name in found))
    values = {}
    for family in families:
        for depth in depths:
            value = found[f"{family}@{min(depth, width)}"]
            values[f"{family}@{depth}"] = value * min(depth, width) / depth if family == "P" else value
    return values


def _calibration_error(model: Classifier, top: TopK, truth: Truth) -> dict[str, float]:
    """The expected calibration error of the probabilities of k labels, in percent; {} without a calibration."""
    if model.calibration is None:
        return {}
    p = TopK(top.ids, model.calibration.probability(top.scores))
    return {f"ECE@{top.k}": 100 * reliability(p, truth.labels, top.k).error}


def check_depths(k: int | Iterable[int]) -> list[int]:
    """The depths in ascending order; SettingError for none, or one that is not an integer of at least 1."""
    depths = [k] if not isinstance(k, Iterable) or isinstance(k, str) else list(k)
    if not depths:
        raise SettingError("k is empty", wanted="at least one depth, such as 1, 3 and 5", where="k")
    for depth in depths:
        if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 1:
            raise SettingError(f"k = {k!r}", wanted="whole numbers from 1 up", next_step="correct k")
    return sorted({int(depth) for depth in depths})


def tell(notes: list[str], say: Say | None, *, serious: bool) -> None:
    """Passes sentences on; without anybody to tell, what affects the metrics becomes a warning."""
    if say is not None:
        for line in notes:
            say(line)
    elif serious and notes:
        warnings.warn("; ".join(notes), stacklevel=3)


def propensities(
    trained_on: TrainedOn | None, data: Corpus, truth: Truth, split: Split, a: float | None, b: float | None
) -> tuple[np.ndarray | None, str]:
    """The inverse propensities of the labels, (L,) float64, and the origin of their constants; or None and why."""
    known = trained_on
    if known is None:
        if split is data.train:
            return None, "the model does not know how often training texts had its labels, nor do these texts"
        if not truth.same_labels:
            return None, "the model does not know how often training texts had its labels, and these differ"
        there = TrainedOn.from_data(data)
        counts = np.zeros_like(there.counts)
        counts[truth.columns] = there.counts
        known = TrainedOn(data.name, there.n_texts, counts)
    if known.n_texts < 3:
        return None, f"there are {known.n_texts} training texts, and propensities need 3 or more"
    name, constants = data.name, data.propensity_constants
    if data.propensity is None and known_name(name) is None:  # that of training may be in the catalog
        name, constants = known.name, propensity_constants(known.name)
    given = data.propensity if a is None and b is None else constants
    a, b = constants[0] if a is None else a, constants[1] if b is None else b
    source = propensity_source(name, None if given is None else (a, b))
    return inverse_propensity(known.counts, known.n_texts, a, b), source


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
