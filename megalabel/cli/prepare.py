"""`megalabel prepare`: the tokens of a data set, made once beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import open_data
from megalabel.cli.recipe_options import command_of
from megalabel.errors import SettingError
from megalabel.recipes.options import TokenOptions
from megalabel.recipes.renee import Renee, renee

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace tokens that were made before.")]


class Tokens(TokenOptions):
    """The options of the tokens; what is not given is decided by the presets and defaults of the recipe renee."""

    encoder = Renee.declared["encoder"].default
    max_length = Renee.declared["max_length"].default


def running(overwrite: Overwrite = False) -> None:
    """The options of the command beside those of the texts."""


def tokenize(data: str, values: dict[str, Any], *, overwrite: bool) -> None:
    """Tokenizes training and label texts as training with the same options would.

    Tokens that are there and stale are refused unless `overwrite` is set.
    """
    from megalabel.encoders.build import tokenizer_for
    from megalabel.encoders.transformer import Transformer
    from megalabel.inputs.token_store import TokenStore, check_texts, prepared_folder
    from megalabel.recipes.presets import resolve

    corpus = open_data(data)
    check_texts(corpus.train, corpus)
    options: Any = resolve(renee, corpus.name, values).options
    tokenizer = tokenizer_for(options.encoder, options.tokenizer, corpus, options.vocabulary)
    tokenizer = tokenizer or Transformer.pretrained(options.encoder).tokenizer
    for side, texts in (("trn", corpus.train.texts), ("lbl", corpus.label_texts)):
        folder: Path | None = prepared_folder(corpus, side, tokenizer, options.max_length)
        if folder is None:
            raise SettingError(
                f"{corpus.name} has no folder of its own to write to",
                wanted="a data set in a folder",
                next_step="train on it directly; tokens are made on the fly",
            )
        make = TokenStore.build if overwrite else TokenStore.open_or_build
        store = make(texts, tokenizer, options.max_length, folder)
        typer.echo(f"{folder}: {len(store):,} texts, {len(store.ids):,} tokens, {store.manifest['dtype']}")


prepare: Any = command_of(
    Tokens,
    "Tokenize a data set once, beside it, for several runs; values that are not given are those of the preset.",
    running,
    tokenize,
)
prepare.__name__ = "prepare"
