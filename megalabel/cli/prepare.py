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
from megalabel.training.recipe import RecipeFunction

WITH_TOKENS = ("renee", "cascadexml", "spartex", "lightxml", "dexml", "ngame")
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="RECIPE",
        help="Recipe whose preset is used; default: the first with a preset for the data set.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing tokens.")]


class Tokens(TokenOptions):
    """The options of the tokens; what is not given is decided by the presets and defaults of a recipe."""

    encoder = Renee.declared["encoder"].default
    max_length = Renee.declared["max_length"].default


def running(recipe: RecipeName = None, overwrite: Overwrite = False) -> None:
    """The options of the command beside those of the texts."""


def tokenize(
    data: str, values: dict[str, Any], *, opened: dict[str, Any], recipe: str | None, overwrite: bool
) -> None:
    """Tokenizes training and label texts as training of the recipe with the same options would.

    Tokens that are there and stale are refused unless `overwrite` is set.
    """
    from megalabel.encoders.build import tokenizer_for
    from megalabel.encoders.transformer import Transformer
    from megalabel.inputs.needs_texts import check_texts
    from megalabel.inputs.token_store import TokenStore, prepared_folder
    from megalabel.recipes import get
    from megalabel.recipes.presets import resolve
    from megalabel.recipes.run_encoder import is_run, load_run_encoder
    from megalabel.recipes.shared import tokens_read
    from megalabel.training.options import check_names

    corpus = open_data(data, opened)
    check_texts(corpus.train, corpus)
    function = recipe_for(corpus.name, values.get("encoder")) if recipe is None else get(recipe)
    if "encoder" not in function.options.declared:
        raise SettingError(
            f"the recipe {function.address} reads no tokens",
            wanted=f"one of {', '.join(WITH_TOKENS)}",
            next_step="train it directly: it makes its features itself",
            where="recipe",
        )
    check_names(Tokens.declared, function.options.declared, f"the recipe {function.address}")
    resolved = resolve(function, corpus.name, values)
    options: Any = resolved.options
    source = f"preset for {', '.join(resolved.preset.sets)}" if resolved.preset else "its defaults"
    if is_run(options.encoder):
        tokenizer = load_run_encoder(options.encoder, prompt=options.prompt).tokenizer
    else:
        learned = tokenizer_for(options.encoder, options.tokenizer, corpus, options.vocabulary)
        tokenizer = learned or Transformer.pretrained(options.encoder, prompt=options.prompt).tokenizer
    length = tokens_read(corpus, options, tokenizer)
    typer.echo(f"{function.name} ({source}): encoder {options.encoder}, {length} tokens of each text", err=True)
    for side, texts in (("trn", corpus.train.texts), ("lbl", corpus.label_texts)):
        folder: Path | None = prepared_folder(corpus, side, tokenizer, length)
        if folder is None:
            raise SettingError(
                f"{corpus.name} has no folder of its own to write to",
                wanted="a data set in a folder",
                next_step="train on it directly; tokens are made on the fly",
            )
        make = TokenStore.build if overwrite else TokenStore.open_or_build
        store = make(texts, tokenizer, length, folder)
        typer.echo(f"{folder}: {len(store):,} texts, {len(store.ids):,} tokens, {store.manifest['dtype']}")


def recipe_for(data_name: str, encoder: str | None) -> RecipeFunction[Any, Any]:
    """The first of the papers' recipes that has a preset for a data set of this name; renee where none has."""
    from megalabel.recipes import get
    from megalabel.recipes.presets import ANY, find

    for name in WITH_TOKENS:
        preset = find(get(name), data_name, encoder)
        if preset is not None and ANY not in preset.sets:
            return get(name)
    return renee


prepare: Any = command_of(
    Tokens,
    "Tokenize a data set once for several runs; options that are not given are taken from the preset.",
    running,
    tokenize,
)
prepare.__name__ = "prepare"
