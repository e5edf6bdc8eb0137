"""Pretrained encoders of recipes, and how they pool the tokens of a text."""

from __future__ import annotations

from typing import Any

from megalabel.encoders.readout import Readout
from megalabel.encoders.transformer import Transformer
from megalabel.recipes.options import EncoderTrainingOptions, LastLayersOptions, PoolingOptions


def pretrained(options: EncoderTrainingOptions, transformer: dict[str, Any], *, frozen: bool) -> Transformer:
    """The encoder that a recipe starts from, by its name.

    Args:
        options: the options of the recipe.
        transformer: arguments of `Transformer` that the recipe sets.
        frozen: whether the encoder is not trained; it then has no sparse updates.

    Raises:
        SettingError: as `Transformer.pretrained`.
    """
    # Recipes without the option read the mean, unless a folder of sentence-transformers says otherwise.
    own = options.pooling == "own" if isinstance(options, PoolingOptions) else None
    sparse = options.sparse_embedding_updates and not frozen
    more: dict[str, Any] = {
        "sparse": sparse, "weights": options.encoder_weights, "own_pooling": own, "prompt": options.prompt,
    }  # fmt: skip
    return Transformer.pretrained(options.encoder, **more, **transformer)


def last_layers_readout(options: LastLayersOptions) -> Readout:
    """As wide a readout as the last layers give; which they are is known once the encoder is loaded."""
    return Readout((1.0,) * options.last_layers, options.readout_pooling)
