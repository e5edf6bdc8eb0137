"""`megalabel calibrate`: probabilities, precisions and label sets for a trained model, from labeled texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import Device, Run, Trust, open_data_to_measure, trusting
from megalabel.cli.reading import reads
from megalabel.errors import SettingError

Labeled = Annotated[
    str, typer.Argument(metavar="DATA", help="Labeled texts that the model has not learned: a data set or a file.")
]


@reads
def calibrate(
    run: Run, data: Labeled, trust: Trust = None, device: Device = None, *, opened: dict[str, Any]
) -> None:
    """Calibrate a trained model on labeled texts, in place of what its run held out; changes no ranking.

    Of a data set with test texts, these are read. Do not measure on the same texts afterwards.
    """
    from megalabel.inference.matching import match_labels
    from megalabel.inputs.bag_of_words import model_inputs
    from megalabel.models.base import load
    from megalabel.models.calibrated import FEWEST
    from megalabel.models.facts import add_calibration
    from megalabel.models.find import model_folder

    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        corpus, split = open_data_to_measure(run, data, opened, model.label_texts)
        truth = match_labels(model.label_texts, corpus, split, model.metadata)
        inputs = model_inputs(split, corpus, model.n_features)
        done = model.calibrate(inputs, truth.labels, exclude=truth.filter, n_true=truth.n_true)
    found = model.calibration
    if not done or found is None:
        raise SettingError(
            f"{len(split):,} texts of {corpus.name}, too few of which have labels that the model finds",
            wanted=f"{FEWEST} texts with labels or more",
            next_step="give more labeled texts",
            where="data",
        )
    folder: Path = model_folder(run)
    add_calibration(folder, found)
    typer.echo(f"calibrated on {found.n_texts:,} texts with labels; written into {folder}")
    typer.echo(f"--precision up to {found.precisions.max(initial=0):.3f}, --coverage up to {found.reachable:.3f}")
