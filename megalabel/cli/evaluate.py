"""`megalabel evaluate`: a table of metrics, and `metrics.json` in the run folder."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataOfRun, Device, Run, Trust, open_data_of, trusting
from megalabel.cli.reading import reads
from megalabel.errors import SettingError


@reads
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
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Measure a run on the test texts of a data set; writes metrics.json into the run folder."""
    from megalabel.cli.report import report, write_metrics
    from megalabel.data.catalog import propensity_source
    from megalabel.inference.evaluate import evaluate as measure
    from megalabel.models.base import load

    depths = _depths(k)
    with trusting(trust):
        model, corpus = load(run, device=device, trust=trust or ()), open_data_of(run, data, opened)
        constants = corpus.propensity_constants
        given = (constants[0] if a is None else a, constants[1] if b is None else b)
        known = corpus.propensity if a is None and b is None else given
        typer.echo(propensity_source(corpus.name, known), err=True)
        found = measure(model, corpus, k=depths, a=a, b=b, batch_size=batch_size, progress=True)
    inside = (run / "manifest.json").exists() and (run.parent / "recipe.json").exists()
    write_metrics(run.parent if inside else run, found)
    typer.echo(report([(str(run), found)]))


def _depths(k: str) -> tuple[int, ...]:
    try:
        depths = tuple(sorted({int(part) for part in k.split(",")}))
    except ValueError:
        depths = ()
    if not depths or depths[0] < 1:
        wanted = "one or more whole numbers of at least 1, separated by commas"
        raise SettingError(f"{k!r} is not {wanted}", wanted=wanted, where="k")
    return depths
