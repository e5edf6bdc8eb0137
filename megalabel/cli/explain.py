"""`megalabel explain`: why a model gives a text a label, or does not."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from megalabel.cli.arguments import Device, Run, Trust, trusting
from megalabel.errors import SettingError

Text = Annotated[str, typer.Argument(metavar="TEXT", help="One text; - for all of standard input.")]
Label = Annotated[str | None, typer.Option(metavar="NAME", help="The label; default: the best label of the text.")]
LabelId = Annotated[int | None, typer.Option(metavar="INT", help="The id of the label, in place of its name.")]
Most = Annotated[int, typer.Option(metavar="INT", help="Words that are shown, the strongest first.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object with all words in their order.")]


def explain(
    run: Run,
    text: Text,
    label: Label = None,
    label_id: LabelId = None,
    words: Most = 20,
    as_json: AsJson = False,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """Show what each word of a text adds to the score of a label, and where a label dropped out."""
    from megalabel.models.base import load

    if label is not None and label_id is not None:
        raise SettingError("a label and the id of one", wanted="one of --label and --label-id", where="--label-id")
    if words < 0:
        raise SettingError.range("--words", words, 0, integer=True)
    if text == "-":
        if sys.stdin is None:
            raise SettingError("standard input is closed", wanted="a text", next_step="give it as an argument")
        text = sys.stdin.buffer.read().decode("utf-8", "replace").rstrip("\n")
    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        if model.n_features is not None:
            raise SettingError(
                "a model over bags of words, whose words are not known",
                wanted="a model that reads texts",
                next_step="call model.explain with a row of features in Python",
                where=run,
            )
        found = model.explain(text, label if label_id is None else label_id)
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False) if as_json else "\n".join(found.lines(words)))
