"""`megalabel train RECIPE`: options made from the recipe's signature, values from preset and command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.errors import SettingError
from megalabel.recipes import get, tuned
from megalabel.recipes.presets import find, taken
from megalabel.training.knobs import TUPLES

_TYPES = {"str": str, "int": int, "float": float, "bool": bool, **dict.fromkeys(TUPLES, str)}


def recipe_command(name: str, open_data: Callable[[str], Any]) -> Callable[..., None]:
    """A function that Typer can read: the recipe's keyword arguments as options, None where not given."""
    signature = inspect.signature(get(name))
    help_of = argument_docs(get(name).__doc__ or "")
    on_a_run = "run" in signature.parameters

    def command(**given: Any) -> None:
        data, out = given.pop("data"), given.pop("out")
        data = open_data(data or data_of(given["run"]) if on_a_run else data)
        running = {key: given.pop(key) for key in ("device", "threads", "checkpoint_seconds", "quiet")}
        overrides = {key: value for key, value in given.items() if value is not None}
        run(name, data, out, overrides, **running)

    first = [_parameter("data", str, inspect.Parameter.empty, typer.Argument(help="A data set, or bundled:NAME."))]
    if on_a_run:
        first = [
            _parameter("run", str, inspect.Parameter.empty, typer.Argument(help=help_of["run"])),
            _parameter("data", str | None, None, typer.Option(help="Its data set, if that has moved.")),
        ]
    parameters = [
        *first,
        _parameter("out", Path, inspect.Parameter.empty, typer.Option("--out", "-o", help="The run folder.")),
        _parameter("device", str | None, None, typer.Option(help="cpu, cuda, …; default: a GPU if any.")),
        _parameter("threads", int | None, None, typer.Option(help="CPU threads; default: all cores.")),
        _parameter("checkpoint_seconds", float, 300.0, typer.Option(help="Time between checkpoints.")),
        _parameter("quiet", bool, False, typer.Option("--quiet", help="Say nothing while training.")),
    ]
    for key, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and key != "run":
            kind = _TYPES[str(parameter.annotation)]
            # Not part of the help text: Rich takes [words in brackets] for markup and drops them.
            option = typer.Option(help=help_of.get(key, ""), show_default=_shown(parameter.default))
            parameters.append(_parameter(key, kind | None, None, option))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = f"""{(get(name).__doc__ or "").splitlines()[0]}

    Without options the preset of the data set's name holds, or the one for any set; every option overrides it.
    The defaults shown are the paper's. A run that was cut off goes on when the same command is given again.
    """
    return command


def run(
    name: str,
    data: Any,
    out: Path,
    overrides: dict[str, Any],
    *,
    device: str | None = None,
    threads: int | None = None,
    checkpoint_seconds: float = 300.0,
    quiet: bool = False,
) -> Any:
    """Takes the preset, says what it took, trains; returns the model."""
    import torch

    from megalabel.training.folder import check_out
    from megalabel.training.run import train

    check_out(out)  # before the recipe is built, which may take minutes
    if threads is not None:
        if threads < 1:
            raise SettingError(f"threads = {threads}", wanted="1 or more", next_step="leave --threads out for all")
        torch.set_num_threads(threads)
    preset = find(name, data.name, overrides.get("encoder"))
    if not quiet:
        typer.echo(_told(name, data, preset, taken(preset, overrides), overrides), err=True)
    model = train(
        tuned(name, data, **overrides), out, device=device, checkpoint_seconds=checkpoint_seconds, quiet=quiet
    )
    if not quiet:
        typer.echo(f"the model is in {out}; next: megalabel evaluate {out} DATA", err=True)
    return model


def data_of(run: str) -> str:
    """Where the data set of a finished run lies; SettingError if nobody knows, or it is there no longer."""
    from megalabel.training.folder import finished_run

    told = finished_run(Path(run))["data"]
    path = told.get("path")
    if not path or not Path(path).exists():
        raise SettingError(
            f"the run in {run} was trained on {told.get('name')!r}, which lay in {path or 'no folder'}",
            wanted="its data set",
            next_step="give it by --data",
            where="data",
        )
    return str(path)


def argument_docs(doc: str) -> dict[str, str]:
    """The lines of a docstring's Args section: name to text.

    The docstring may be indented as in the source, or dedented as Python 3.13 keeps it.
    """
    _, _, section = inspect.cleandoc(doc).partition("Args:\n")
    found: dict[str, str] = {}
    for name, text in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, re.MULTILINE):
        found[name] = re.sub(r"\s+", " ", text)
    return found


def _told(name: str, data: Any, preset: Any, taken: dict[str, Any], overrides: dict[str, Any]) -> str:
    size = f"{data.name}: {len(data.train):,} texts, {data.n_labels:,} labels"
    source = f"preset for {', '.join(preset.sets)}" if preset else "no preset fits; the paper's defaults"
    values = " ".join(f"{k}={v}" for k, v in taken.items() if k not in overrides)
    yours = " ".join(f"{k}={v}" for k, v in overrides.items())
    return f"{size}\n{name}, {source}: {values}" + (f"\nyours: {yours}" if yours else "")


def _shown(default: Any) -> str:
    """A default as it would be typed."""
    text = ",".join(f"{item:g}" for item in default) if isinstance(default, tuple) else str(default)
    return text or "empty"


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )
