"""The options of the recipe chunked: how long texts are cut, and how the scores of chunks are pooled."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from megalabel.recipes.options import Count, Options, Size, Unset, conflict


class Chunked(Options):
    """The options of the recipe chunked."""

    panel = "Chunks"
    on_any_run: ClassVar[bool] = True  # not only on runs with an encoder

    run: Annotated[str, "The folder of a finished run, with held-out texts unless other data are named."]
    chunk_words: Annotated[
        tuple[Count, ...], Unset("by the lengths of the texts"), "Words per chunk; of several, the best is chosen."
    ] = ()
    chunk_tokens: Annotated[
        tuple[Count, ...],
        Unset("by the lengths of the texts"),
        "Tokens per chunk instead, for a run with an encoder.",
    ] = ()
    chunk_overlap: Annotated[Size, "Words or tokens that neighboring chunks share."] = 0
    chunk_pooling: Annotated[
        Literal["auto", "max", "mean", "softmax"], "How the scores of chunks are pooled; auto: by held-out texts."
    ] = "auto"
    max_chunks: Annotated[Size, "Chunks per text, evenly spaced in longer ones; 0: any number."] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk_words and self.chunk_tokens:
            raise conflict("chunk_tokens", "chunk_words and chunk_tokens", "one of the two")
        smallest = min((*self.chunk_words, *self.chunk_tokens), default=self.chunk_overlap + 1)
        if self.chunk_overlap >= smallest:
            found = f"chunk_overlap = {self.chunk_overlap} of chunks of {smallest}"
            raise conflict("chunk_overlap", found, f"less than {smallest}")

    @property
    def given(self) -> bool:
        """Whether the options say how texts are cut and pooled, so that nothing is chosen."""
        return len((*self.chunk_words, *self.chunk_tokens)) == 1 and self.chunk_pooling != "auto"
