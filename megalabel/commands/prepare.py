"""`megalabel prepare`: the tokens of a data set, made once beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from megalabel.data.tokenize import TokenStore, check_texts, prepared_folder
from megalabel.encoders.build import tokenizer_for
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError


def prepare(
    data: Any,
    encoder: str,
    tokenizer: str,
    vocabulary: int,
    max_length: int,
    again: bool,
    say: Callable[[str], Any],
) -> None:
    """Tokenises training and label texts; refuses stale tokens that are there unless `again`."""
    check_texts(data.train, data)
    words = tokenizer_for(encoder, tokenizer, data, vocabulary) or Transformer.pretrained(encoder).tokenizer
    for side, texts in (("trn", data.train.texts), ("lbl", data.label_texts)):
        folder = prepared_folder(data, side, max_length)
        if folder is None:
            raise SettingError(
                f"{data.name} has no folder of its own to write to",
                wanted="a data set in a folder",
                next_step="train on it directly; tokens are made on the fly",
            )
        make = TokenStore.build if again else TokenStore.of
        store = make(texts, words, max_length, folder)
        say(f"{folder}: {len(store):,} texts, {len(store.ids):,} tokens, {store.manifest['dtype']}")
