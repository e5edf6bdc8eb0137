"""`megalabel data`: look at a data set, divide it, or write it in another format."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataSet, NewFolder, Threads, complete, data_path, open_data, use_threads
from megalabel.cli.layout import Command, Group
from megalabel.cli.reading import of_the_set, options_of, reads
from megalabel.cli.streams import to_stderr

FORMATS = (
    "raw", "lf-json", "jsonl", "csv", "parquet", "annif", "pecos", "fasttext", "libmultilabel", "pecos-bag",
    "xmlrepo",
)  # fmt: skip
Gz = Annotated[bool, typer.Option("--gz", help="Compress the files.")]
Lossy = Annotated[bool, typer.Option("--lossy", help="Drop what the format cannot represent.")]
_TO = f"The format: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check a data set, divide it, or convert it to another format.",
)


@app.command(cls=Command)
@reads
def check(data: DataSet, *, opened: dict[str, Any]) -> None:
    """Report counts, duplicates, empty rows, label coverage and encoding problems of a data set."""
    from megalabel.data.check import check as examine
    from megalabel.encoders.coverage import token_probe

    report = examine(data_path(data), options_of(opened), probes=[token_probe], **of_the_set(opened))
    typer.echo("\n".join(report.lines()))
    raise typer.Exit(0 if report.ok else 1)


@app.command(cls=Command)
def formats() -> None:
    """List the formats that are read and written, with the files of each."""
    from megalabel.data.formats import FORMATS as known

    rows = [(f.name, "read, written" if f.writes else "read", f.what) for f in known.values()]
    typer.echo("\n".join(f"{name:<14} {how:<14} {files}" for name, how, files in rows))


@app.command(cls=Command)
@reads
def convert(
    data: DataSet,
    out: NewFolder,
    to: Annotated[str, typer.Option(metavar="FORMAT", help=_TO, autocompletion=complete(FORMATS))],
    gz: Gz = False,
    lossy: Lossy = False,
    *,
    opened: dict[str, Any],
) -> None:
    """Write a data set in another format."""
    from megalabel.data.convert import check_target
    from megalabel.data.convert import convert as write

    check_target(out, to)  # before the work, not after it
    done = write(open_data(data, opened), out, to, gz=gz, lossy=lossy)
    typer.echo("\n".join([f"{done.path}: {', '.join(str(file) for file in done.files)}", *done.notes]))


@app.command(cls=Command)
@reads
def split(
    data: DataSet,
    out: NewFolder,
    test_fraction: Annotated[
        float, typer.Option(metavar="FLOAT", help="Fraction of the texts with labels that become test texts.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(metavar="INT", help="Seed of the draw.")] = 0,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help=f"{_TO[:-1]}; default: that of the data.", autocompletion=complete(FORMATS)
        ),
    ] = None,
    gz: Gz = False,
    lossy: Lossy = False,
    *,
    opened: dict[str, Any],
) -> None:
    """Write a data set without test texts as one with training and test texts, drawn at random.

    Equal texts stay on the same side. Columns other than those that are read are not written.
    """
    from megalabel.data.convert import check_target, same_format
    from megalabel.data.convert import convert as write

    to = to or same_format(data_path(data), opened.get("format"))
    check_target(out, to)
    made = open_data(data, opened).with_test_split(test_fraction, seed=seed)
    assert made.test is not None
    done = write(made, out, to, gz=gz, lossy=lossy)
    sides = f"{len(made.train):,} training and {len(made.test):,} test texts"
    typer.echo("\n".join([f"{done.path}: {', '.join(str(file) for file in done.files)}", sides, *done.notes]))
    alone = len(set(made.test.labels.indices) - set(made.train.labels.indices))
    if alone:
        typer.echo(f"labels that test texts alone have, which no model can learn: {alone:,}")
    typer.echo(f"next: megalabel train linear {done.path} --out RUN")


@app.command(cls=Command)
@reads
def sources(
    data: DataSet,
    validation_fraction: Annotated[
        float, typer.Option(metavar="FLOAT", help="Fraction of the training texts that is held out.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(metavar="INT", help="Seed of the draw and of the models.")] = 0,
    threads: Threads = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Compare linear models with all sources and without each, on held-out texts: the gain of each source."""
    from megalabel.tuning.sources import source_gains

    use_threads(threads)
    corpus = open_data(data, opened)
    gains = source_gains(corpus, validation_fraction=validation_fraction, seed=seed, say=to_stderr)
    typer.echo(gains.table())
