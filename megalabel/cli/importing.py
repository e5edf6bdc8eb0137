"""`megalabel import`: a model of another tool as one of megalabel."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

From = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="A .bin of fastText; a folder of Omikuji, PECOS or an Annif project."),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The model folder to write.")]
LabelNames = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE", help="Label names, one per line, or Annif's subjects.csv."),
]
Language = Annotated[str | None, typer.Option(metavar="LANGUAGE", help="Language of the names in subjects.csv.")]


def import_model(source: From, out: Out, labels: LabelNames = None, language: Language = None) -> None:
    """Make a model from one of fastText, Omikuji, PECOS or Annif, with the same scores."""
    from megalabel.importers import read_model
    from megalabel.models.base import check_room
    from megalabel.progress import say

    check_room(out)
    model = read_model(source, labels, language)
    model.save(out)
    repeated = [name for name, n in Counter(model.label_texts).items() if n > 1]
    if repeated:
        many = f"{len(repeated):,} name{'s belong' if len(repeated) > 1 else ' belongs'}"
        say(f"{many} to several labels, such as {repeated[0]!r}; predictions do not tell them apart")
    shown = f"{len(model.label_texts):,} labels" + (f", {model.n_features:,} features" if model.n_features else "")
    typer.echo(f"{out} ({shown}); next: megalabel predict {out} {'FILE' if model.n_features else 'texts.txt'}")
