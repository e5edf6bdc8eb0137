"""`megalabel labels`: list the labels of a model, or write the model with other labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megalabel.cli.arguments import Device, Run, Trust, open_data, trusting
from megalabel.errors import SettingError

_MERGE = "Make a label one with others of the same NEW name, with the best score of them; repeatable."
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT", help="Folder of the changed model.")]
Remove = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Remove a label; repeatable.")]
Rename = Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename a label; repeatable.")]
Pairs = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="Learn from a data set which labels occur together, for given labels."),
]
Merge = Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help=_MERGE)]


def labels(
    run: Run,
    out: Out = None,
    remove: Remove = None,
    rename: Rename = None,
    merge: Merge = None,
    pairs: Pairs = None,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """List the labels of a model by id, or write the model with labels removed, renamed or merged."""
    from megalabel.models.base import check_room, load

    changes = bool(remove or rename or merge or pairs)
    if changes != (out is not None):
        given, missing = ("changes", "-o OUT") if changes else ("-o OUT", "--remove, --rename, --merge or --pairs")
        raise SettingError(f"{given} without {missing}", wanted="both, or none to list the labels", where="--out")
    if out is not None:
        check_room(out)
    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        if out is None:
            typer.echo("\n".join(f"{i}\t{name}" for i, name in enumerate(model.label_texts)))
            return
        before, calibrated = len(model.label_texts), model.calibration is not None
        if pairs:
            model = model.learn_pairs(open_data(pairs))
        if merge:
            groups: dict[str, list[str]] = {}
            for old, new in (_pair(text, "--merge") for text in merge):
                groups.setdefault(new, []).append(old)
            model = model.merge_labels(groups)
        if rename:
            names = [_pair(text, "--rename") for text in rename]
            if len(dict(names)) < len(names):
                raise SettingError("two new names for a label", wanted="one for each label", where="--rename")
            model = model.rename_labels(dict(names))
        if remove:
            model = model.without_labels(remove)
        model.save(out)
    typer.echo(f"{out}: {before:,} labels, now {len(model.label_texts):,}")
    if calibrated and model.calibration is None:
        typer.echo(f"merged labels have no calibrated probabilities; next: megalabel calibrate {out} DATA")


def _pair(text: str, option: str) -> tuple[str, str]:
    """OLD=NEW as a pair; a name that holds "=" cannot be written so."""
    old, sign, new = text.partition("=")
    if not sign or "=" in new or not old or not new:
        raise SettingError(
            f"{text!r:.80}", wanted="OLD=NEW", where=option,
            next_step="use rename_labels or merge_labels in Python for names with =",
        )  # fmt: skip
    return old, new
