"""`megalabel plan`: the memory and time of a job, by component, before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megalabel.cli.arguments import Threads, open_data
from megalabel.cli.layout import Command
from megalabel.cli.recipe_options import as_command, command_of
from megalabel.device import default_threads
from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.planning.job import Data, Job

DEFAULT = "renee"
DOING = {"predict": "prediction", "read": "reading the data"}
DOC = """Print the memory of a training by component, the settings that fit, and the time of a step.

Without DATA, --labels says how many labels there are, and the answer needs neither data nor torch. The options
of the recipe that --recipe names are accepted too. Every text counts as max_length tokens; plans are for a CPU.
"""


class PlanCommand(Command):
    """The command, whose options are those of the recipe that its arguments name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes over the options of the recipe, then reads the arguments."""
        from megalabel.planning.job import check_recipe
        from megalabel.recipes import get

        check_recipe(get(recipe_in(args)).address)
        inner = plan_command(recipe_in(args))
        self.params, self.callback = inner.params, inner.callback
        return super().parse_args(ctx, args)


def plan() -> None:
    """Print the memory and time of a training before its first step."""


def planning(
    recipe: Annotated[str, typer.Option("--recipe", metavar="RECIPE", help="The recipe to plan.")] = DEFAULT,
    labels: Annotated[str | None, typer.Option("--labels", metavar="N", help="Labels, such as 2.8M.")] = None,
    texts: Annotated[
        str | None, typer.Option("--texts", metavar="N", help="Training texts, such as 1.7M.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="Memory to fit into, such as 8GiB.")
    ] = None,
    what: Annotated[
        str, typer.Option("--what", metavar="NAME", help="What to plan: train|predict|read.")
    ] = "train",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine first, in about a minute.")
    ] = False,
    threads: Threads = None,
) -> None:
    """The options of the command beside those of the recipe."""


def job_for(recipe: Any, values: dict[str, Any], data: Data, threads: int | None, name: str = "") -> Job:
    """The job of a recipe with the user's values, and else those of a preset and the defaults."""
    from megalabel.planning.job import Job
    from megalabel.recipes.presets import resolve

    options = resolve(recipe, name, values).options
    return Job.of(recipe.address, options.values(), data, threads or default_threads())


def _plan(
    recipe_function: Any,
    data: str | None,
    values: dict[str, Any],
    *,
    opened: dict[str, Any],
    recipe: str,
    labels: str | None,
    texts: str | None,
    memory: str | None,
    what: str,
    calibrate: bool,
    threads: int | None,
) -> None:
    from megalabel.planning import answers, report
    from megalabel.planning.amounts import count, shown, size
    from megalabel.planning.baseline import baseline_of
    from megalabel.planning.components import peak
    from megalabel.planning.job import Data
    from megalabel.planning.plan import plan as planned

    if what not in ("train", "predict", "read"):
        raise SettingError.choice("what", what, ("train", "predict", "read"))
    limit = None if memory is None else size("memory", memory)
    if data is None and labels is None:
        raise SettingError(
            "neither DATA nor a number of labels", wanted="--labels N, such as --labels 2.8M", where="labels"
        )
    if threads is not None and threads < 1:
        raise SettingError.range("threads", threads, 1, integer=True)
    if data is None:
        sizes, name = Data(count("labels", str(labels)), 0 if texts is None else count("texts", texts)), ""
    else:
        corpus = open_data(data, opened)
        from megalabel.training.memory import sizes_of

        sizes, name = sizes_of(corpus), corpus.name
    job = job_for(recipe_function, values, sizes, threads, name)
    if calibrate:
        from megalabel.cli.calibrate import calibrate as measured

        measured(job)
    if what == "train":
        lines = report.lines_of(planned(job, limit, frozenset(values), change=True), limit)
    else:
        base = baseline_of(job).base
        parts = answers.prediction(job, base) if what == "predict" else answers.reading(job)
        found = peak(parts)
        lines = report.table(parts, found)
        if limit is not None and found > limit:
            raise SettingError(
                f"{shown(limit)} of memory, where {DOING[what]} needs {shown(found)}",
                wanted=f"at least {shown(found)}",
                next_step=f"give it --memory {int(found / 2**20) + 1}MiB",
                where="memory",
            )
        lines += [] if limit is None else [f"it fits into {shown(limit)}"]
    typer.echo("\n".join(lines))


def plan_command(name: str) -> Any:
    """The command for a recipe."""
    import functools

    from megalabel.recipes import get

    recipe = get(name)
    return as_command(
        "plan", command_of(recipe.options, DOC, planning, functools.partial(_plan, recipe), needs_data=False)
    )


def recipe_in(args: Sequence[str]) -> str:
    """The recipe that the arguments name."""
    found = DEFAULT
    for i, arg in enumerate(args):
        if arg == "--recipe" and i + 1 < len(args):
            found = args[i + 1]
        elif arg.startswith("--recipe="):
            found = arg.partition("=")[2]
    return found
