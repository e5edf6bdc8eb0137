"""`megalabel ensemble`: several runs as one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataOption, Device, Trust, open_data_of, trusting
from megalabel.cli.reading import reads

Out = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="OUT", help="The run folder to write; of files of scores, an .npz file."),
]


@reads
def ensemble(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Two or more runs, or files of test scores (.npz, .jsonl, .txt)."),
    ],
    out: Out,
    data: DataOption = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FLOATS", help="Weight of each run, such as 1,2; default: fitted.")
    ] = None,
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Merge the predictions of several runs, with weights fitted on texts that all of them held out."""
    from megalabel.cli.merge_runs import ensemble_runs
    from megalabel.cli.merge_scores import merge_scores
    from megalabel.inference.score_files import is_scores

    with trusting(trust):

        def open_data(run: str, data: str | None) -> Any:
            return open_data_of(run, data, opened)

        if any(map(is_scores, runs)):
            merge_scores(runs, out, data, weights, device, open_data, typer.echo)
            return
        ensemble_runs(runs, out, data, weights, device, open_data, typer.echo)
