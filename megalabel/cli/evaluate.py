"""`megalabel evaluate`: a table of metrics, and `metrics.json` in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megalabel.cli.arguments import DataOfRun, Device, Run, Trust, open_data_of, trusting
from megalabel.errors import SettingError


def evaluate(
    run: Run,
    data: DataOfRun = None,
    k: Annotated[
        str, typer.Option("--k", "-k", metavar="INTS", help="Depths at which rankings are cut.")
    ] = "1,3,5",
    a: Annotated[
        float | None, typer.Option("--propensity-a", metavar="FLOAT", help="A; by default the data set's.")
    ] = None,
    b: Annotated[
        float | None, typer.Option("--propensity-b", metavar="FLOAT", help="B; by default the data set's.")
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="INT", help="Texts scored together.")] = 256,
    levels: Annotated[bool, typer.Option("--levels", help="Also P@k of each level of a cascade.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write embeddings, shortlists and scores of both sides as npz."),
    ] = None,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """Measure a run on the test texts of a data set; writes metrics.json into the run folder."""
    from megalabel.cli.report import report, write_metrics
    from megalabel.inference.evaluate import evaluate as measure
    from megalabel.models.base import load

    depths = _depths(k)
    with trusting(trust):
        model, corpus = load(run, device=device, trust=trust or ()), open_data_of(run, data)
        found = measure(model, corpus, k=depths, a=a, b=b, batch_size=batch_size, progress=True)
    inside = (run / "manifest.json").exists() and (run.parent / "recipe.json").exists()
    write_metrics(run.parent if inside else run, found)
    typer.echo(report([(str(run), found)]))
    if levels:
        from megalabel.inference.levels import evaluate_levels, levels_table

        typer.echo("\n" + levels_table(evaluate_levels(model, corpus, k=depths, batch_size=batch_size)))
    if export is not None:
        from megalabel.inference.export import export as write

        typer.echo("\n".join(["", *write(model, corpus, export, batch_size=batch_size)]))


def _depths(k: str) -> tuple[int, ...]:
    try:
        depths = tuple(sorted({int(part) for part in k.split(",")}))
    except ValueError:
        depths = ()
    if not depths or depths[0] < 1:
        wanted = "one or more whole numbers of at least 1, separated by commas"
        raise SettingError(f"{k!r} is not {wanted}", wanted=wanted, where="k")
    return depths
