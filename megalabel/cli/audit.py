"""`megalabel audit`: labels of a data set that are probably missing, wrong, duplicates or synonyms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataSet, Threads, open_data, use_threads
from megalabel.cli.reading import reads
from megalabel.errors import SettingError

_OUT = "JSON lines to write, one per finding; with --apply, a new folder for the copy of the data."
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT", help=_OUT)]
Kinds = Annotated[
    str, typer.Option(metavar="KINDS", help="Of wrong, missing, duplicate and synonym, separated by commas.")
]
Apply = Annotated[
    Path | None,
    typer.Option("--apply", metavar="FILE", help="Findings to apply to a copy: lines of -o that are right."),
]


@reads
def audit(
    data: DataSet,
    out: Out = None,
    kinds: Kinds = "wrong,missing,duplicate,synonym",
    most: Annotated[int, typer.Option(metavar="INT", help="Findings of each kind.")] = 1000,
    folds: Annotated[int, typer.Option(metavar="INT", help="Folds of the out-of-fold scores.")] = 2,
    seed: Annotated[int, typer.Option(metavar="INT", help="Seed of folds and models.")] = 0,
    apply: Apply = None,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="The format of the copy, with --apply.")] = "jsonl",
    threads: Threads = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Find labels that are probably missing, wrong, duplicates or synonyms, or apply what was found."""
    if apply is not None:
        _apply(data, apply, out, to, opened)
        return
    from megalabel.audit.audit import audit as examine
    from megalabel.audit.finding import table
    from megalabel.progress import say
    from megalabel.storage.files import write_bytes_atomically

    if out is not None and out.is_dir():
        raise SettingError(f"{out} is a folder", wanted="a file for the findings", where="--out")
    use_threads(threads)
    names = list(dict.fromkeys(name.strip() for name in kinds.split(",") if name.strip()))
    if not names:
        raise SettingError("no kinds", wanted="one or more of wrong, missing, duplicate, synonym", where="--kinds")
    found = examine(open_data(data, opened), kinds=names, most=most, folds=folds, seed=seed, say=say)
    typer.echo("\n".join(table(found, names)))
    if out is not None:
        with write_bytes_atomically(out) as file:
            for finding in found:
                file.write((finding.line() + "\n").encode("utf-8", "backslashreplace"))


def _apply(data: str, findings: Path, out: Path | None, to: str, opened: dict[str, Any]) -> None:
    """Writes a copy of the data set with the findings of a file."""
    from megalabel.audit.apply import apply
    from megalabel.audit.finding import read_findings
    from megalabel.data.convert import check_target, convert
    from megalabel.display import counted

    if out is None:
        raise SettingError("no folder for the copy", wanted="-o OUT, a new folder", where="--out")
    check_target(out, to)
    chosen = read_findings(findings)
    done = convert(apply(open_data(data, opened), chosen), out, to)
    typer.echo("\n".join([f"{done.path}: {counted(len(chosen), 'finding')} applied", *done.notes]))
