"""The command line: one file per verb; heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from megalabel.cli import (
    data,
    doctor,
    ensemble,
    evaluate,
    index,
    plan,
    predict,
    prepare,
    quickstart,
    recipes,
    train,
    tree,
    tune_group,
)
from megalabel.cli.layout import Command, Group
from megalabel.cli.streams import flush, message, prepare_streams
from megalabel.errors import MegalabelError
from megalabel.version import __version__

app = typer.Typer(
    name="megalabel",
    cls=Group,
    help="Text classification over ten thousand to ten million labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", show_default=False)
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


app.command(cls=Command)(quickstart.quickstart)
app.add_typer(data.app, name="data")
app.command(cls=Command)(prepare.prepare)
app.command(cls=plan.PlanCommand)(plan.plan)
app.add_typer(train.app, name="train")
app.add_typer(tune_group.app, name="tune")
app.command(cls=Command)(evaluate.evaluate)
app.command(cls=Command)(predict.predict)
app.command(cls=Command)(ensemble.ensemble)
app.command(cls=Command)(index.index)
app.add_typer(tree.app, name="tree")
app.command(cls=Command)(recipes.recipes)
app.command(cls=Command)(doctor.doctor)


def main() -> None:
    """The entry point: errors of megalabel and of the file system become one line and exit status 2."""
    # OpenMP's threads spin while they wait for each other, which beside any other busy program costs several
    # times what it saves; read when torch is first imported, and the user's own setting takes precedence.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    prepare_streams()
    try:
        try:
            app()
        finally:
            flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.exit(1)
    except (MegalabelError, OSError, MemoryError) as error:
        sys.stderr.write(f"megalabel: {message(error)}\n")
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:  # what Typer makes of Ctrl-C
            sys.stderr.write("\nmegalabel: interrupted; the same command resumes a run that has a checkpoint\n")
        raise


if __name__ == "__main__":
    main()
