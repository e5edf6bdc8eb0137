"""`megalabel distill`: a small linear model of a run, for the runtime without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataOfRun, Device, OutRun, Run, Threads, Trust, open_data_of, trusting
from megalabel.cli.reading import reads

Size = Annotated[
    float, typer.Option(metavar="FLOAT", help="At most this fraction of the bytes of the run's model.")
]
Texts = Annotated[Path | None, typer.Option(metavar="FILE", help="Further texts, which the run labels.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a finished or different run in OUT.")]


@reads
def distill(
    run: Run,
    out: OutRun,
    data: DataOfRun = None,
    size: Size = 0.1,
    texts: Texts = None,
    overwrite: Overwrite = False,
    threads: Threads = None,
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Train a small linear model in place of a run, and compare both on the texts that the run held out.

    `megalabel train distill RUN` does the same, with all options of the recipe.
    """
    from megalabel.cli.jobs import train
    from megalabel.cli.run_settings import RunSettings
    from megalabel.recipes import get

    values: dict[str, Any] = {"run": str(run), "size": size}
    if texts is not None:
        values["texts"] = str(texts)
    recipe = get("distill")
    recipe.options.checked_values(values)
    corpus = open_data_of(run, data, opened)
    with trusting(trust):
        train(recipe, corpus, out, values, RunSettings(device, threads, overwrite=overwrite))
    typer.echo(f"next: megalabel export {out}")
