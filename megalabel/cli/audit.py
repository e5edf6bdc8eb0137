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
Most = Annotated[int | None, typer.Option(metavar="INT", show_default="1000", help="Findings of each kind.")]
Folds = Annotated[
    int | None, typer.Option(metavar="INT", show_default="2", help="Folds of the out-of-fold scores.")
]
Seed = Annotated[int | None, typer.Option(metavar="INT", show_default="0", help="Seed of folds and models.")]
To = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", show_default="jsonl", help="The format of the copy, with --apply."),
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
    most: Most = None,
    folds: Folds = None,
    seed: Seed = None,
    apply: Apply = None,
    to: To = None,
    threads: Threads = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Find labels that are probably missing, wrong, duplicates or synonyms, or apply what was found."""
    names = list(dict.fromkeys(name.strip() for name in kinds.split(",") if name.strip()))
    if not names:
        raise SettingError("no kinds", wanted="one or more of wrong, missing, duplicate, synonym", where="--kinds")
    if apply is not None:
        _refuse_with_apply({"--most": most, "--folds": folds, "--seed": seed, "--threads": threads})
        _apply(data, apply, out, names, to or "jsonl", opened)
        return
    if to is not None:
        wanted = "--apply FILE, whose copy of the data has a format"
        raise SettingError("--to for an audit, which writes JSON lines", wanted=wanted, where="--to")
    from megalabel.audit.audit import audit as examine
    from megalabel.audit.finding import table
    from megalabel.progress import say
    from megalabel.storage.files import write_bytes_atomically

    if out is not None and out.is_dir():
        raise SettingError(f"{out} is a folder", wanted="a file for the findings", where="--out")
    use_threads(threads)
    given = {
        name: value for name, value in (("most", most), ("folds", folds), ("seed", seed)) if value is not None
    }
    found = examine(open_data(data, opened), kinds=names, **given, say=say)
    typer.echo("\n".join(table(found, names)))
    if out is not None:
        with write_bytes_atomically(out) as file:
            for finding in found:
                file.write((finding.line() + "\n").encode("utf-8", "backslashreplace"))


def _refuse_with_apply(options: dict[str, Any]) -> None:
    """Raises SettingError for an option of an audit that --apply, which makes none, does not read."""
    for name, value in options.items():
        if value is not None:
            raise SettingError(
                f"{name} with --apply, which applies what an audit has found",
                wanted="one of the two",
                next_step="leave it out; --kinds chooses among the findings of the file",
                where=name,
            )


def _apply(data: str, findings: Path, out: Path | None, kinds: list[str], to: str, opened: dict[str, Any]) -> None:
    """Writes a copy of the data set with the findings of a file that are of some kinds."""
    from megalabel.audit.apply import apply
    from megalabel.audit.finding import check_kinds, read_findings
    from megalabel.data.convert import check_target, convert
    from megalabel.display import counted

    if out is None:
        raise SettingError("no folder for the copy", wanted="-o OUT, a new folder", where="--out")
    check_kinds(kinds)
    check_target(out, to)
    found = read_findings(findings)
    chosen = [finding for finding in found if finding.kind in kinds]
    if found and not chosen:
        has = ", ".join(dict.fromkeys(finding.kind for finding in found))
        raise SettingError(
            f"no finding of {findings} is of the kinds {', '.join(kinds)}",
            wanted=f"kinds that it has: {has}",
            where="--kinds",
        )
    done = convert(apply(open_data(data, opened), chosen), out, to)
    left = f", {len(found) - len(chosen):,} of other kinds left out" if len(chosen) < len(found) else ""
    typer.echo("\n".join([f"{done.path}: {counted(len(chosen), 'finding')} applied{left}", *done.notes]))
