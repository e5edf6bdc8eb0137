"""`megalabel export`: one file of a run for the runtime without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megalabel.cli.arguments import Run, Trust, trusting
from megalabel.cli.streams import to_stderr

Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="The file; default: model.mlr in the run folder, where load finds it."
    ),
]


def export(run: Run, out: Out = None, trust: Trust = None) -> None:
    """Write a linear model or a bag as one file, from which `megalabel.runtime` predicts without torch."""
    from megalabel.exporting.export import export_run
    from megalabel.models.find import note_unfinished

    with trusting(trust):
        note_unfinished(run, to_stderr)
        file, size = export_run(run, out, trust=trust or ())
    typer.echo(f"{file} ({size / 1e6:.1f} MB); next: python -m megalabel.runtime {file}")
