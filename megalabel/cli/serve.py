"""`megalabel serve`: answer over HTTP with one or more models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megalabel.cli.arguments import Device, Trust, trusting

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Run folders or model folders; NAME=RUN names one.")
]
Host = Annotated[str, typer.Option(metavar="HOST", help="The address to listen on; 0.0.0.0 for all.")]
Port = Annotated[int, typer.Option(metavar="INT", help="The port to listen on; 0 for a free one.")]
FeedbackTo = Annotated[
    Path | None, typer.Option("--feedback", metavar="FILE", help="Append feedback to a file of JSON lines.")
]


def serve(
    runs: Runs,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    feedback: FeedbackTo = None,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """Answer over HTTP with one or more models: predictions, explanations, label search, feedback, a page."""
    from megalabel.serving.feedback import FeedbackFile
    from megalabel.serving.served import ServedModel
    from megalabel.serving.server import run
    from megalabel.serving.service import Service

    with trusting(trust):
        models = [ServedModel.load(Path(r).name, Path(r), device=device, trust=trust or ()) for r in runs]
        run(Service(models, feedback=None if feedback is None else FeedbackFile(feedback)), host, port)
