"""`megalabel push` and `megalabel pull`: models to and from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megalabel.cli.arguments import Run
from megalabel.errors import DataError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the model on the hub, such as user/model.")]
Revision = Annotated[
    str | None, typer.Option("--revision", metavar="TEXT", help="Branch; pull also takes a tag or a commit.")
]


def push(
    run: Run,
    name: Name,
    license: Annotated[
        str | None, typer.Option("--license", metavar="SPDX", help="License of the model, such as apache-2.0.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Revision = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="Message of the commit.")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option("--card", metavar="FILE", help="A model card in place of the generated one."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the model card, and upload nothing.")] = False,
) -> None:
    """Upload the model of a run to the Hugging Face Hub, with its settings, metrics and a model card.

    Log in before with `hf auth login`, or set HF_TOKEN.
    """
    from megalabel.hub.card import model_card
    from megalabel.hub.names import check_name
    from megalabel.hub.upload import push_to_hub
    from megalabel.storage.files import naming

    if card is None:
        text = model_card(run, check_name(name), license=license)
    else:
        with naming(card):
            content = card.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8 ({error.reason} at byte {error.start:,})",
                wanted="a model card in UTF-8",
                next_step="convert the file to UTF-8",
                where=card,
            ) from error
    if dry_run:
        typer.echo(text)
        return
    commit = push_to_hub(run, name, private=private, revision=revision, message=message, card=text)
    typer.echo(f"uploaded as {name}, commit {commit}")


def pull(
    name: Name,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The new folder of the model.")],
    revision: Revision = None,
) -> None:
    """Download a model from the Hugging Face Hub into a folder, and check it; no code of it is executed."""
    from megalabel.hub.download import copy_to

    commit = copy_to(name, out, revision=revision)
    typer.echo(f"{name}, commit {commit}, is in {out}; next: megalabel predict {out} TEXTS")
