"""The command line: one command per verb, no logic; heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.train import recipe_command
from megalabel.errors import MegalabelError
from megalabel.recipes import names
from megalabel.version import __version__

app = typer.Typer(
    name="megalabel",
    help="Text classification over ten thousand to ten million labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(no_args_is_help=True, help="Look at a data set, or write it in another format.")
train_app = typer.Typer(no_args_is_help=True, help="Train a recipe on a data set.")
app.add_typer(data_app, name="data")
tree_app = typer.Typer(no_args_is_help=True, help="Build a tree over the labels of a data set, look at one.")
app.add_typer(train_app, name="train")
app.add_typer(tree_app, name="tree")

DataSet = Annotated[str, typer.Argument(help="A folder or file of data, or bundled:NAME.")]
Run = Annotated[Path, typer.Argument(help="A run folder, or its model folder.")]
Tree = Annotated[Path, typer.Argument(help="The folder of a label tree.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; default: a GPU if there is one.")]


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="The folder of the runs.")] = Path("runs/quickstart"),
    text: Annotated[str, typer.Option(help="What to ask the best model.")] = "a large striped wild cat of Asia",
) -> None:
    """Train every recipe on the bundled data, measure, ask a question: a few minutes on a laptop."""
    from megalabel.cli.quickstart import quickstart as run

    run(out, text, typer.echo)


@data_app.command()
def check(data: DataSet) -> None:
    """Counts, duplicates, empty rows, label coverage, encoding trouble."""
    from megalabel.data.check import check as examine

    report = examine(_path(data))
    typer.echo("\n".join(report.lines()))
    raise typer.Exit(0 if report.ok else 1)


@data_app.command()
def convert(
    data: DataSet,
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    to: Annotated[str, typer.Option(help="raw, lf-json, jsonl, csv, parquet, annif or xmlrepo.")],
    gz: Annotated[bool, typer.Option("--gz", help="Compress the files.")] = False,
    lossy: Annotated[bool, typer.Option("--lossy", help="Leave out what the format cannot hold.")] = False,
) -> None:
    """Write a data set in another format."""
    from megalabel.data.convert import convert as write

    done = write(_path(data), out, to, gz=gz, lossy=lossy)
    typer.echo("\n".join([f"{done.path}: {', '.join(str(file) for file in done.files)}", *done.notes]))


@app.command()
def prepare(
    data: DataSet,
    encoder: Annotated[str | None, typer.Option(help="bag, small, or a pretrained encoder.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="own, words or symbols.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Most tokens that a learnt tokenizer has.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens of a text that are read.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Replace the tokens that are there.")] = False,
) -> None:
    """Tokenise a data set once, beside it, for several runs; what is not given is the preset's."""
    from megalabel.cli.prepare import prepare as run

    values = {"encoder": encoder, "tokenizer": tokenizer, "vocabulary": vocabulary, "max_length": max_length}
    run(_open(data), {k: v for k, v in values.items() if v is not None}, again, typer.echo)


@app.command()
def evaluate(
    run: Run,
    data: DataSet,
    k: Annotated[str, typer.Option(help="Where to cut the ranking.")] = "1,3,5",
    a: Annotated[float | None, typer.Option("--propensity-a", help="A; default: the catalogue's.")] = None,
    b: Annotated[float | None, typer.Option("--propensity-b", help="B; default: the catalogue's.")] = None,
    batch_size: Annotated[int, typer.Option(help="Texts scored together.")] = 256,
    device: Device = None,
) -> None:
    """Measure a run on the test side; writes metrics.json into the run folder."""
    from megalabel.cli.evaluate import evaluate_run

    typer.echo(evaluate_run(run, _open(data), k, a, b, batch_size, device))


@app.command()
def predict(
    run: Run,
    texts: Annotated[str, typer.Argument(help="A text a line (.gz, .jsonl too), or -; or bags of words.")] = "-",
    out: Annotated[str | None, typer.Option("--out", "-o", help="FILE.jsonl[.gz] or FILE.npz.")] = None,
    k: Annotated[int, typer.Option("-k", help="Labels a text.")] = 10,
    device: Device = None,
) -> None:
    """The best labels of each text, as JSON lines or npz."""
    from megalabel.cli.predict import predict_file

    predict_file(run, texts, out, k, device)


@app.command()
def ensemble(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Two or more runs over the same labels.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder.")],
    data: Annotated[str | None, typer.Option(help="Their data set, if that has moved.")] = None,
    weights: Annotated[str | None, typer.Option(help="How much each run counts: 1,2; default: fitted.")] = None,
    device: Device = None,
) -> None:
    """Merge what several runs answer, weighed on the texts that all of them held out."""
    from megalabel.cli.ensemble import ensemble_runs

    ensemble_runs(runs, out, data, weights, device, _open, typer.echo)


@tree_app.command("build")
def tree_build(
    data: DataSet,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    source: Annotated[str, typer.Option(help="What a label is about: texts, names or both.")] = "texts",
    depths: Annotated[str | None, typer.Option(help="10,13,16: 2^10 clusters, …; default: by size.")] = None,
    graph: Annotated[bool, typer.Option("--graph/--no-graph", help="Smooth features along the graph.")] = True,
    unit: Annotated[bool, typer.Option("--unit", help="Features to length 1 before they are smoothed.")] = False,
    keep: Annotated[int, typer.Option(help="Features kept of each label.")] = 1000,
    hops: Annotated[int, typer.Option(help="Hops of each label's walk.")] = 400,
    p_reset: Annotated[float, typer.Option(help="How likely a hop starts at the label again.")] = 0.8,
    neighbours: Annotated[int, typer.Option(help="Labels kept in each row of the graph.")] = 10,
    tokenizer: Annotated[str, typer.Option(help="words or symbols.")] = "words",
    vocabulary: Annotated[int, typer.Option(help="Most words that are told apart.")] = 100_000,
    max_length: Annotated[int, typer.Option(help="Words of a text that are read.")] = 256,
    seed: Annotated[int, typer.Option(help="Of walks and clusters.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")] = None,
) -> None:
    """Build the label tree of a data set from its training texts."""
    from megalabel.cli.tree import build

    values = {
        "source": source, "graph": graph, "normalize": unit, "cluster_features": keep, "walk_length": hops,
        "restart_probability": p_reset,
        "graph_top_k": neighbours, "tokenizer": tokenizer, "vocabulary": vocabulary, "max_length": max_length,
        "seed": seed,
    }  # fmt: skip
    build(_open(data), out, depths, threads, values, typer.echo)


@tree_app.command("show")
def tree_show(
    tree: Tree,
    data: Annotated[str | None, typer.Option(help="The data set, to show leaves by name.")] = None,
    examples: Annotated[int, typer.Option(help="How many leaves.")] = 6,
) -> None:
    """Levels, children, leaf sizes, and what some leaves hold."""
    from megalabel.cli.tree import show

    show(tree, None if data is None else _open(data), examples, typer.echo)


@tree_app.command("export")
def tree_export(tree: Tree, out: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Write a tree as the chain of cluster matrices (npz) that PECOS reads."""
    from megalabel.cli.tree import export

    export(tree, out, typer.echo)


@app.command()
def recipes() -> None:
    """The recipes, and the presets that each has."""
    from megalabel.recipes.presets import all_presets

    for name in names():
        typer.echo(name)
        for preset in (p for p in all_presets() if p.recipe == name):
            typer.echo(f"  {', '.join(preset.sets)}  {preset.encoder}  ({preset.origin})")


@app.command()
def doctor() -> None:
    """Versions, devices, installed encoders, and what each extra would add."""
    from megalabel.cli.doctor import doctor as lines

    typer.echo("\n".join(lines()))


def _path(data: str) -> Any:
    from megalabel.data.catalog import bundled_folder

    return bundled_folder(data.removeprefix("bundled:")) if data.startswith("bundled:") else Path(data)


def _open(data: str) -> Any:
    from megalabel.data.corpus import Corpus

    name = data.removeprefix("bundled:")
    return Corpus.bundled(name) if name != data else Corpus.open(Path(data))


for _name in names():
    train_app.command(_name)(recipe_command(_name, _open))


def main() -> None:
    """The entry point: errors of ours and of the file system become one line and exit status 2."""
    # OpenMP's threads spin while they wait for each other, which beside any other busy program costs several
    # times what it saves; read when torch is first imported, and the user's own setting goes first.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except MegalabelError as error:
        sys.stderr.write(f"megalabel: {error}\n")
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(
            f"megalabel: {place}{error.strerror or error}; wanted a place that can be read and written. "
            "Next step: look at the path, its rights and the space on the disk.\n"
        )
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:  # what Typer makes of Ctrl-C
            sys.stderr.write(
                "\nmegalabel: interrupted; a run that has a checkpoint goes on from it when the same command "
                "is given again\n"
            )
        raise


if __name__ == "__main__":
    main()
