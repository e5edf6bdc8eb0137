"""What `megalabel evaluate` does beside the table of metrics: tables by source and by level, curves, exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from megalabel.errors import SettingError


def check_inside(model: Any, levels: bool, export: Path | None, tail_curve: bool) -> None:
    """SettingError, before the work, where what is asked for beyond the metrics cannot be done."""
    from megalabel.inference.levels import levels_of
    from megalabel.labels.tree import new_folder

    if model is None and (levels or export is not None or tail_curve):
        wanted = "a run for --levels, --export and --tail-curve"
        raise SettingError("stored predictions", wanted=wanted, where="run")
    if levels:
        levels_of(model)
    if export is not None:
        new_folder(export)


def check_sources(by_source: bool, corpus: Any, split: Any) -> None:
    """DataError, before the work, where a table by source is asked for and there are no sources."""
    if by_source:
        from megalabel.inference.by_source import check_sources

        check_sources(split, corpus.name)


def table_by_source(
    model: Any, path: Path, corpus: Any, split: Any, k: Sequence[int] | None, **options: Any
) -> str:
    """The metrics of each source of a model, or of the predictions at a path, as a table."""
    from megalabel.inference.by_source import by_source_table, evaluate_by_source, predictions_by_source
    from megalabel.inference.evaluate import DEPTHS

    options["say"] = lambda line: None
    if model is None:
        return by_source_table(predictions_by_source(path, corpus, split, k=k, **options))
    return by_source_table(evaluate_by_source(model, corpus, split=split, k=k or DEPTHS, **options))


def tail_curve_table(model: Any, corpus: Any, **options: Any) -> str:
    """P@k and PSP@k for values of `--tail`, as a table, and the value that held-out texts chose."""
    from megalabel.inference.tail import tail_curve, tail_table

    made = tail_table(tail_curve(model, corpus, progress=f"ranking {corpus.name}", **options))
    chosen = None if model.calibration is None else model.calibration.tail
    return made if chosen is None else f"{made}\n--tail auto, as held-out texts chose: {chosen:.1f}"


def look_inside(
    model: Any, corpus: Any, levels: bool, export: Path | None, depths: Sequence[int], batch_size: int
) -> None:
    """Prints the levels of a cascade, and exports what the model makes of both sides."""
    if levels:
        from megalabel.inference.levels import evaluate_levels, levels_table

        shown: dict[str, Any] = {"batch_size": batch_size, "progress": "measuring levels"}
        typer.echo("\n" + levels_table(evaluate_levels(model, corpus, k=depths, **shown)))
    if export is not None:
        from megalabel.inference.export import export as write

        typer.echo("\n".join(["", *write(model, corpus, export, batch_size=batch_size, progress=True)]))


def taxonomy_in(file: Path | None, model: Any, corpus: Any, say: Callable[[str], Any]) -> Any:
    """The taxonomy in a file over the labels of the model, or else of the data; None for no file."""
    from megalabel.inference.hierarchy import read_taxonomy

    if file is None:
        return None
    owner = corpus if model is None else model
    return read_taxonomy(file, owner.label_texts, owner.metadata, say)
