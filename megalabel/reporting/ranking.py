"""Ranks the texts of a report by a model, or takes stored predictions for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus, Split
from megalabel.data.subsets import rows_of
from megalabel.errors import DataError, SettingError
from megalabel.inference.evaluate import propensities
from megalabel.inference.matching import match_labels
from megalabel.inference.stored import in_one_space, labels_needed
from megalabel.inference.stored_checks import check_fits
from megalabel.inference.stored_files import read_predictions
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.metrics.topk import apply_filter
from megalabel.models.base import Classifier
from megalabel.models.find import RECIPE
from megalabel.models.scores import probabilities, score_kind
from megalabel.models.trained_on import TrainedOn
from megalabel.reporting.subject import Subject
from megalabel.storage.files import folder_bytes
from megalabel.storage.manifest import NAME
from megalabel.storage.paths import as_path
from megalabel.training.log import read_log
from megalabel.training.run_folder import read_recipe
from megalabel.types import TopK

MOST_TEXTS = 20_000  # by default; more are sampled
WIDTHS = 10, 100  # labels per text that are ranked: the least and the most
COVERED = 0.99  # share of the texts that have no more true labels than are ranked
PROBABILITIES = ("probability", "calibrated")  # of the kinds of stored scores


def of_model(
    path: str | Path,
    model: Classifier,
    data: Corpus,
    split: Split,
    *,
    title: str = "",
    most_texts: int = MOST_TEXTS,
    batch_size: int = 256,
    progress: bool = False,
) -> Subject:
    """Ranks the labels of texts by the model of a run.

    Args:
        path: the run folder or model folder, whose recipe.json and log are read where there are some.
        model: its model.
        data: the data set.
        split: the split of it that is measured.
        title: a short name; default: that of the folder.
        most_texts: if there are more texts, this many are drawn with a fixed seed.
        batch_size: the number of texts that are predicted at once.
        progress: whether to show a progress bar.

    Raises:
        DataError: as `megalabel.inference.evaluate.evaluate`.
        SettingError: `most_texts` is below 1.
    """
    path = as_path(path, "path")
    given = split
    split, notes = _sampled(split, most_texts)
    inputs = model_inputs(split, data, model.n_features)
    truth = match_labels(model.label_texts, data, split, model.metadata)
    _check_some(truth.labels.nnz, data)
    gains, why = propensities(model.trained_on, data, truth, given, None, None)
    notes = [*notes, *truth.notes, *([f"PSP is left out: {why}"] if gains is None else [])]
    width = min(_width(truth.n_true), len(model.label_texts))
    shown = f"ranking {data.name}" if progress else ""
    top = model.topk(inputs, width, exclude=truth.filter, batch_size=batch_size, progress=shown)
    ids, scores = top.numpy()
    run, kind = run_folder(path), score_kind(model)
    facts, log = ({}, []) if run is None else (facts_of(run), read_log(run / "log.jsonl"))
    return Subject(
        title or (run or path).resolve().name, data, split, ids, scores, kind, _probabilities(model, scores),
        truth, model.label_texts, model.trained_on, gains, facts, log, model,
        folder_bytes(path if run is None else run / "model"), notes,
    )  # fmt: skip


def of_predictions(
    path: str | Path, data: Corpus, split: Split, *, title: str = "", most_texts: int = MOST_TEXTS
) -> Subject:
    """Takes stored predictions for texts, as `megalabel predict -o` and PECOS write them.

    Args:
        path: the file, with the rankings in the order of the texts.
        data, split, title, most_texts: as in `of_model`.

    Raises:
        DataError: predictions for another number of texts, or of labels that the data set lacks.
        SettingError: `most_texts` is below 1.
    """
    path, width = as_path(path, "path"), _width(split.n_true())
    stored = read_predictions(path, labels_needed(split, (width,)))
    check_fits(stored.top, stored.names_and_uris, data, split, path)
    alone, rows = split is data.train, _rows(len(split), most_texts)
    stored = stored._replace(top=TopK(stored.top.ids[rows], stored.top.scores[rows]))
    split, notes = _sampled(split, most_texts)
    top, truth = in_one_space(stored, data, split)
    names = [*data.label_texts, *(name.text for name in stored.names or ())]
    _check_some(truth.labels.nnz, data)
    if truth.filter is not None and len(truth.filter):
        top = apply_filter(top, truth.filter, min(width, top.k))
    ids, scores = (array[:, :width] for array in top.numpy())
    known = None if alone or len(data.train) < 3 else TrainedOn.from_data(data)
    if known is not None:
        counts = np.pad(known.counts, (0, len(names) - data.n_labels))
        known = replace(known, counts=counts).with_pairs(_padded(data, len(names)))
    gains = None if known is None else propensities(known, data, truth, split, None, None)[0]
    kind = stored.score_type
    p = scores if kind in PROBABILITIES else None
    if kind == "mixture":
        p = np.where(np.isfinite(scores), np.square(scores), scores)
    return Subject(title or path.name, data, split, ids, scores, kind, p, truth, names, known, gains, notes=notes)


def _width(n_true: np.ndarray) -> int:
    """The labels per text that are ranked: as many as nearly all texts have, within limits."""
    return int(np.clip(np.quantile(n_true, COVERED), *WIDTHS))


def _padded(data: Corpus, n_labels: int) -> Any:
    """The labels of the training texts, with further empty columns."""
    labels = data.train.labels.copy()
    labels.resize(labels.shape[0], n_labels)
    return labels


def _probabilities(model: Classifier, scores: np.ndarray) -> np.ndarray | None:
    """The probabilities that the scores of a model stand for, if any."""
    try:
        return probabilities(model, scores)
    except SettingError:
        return None


def _rows(n: int, most: int) -> np.ndarray:
    if most < 1:
        raise SettingError.range("max_texts", most, 1, integer=True)
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(0).permutation(n)[:most])


def sample_of(split: Split, most: int) -> Split:
    """At most so many texts of a split, drawn with a fixed seed."""
    rows = _rows(len(split), most)
    return split if len(rows) == len(split) else rows_of(split, rows)


def _sampled(split: Split, most: int) -> tuple[Split, list[str]]:
    """At most so many texts of a split, and a sentence where there are more."""
    sample = sample_of(split, most)
    note = f"{len(sample):,} of {len(split):,} texts are measured, drawn at random"
    return sample, [] if sample is split else [note]


def _check_some(n_true: int, data: Corpus) -> None:
    if n_true == 0:
        raise DataError("the texts have no true labels", wanted="labeled texts", where=data.path)


def run_folder(path: Path) -> Path | None:
    """The run folder of a path, which may be its model folder; None for a model folder alone."""
    inside = (path / NAME).exists() and (path.parent / RECIPE).is_file()
    run = path.parent if inside else path
    return run if (run / RECIPE).is_file() else None


def facts_of(run: Path) -> dict[str, Any]:
    """What recipe.json says of a run; entries of other types than megalabel writes are left out."""
    facts = read_recipe(run)
    parts = {
        key: facts.get(key) for key in ("arguments", "data", "finished", "phases", "best_validation", "chosen")
    }
    facts |= {key: part if isinstance(part, dict) else {} for key, part in parts.items()}
    for key in ("finished", "phases"):
        facts[key] = {name: float(value) for name, value in facts[key].items() if _is_number(value)}
    if not all(_is_number(facts["best_validation"].get(name)) for name in ("epoch", "value")):
        facts["best_validation"] = {}
    return facts


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def same_data(runs: Sequence[Path]) -> None:
    """SettingError for runs that were trained on different data sets, whose texts could not be compared."""
    facts = [facts_of(run)["data"] for run in map(run_folder, runs) if run is not None]
    for run, other in zip(runs[1:], facts[1:], strict=False):
        if other.get("fingerprint") != facts[0].get("fingerprint"):
            raise SettingError(
                f"{run} was trained on {other.get('name')!r}, {runs[0]} on other data ({facts[0].get('name')!r})",
                wanted="runs on the same data set",
                next_step="name the data set to measure all of them on: --data DATA",
                where="data",
            )


def unique_titles(paths: Sequence[Path]) -> list[str]:
    """Short names of runs: those of their folders, and as much of the path as tells them apart."""
    titles = [[*path.resolve().parts[1:]] for path in paths]
    for depth in range(1, max(map(len, titles), default=0) + 1):
        short = ["/".join(parts[-depth:]) for parts in titles]
        if len(set(short)) == len(short):
            return short
    return [str(path) for path in paths]
