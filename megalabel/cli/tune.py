"""`megalabel tune` and `megalabel train auto`: a search over recipes and options within a given time."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import Device, Threads, Trust, open_data, open_data_of, trusting, use_threads
from megalabel.cli.recipe_options import as_command, command_of, read_config
from megalabel.cli.streams import to_stderr
from megalabel.errors import SettingError

AUTO = "auto"
SET_BY_THE_SEARCH = ("validation_fraction", "selection_metric", "validate_epochs", "patience", "log_every")
ABOUT = """
Trials are compared on training texts that are held out; the test split is not read. Options that are given are
fixed, the others are searched. OUT becomes a run folder with the chosen model; OUT/chosen.toml has its values, for
`megalabel train RECIPE DATA --config OUT/chosen.toml`. The same command resumes an interrupted search.
"""

Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT", help="The folder of the search to write.")]
Minutes = Annotated[float, typer.Option(metavar="FLOAT", help="Time for the search, with the last training.")]
Metric = Annotated[str, typer.Option(metavar="NAME", help="Compares trials: P@k, nDCG@k, PSP@k, PSnDCG@k, R@k.")]
MaxSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Maximum size of the model, such as 200MB; default: any.")
]
MaxLatency = Annotated[
    str | None, typer.Option(metavar="TIME", help="Maximum time for a single text, such as 5ms; default: any.")
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="TOML file with values of options that are fixed.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a finished or different search in OUT.")]


def searching(
    out: Out = None,
    minutes: Minutes = 20.0,
    metric: Metric = "nDCG@5",
    max_size: MaxSize = None,
    max_latency: MaxLatency = None,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    overwrite: Overwrite = False,
    config: Config = None,
    trust: Trust = None,
) -> None:
    """The options of every command that searches, beside those of a recipe."""


def search_command(name: str, recipe: Any) -> Any:
    """The command that searches over the options of a recipe, or over recipes for None."""
    from megalabel.recipes.auto_options import AutoOptions

    what = (
        "Search over recipes, encoders and values of options"
        if recipe is None
        else f"Search over options of {name}"
    )
    options = AutoOptions if recipe is None else recipe.options
    act = functools.partial(_search, name, options)
    return as_command(name, command_of(options, f"{what}.\n{ABOUT}", searching, act, SET_BY_THE_SEARCH))


def _search(
    name: str,
    options: Any,
    data: str | None,
    values: dict[str, Any],
    *,
    opened: dict[str, Any],
    out: Path | None,
    minutes: float,
    metric: str,
    max_size: str | None,
    max_latency: str | None,
    device: str | None,
    threads: int | None,
    quiet: bool,
    overwrite: bool,
    config: Path | None,
    trust: Sequence[str] | None,
) -> None:
    begun = time.monotonic()  # reading the data is part of the search
    from megalabel.cli.reading import notes
    from megalabel.training.cleanup import remove_run
    from megalabel.training.run_lock import writing
    from megalabel.tuning.search import tune

    if out is None:
        raise SettingError("no folder is named", wanted="--out OUT, such as --out runs/auto", where="out")
    if config is not None:
        values = {**read_config(config, options, name), **values}
    values = options.checked_values(values)
    use_threads(threads)
    corpus = open_data_of(values["run"], data, opened) if "run" in values else open_data(str(data), opened)
    say: Callable[[str], Any] = (lambda line: None) if quiet else to_stderr
    say(
        "\n".join(
            [f"{corpus.name}: {len(corpus.train):,} texts, {corpus.n_labels:,} labels", *notes(corpus.findings)]
        )
    )
    arguments = {key: values.pop(key) for key in ("seed", "encoders") if key in values}
    with trusting(trust), writing(out):
        if overwrite:
            remove_run(out)
        tune(
            corpus, out, name, minutes=minutes, metric=metric, max_size=max_size, max_latency=max_latency,
            device=device, say=say, begun=begun, **arguments, **values,
        )  # fmt: skip
    say(f"the model is in {out}; next: megalabel evaluate {out}")
