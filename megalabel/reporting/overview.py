"""What was trained on what, and what it reached, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from megalabel.display import counted, duration
from megalabel.errors import MegalabelError
from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.comparison import with_intervals
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import percent


def facts_block(subject: Subject) -> Block:
    """What is known of a run and of its data set, as a table of two columns."""
    rows = [[name, value] for name, value in _facts(subject)]
    return Block("run", "The run", _what(subject), ("", "value"), rows)


def _what(subject: Subject) -> str:
    recipe, data = subject.facts.get("recipe"), subject.data.name
    if not recipe:
        return f"Stored predictions for {len(subject):,} texts of {data}, with {len(subject.names):,} labels."
    trained = subject.facts.get("data", {})
    text = f"{recipe}, trained on {trained.get('texts', 0):,} texts of {trained.get('name')} with "
    text += f"{trained.get('labels', 0):,} labels"
    return f"{text}; measured on {len(subject):,} texts" + (f" of {data}." if data != trained.get("name") else ".")


def _facts(subject: Subject) -> list[tuple[str, str]]:
    facts, done = subject.facts, subject.facts.get("finished") or {}
    data, labels = facts.get("data", {}), subject.labels
    n_true = subject.truth.n_true
    rows = []
    if facts.get("recipe"):
        rows.append(("recipe", f"{facts['recipe']} (megalabel {facts.get('version', 'unknown')})"))
        rows.append(("options", _options(facts)))
        chosen = facts.get("chosen")
        if chosen:
            rows.append(("chosen on held-out texts", _pairs(chosen)))
        where = data.get("path") or "in memory"
        rows.append(("training data", f"{data.get('name')}: {where}, SHA-256 {str(data.get('fingerprint'))[:12]}"))
    if subject.trained_on is not None:
        counts = subject.trained_on.counts
        half, none = int(np.median(counts)), int((counts == 0).sum())
        mean = counts.sum() / max(subject.trained_on.n_texts, 1)
        rows.append((
            "labels", f"{len(counts):,}; half have at most {counted(half, 'training text')}"
            + f", and {none:,} none" * bool(none)
            + f"; {mean:.1f} labels per training text",
        ))  # fmt: skip
    rows.append((
        "texts measured",
        f"{len(subject):,} with {n_true.mean():.1f} true labels each (at most {n_true.max():,}), "
        f"{len(np.unique(labels.indices)):,} different ones",
    ))  # fmt: skip
    lacking = int(n_true.sum()) - labels.nnz
    if lacking:
        rows.append(("true labels the model does not know", f"{lacking:,}, which count as missed"))
    if done.get("seconds"):
        rows.append(("training time", duration(float(done["seconds"]))))
    if done.get("peak_mb"):
        predicted = f" (predicted {done['predicted_peak_mb']:,.0f} MB)" if done.get("predicted_peak_mb") else ""
        rows.append(("peak memory", f"{done['peak_mb']:,.0f} MB{predicted}"))
    if done.get("peak_device_mb"):
        rows.append(("peak memory of the GPU", f"{done['peak_device_mb']:,.0f} MB"))
    if subject.model_bytes:
        rows.append(("model on disk", f"{subject.model_bytes / 1e6:,.1f} MB"))
    best = facts.get("best_validation")
    if best:
        rows.append(
            ("epoch kept", f"{best.get('epoch')}, validation {best.get('metric')} {best.get('value'):.2f}%")
        )
    rows += [("note", note) for note in subject.notes]
    return rows


def _options(facts: Mapping[str, Any]) -> str:
    """The options of a run that are not the defaults of its recipe; all of them for a recipe that is not here."""
    values = dict(facts.get("arguments", {}))
    try:
        from megalabel.recipes import get

        declared = get(str(facts["recipe"])).options.declared
        values = {n: v for n, v in values.items() if n not in declared or _differs(v, declared[n].default)}
    except (MegalabelError, ImportError):
        pass
    return _pairs(values) or "the defaults of the recipe"


def _differs(value: Any, default: Any) -> bool:
    return (list(value) if isinstance(value, (list, tuple)) else value) != (
        list(default) if isinstance(default, (list, tuple)) else default
    )


def _pairs(values: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def metrics_block(subjects: Sequence[Subject]) -> Block:
    """The metrics of each model as a table, with 95% intervals in the CSV."""
    names = list(dict.fromkeys(name for subject in subjects for name in subject.metrics))
    order = ("P@1", "P@3", "P@5", "nDCG@5", "R@5", "PSP@1", "PSP@3", "PSP@5", "coverage@5", "macro-F1@5")
    shown = [name for name in order if name in names]
    rows: list[list[Cell]] = []
    for subject in subjects:
        for name in names:
            if name in subject.metrics:
                rows.append([subject.title, name, subject.metrics[name], None, None])
        intervals = {metric.name: metric for metric in with_intervals(subject)}
        for row in rows:
            found = intervals.get(str(row[1])) if row[0] == subject.title else None
            if found is not None:
                row[3:] = [found.low, found.high]
    values = {(row[0], row[1]): row for row in rows}
    wide = [
        [subject.title, *(_with_error(values.get((subject.title, name))) for name in shown)]
        for subject in subjects
    ]
    best = max(subjects, key=lambda subject: subject.metrics["P@1"])
    low, high = values[best.title, "P@1"][3:]
    text = f"P@1 is {best.metrics['P@1']:.1f}%"
    text += f" ({low:.1f} to {high:.1f} with 95% confidence)" if isinstance(low, float) else ""
    text += f" for {best.title}, the best of {len(subjects)}." if len(subjects) > 1 else "."
    return Block(
        "metrics", "Metrics", text, ("run", "metric", "percent", "low", "high"), rows,
        about="In percent; ± is half of a 95% bootstrap interval.", view=(["", *shown], wide),
    )  # fmt: skip


def _with_error(row: list[Cell] | None) -> str:
    if row is None or not isinstance(row[2], float):
        return ""
    low, high = row[3], row[4]
    error = f" ±{(high - low) / 2:.1f}" if isinstance(low, float) and isinstance(high, float) else ""
    return f"{row[2]:.1f}{error}"


def depth_block(subject: Subject) -> Block:
    """Where in the rankings the true labels are, as a table."""
    k = subject.first
    n = max(int(subject.truth.n_true.sum()), 1)
    ranks = np.bincount(subject.pair_ranks, minlength=subject.ids.shape[1] + 1)
    width = subject.ids.shape[1]
    rows: list[list[Cell]] = []
    for name, part in (("first", ranks[:1]), (f"2 to {k}", ranks[1:k]), (f"{k + 1} to {width}", ranks[k:width])):
        if len(part):
            rows.append([name, int(part.sum()), 100 * float(part.sum()) / n])
    rest = n - int(ranks[:width].sum())
    rows.append([f"not among the first {width}", rest, 100 * rest / n])
    beyond = f"{percent(rest / n)} of the true labels are not among the first {width} labels of their texts"
    within = float(ranks[:k].sum()) / n
    return Block(
        "ranks", "Where the true labels are ranked",
        f"{percent(within)} of the true labels are among the first {k}; {beyond}.",
        ("rank", "true labels", "percent"), rows,
    )  # fmt: skip
