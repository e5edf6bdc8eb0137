"""The command line: one file per verb; heavy imports wait until a command runs."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from megalabel.cli import (
    audit,
    calibration,
    data,
    distill,
    doctor,
    ensemble,
    evaluate,
    explain,
    export,
    hub,
    importing,
    index,
    labels,
    onnx,
    plan,
    predict,
    prepare,
    quickstart,
    recipes,
    report,
    serve,
    train,
    tree,
    tune_group,
    update,
)
from megalabel.cli.layout import Command, Group
from megalabel.cli.streams import fail, flush, of_several, prepare_streams
from megalabel.errors import MegalabelError, SettingError
from megalabel.version import __version__

RESUMED = (["train"], ["tune"], ["quickstart"])  # commands that go on where they were interrupted
SEVERAL = ("train", "predict")  # commands that the processes of torchrun do together

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
app.command(cls=Command)(audit.audit)
app.command(cls=Command)(prepare.prepare)
app.command(cls=plan.PlanCommand)(plan.plan)
app.add_typer(train.app, name="train")
app.add_typer(tune_group.app, name="tune")
app.command(cls=Command)(evaluate.evaluate)
app.command(cls=Command)(report.report)
app.command(cls=Command)(predict.predict)
app.command(cls=Command)(calibration.calibrate)
app.command(cls=Command)(explain.explain)
app.command(cls=Command)(labels.labels)
app.command(cls=Command)(update.update)
app.command(cls=Command)(serve.serve)
app.command(cls=Command)(ensemble.ensemble)
app.command(cls=Command)(index.index)
app.command(cls=Command)(distill.distill)
app.command("import", cls=Command)(importing.import_model)
app.command(cls=Command)(export.export)
app.command(cls=Command)(onnx.onnx)
app.command(cls=Command)(hub.push)
app.command(cls=Command)(hub.pull)
app.add_typer(tree.app, name="tree")
app.command(cls=Command)(recipes.recipes)
app.command(cls=Command)(doctor.doctor)


def main() -> None:
    """The entry point: errors of megalabel and of the file system become one line and an exit status."""
    # OpenMP's threads spin while they wait for each other, which beside any other busy program costs several
    # times what it saves; read when torch is first imported, and the user's own setting takes precedence.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    prepare_streams()
    try:
        try:
            with _job():
                _check_several(sys.argv[1:])
                app()
        finally:
            flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.exit(1)
    except (MegalabelError, OSError, MemoryError) as error:
        fail(error)
    except SystemExit as stop:
        if stop.code == 130 and os.environ.get("RANK", "0") == "0":  # what Typer makes of Ctrl-C
            resumed = "; the same command resumes a run that has a checkpoint" * (sys.argv[1:2] in RESUMED)
            sys.stderr.write(f"\nmegalabel: interrupted{resumed}\n")
        raise


def _job() -> contextlib.AbstractContextManager[object]:
    """The job of several processes that torchrun has started, if it has; an error of one ends all of them."""
    if not of_several():
        return contextlib.nullcontext()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # PyTorch's warnings about lost connections
    from megalabel.distributed.session import session

    return session()


def _check_several(arguments: list[str]) -> None:
    """SettingError for a command that each of several processes would do by itself, writing the same files."""
    if of_several() and arguments and not arguments[0].startswith("-") and arguments[0] not in SEVERAL:
        error = SettingError(
            f"the command {arguments[0]} in a job of {os.environ['WORLD_SIZE']} processes",
            wanted=f"{' or '.join(SEVERAL)}, which several processes can do together",
            next_step="start it without torchrun",
        )
        error.speaker = 0
        raise error


if __name__ == "__main__":
    main()
