"""`megalabel ensemble`: several runs as one model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataOption, Device, OutRun, Trust, open_data_of, trusting
from megalabel.cli.reading import reads


@reads
def ensemble(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two or more runs over the same labels.")],
    out: OutRun,
    data: DataOption = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FLOATS", help="Weight of each run, such as 1,2; by default fitted.")
    ] = None,
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Merge the predictions of several runs, weighted on the texts that all of them held out."""
    from megalabel.cli.merge_runs import ensemble_runs

    with trusting(trust):
        ensemble_runs(
            runs, out, data, weights, device, lambda run, data: open_data_of(run, data, opened), typer.echo
        )
