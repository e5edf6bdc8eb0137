"""Options of commands that read long texts in chunks with any model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.inference.record import Say
    from megalabel.models.base import Classifier

PANEL = "Chunks"

ChunkWords = Annotated[
    int | None,
    typer.Option(metavar="INT", help="Cut longer texts into chunks of this many words.", rich_help_panel=PANEL),
]
ChunkTokens = Annotated[
    int | None,
    typer.Option(
        metavar="INT", help="Cut into chunks of this many tokens of the model's encoder.", rich_help_panel=PANEL
    ),
]
ChunkOverlap = Annotated[
    int | None,
    typer.Option(
        metavar="INT", help="Words or tokens that neighboring chunks share; default: 0.", rich_help_panel=PANEL
    ),
]
ChunkPooling = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How the scores of chunks are pooled: max, mean or softmax; default: mean.",
        rich_help_panel=PANEL,
    ),
]
MaxChunks = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        help="Chunks per text, evenly spaced in longer ones; 0, the default: any number.",
        rich_help_panel=PANEL,
    ),
]


def in_chunks(
    model: Classifier | None,
    words: int | None,
    tokens: int | None,
    overlap: int | None,
    pooling: str | None,
    most: int | None,
    *,
    say: Say,
) -> Classifier | None:
    """The model over chunks as the options of a command say; the model itself where they say nothing.

    A model that reads chunks already takes those of its values that are not given from itself.

    Raises:
        SettingError: stored predictions (None), both units, options for chunks without a size, or values that
            do not fit the model.
    """
    from megalabel.inputs.chunks import Chunking
    from megalabel.models.chunked import ChunkedClassifier
    from megalabel.recipes.shared import renamed_errors

    known = model if isinstance(model, ChunkedClassifier) else None
    if known is not None:
        known.say = say
    if all(value is None for value in (words, tokens, overlap, pooling, most)):
        return model
    if model is None:
        raise SettingError("stored predictions", wanted="a run for options of chunks", where="run")
    if words is not None and tokens is not None:
        raise SettingError("--chunk-words and --chunk-tokens", wanted="one of the two", where="chunk_tokens")
    if words is None and tokens is None and known is None:
        raise SettingError(
            "options for chunks without their size",
            wanted="the number of words or tokens of a chunk",
            next_step="give --chunk-words, such as --chunk-words 200",
            where="chunk_words",
        )
    values: dict[str, Any] = {"overlap": overlap, "max_chunks": most}
    given = {name: value for name, value in values.items() if value is not None}
    if words is not None or tokens is not None:
        given |= {"size": tokens if words is None else words, "unit": "tokens" if words is None else "words"}
    with renamed_errors(size="chunk_words" if tokens is None else "chunk_tokens", overlap="chunk_overlap"):
        chunking = Chunking(**given) if known is None else replace(known.chunking, **given)
    base = model if known is None else known.base_model
    made = ChunkedClassifier(base, chunking, pooling or ("mean" if known is None else known.pooling))  # type: ignore[arg-type]
    made.say = say
    return made
