"""`megalabel update`: a trained model learns further labeled texts, and labels that it does not have are added."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataSet, Device, Run, Trust, data_path, open_data, parts_of, trusting
from megalabel.cli.reading import reads


class NewLabels(StrEnum):
    """What becomes of labels that the model does not have."""

    add = "add"
    ignore = "ignore"


Out = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder of the updated model.")]
New = Annotated[
    NewLabels, typer.Option(help="Labels that the model lacks: add them by their texts, or ignore them.")
]


@reads
def update(
    run: Run,
    data: DataSet,
    out: Out,
    new_labels: New = NewLabels.add,
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Let a trained model learn further texts: the training side of DATA, with labels matched by name.

    The texts that it was trained on are not needed. RUN stays as it is. DATA may be a file of
    `megalabel serve --feedback`, whose rejected labels are learned too.
    """
    from megalabel.cli.learn_data import learn_data  # with NumPy, which would delay every command
    from megalabel.cli.learn_feedback import learn_feedback
    from megalabel.data.feedback import is_feedback
    from megalabel.display import counted
    from megalabel.models.base import check_room, load

    check_room(out)
    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        before, adds = len(model.label_texts), new_labels is NewLabels.add
        if is_feedback(path := data_path(data)):
            model, told = learn_feedback(model, path, adds)
        else:
            model, told = learn_data(model, open_data(data, {**parts_of(run), **opened}), adds)
        model.save(out)
    added = len(model.label_texts) - before
    typer.echo(f"{out}: {told}" + (f"; added {counted(added, 'label')}, now {before + added:,}" if added else ""))
    if model.calibration is not None:
        typer.echo(f"probabilities are calibrated as before; next: megalabel calibrate {out} DATA, on other texts")
