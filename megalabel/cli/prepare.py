"""`megalabel prepare`: the tokens of a data set, made once beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from megalabel.encoders.build import tokenizer_for
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.inputs.token_store import TokenStore, check_texts, prepared_folder
from megalabel.recipes import get
from megalabel.recipes.presets import find

RECIPE = "renee"  # whose defaults and presets decide what is not given


def prepare(data: Any, given: dict[str, Any], again: bool, say: Callable[[str], Any]) -> None:
    """Tokenises training and label texts as training with the same options would.

    given: any of encoder, tokenizer, vocabulary and max_length. Stale tokens that are there are refused unless
    `again`.
    """
    check_texts(data.train, data)
    defaults = {name: p.default for name, p in inspect.signature(get(RECIPE)).parameters.items()}
    preset = find(RECIPE, data.name, given.get("encoder"))
    values = {**defaults, **(preset.arguments if preset else {}), **given}
    encoder, max_length = values["encoder"], values["max_length"]
    words = tokenizer_for(encoder, values["tokenizer"], data, values["vocabulary"])
    words = words or Transformer.pretrained(encoder).tokenizer
    for side, texts in (("trn", data.train.texts), ("lbl", data.label_texts)):
        folder = prepared_folder(data, side, words, max_length)
        if folder is None:
            raise SettingError(
                f"{data.name} has no folder of its own to write to",
                wanted="a data set in a folder",
                next_step="train on it directly; tokens are made on the fly",
            )
        make = TokenStore.build if again else TokenStore.open_or_build
        store = make(texts, words, max_length, folder)
        say(f"{folder}: {len(store):,} texts, {len(store.ids):,} tokens, {store.manifest['dtype']}")
