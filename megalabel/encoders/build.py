"""An encoder from its name: the bag, a small transformer from scratch, or any pretrained one."""

from __future__ import annotations

from typing import Any

import torch

from megalabel.data.corpus import Corpus
from megalabel.encoders.bag import Bag, frequent_pairs, idf_weights
from megalabel.encoders.base import Encoder
from megalabel.encoders.start import start_tokenizer, start_vectors
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows
from megalabel.inputs.tokenizer import TextTokenizer, learn_tokenizer

OWN_NAMES = ("bag", "small")
TOKENIZERS = ("own", "words", "symbols")
SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
SMALL_SCALE = 0.05  # the bundled vectors, made as small as a transformer's own start


def tokenizer_for(encoder: str, tokenizer: str, data: Corpus, vocabulary: int) -> TextTokenizer | None:
    """The tokenizer of a light encoder; None for a pretrained one, which brings its own.

    "own" is the bundled word pieces; "words" and "symbols" are learnt from the training and label texts.
    """
    if tokenizer not in TOKENIZERS:
        raise SettingError(
            f"tokenizer = {tokenizer!r}", wanted=", ".join(TOKENIZERS), next_step="name one of these"
        )
    if encoder not in OWN_NAMES:
        if tokenizer != "own":
            raise SettingError(
                f"tokenizer = {tokenizer!r} for the pretrained encoder {encoder!r}",
                wanted="its own tokenizer",
                next_step="leave the tokenizer out, or take the encoder bag or small",
            )
        return None
    if tokenizer == "own":
        return start_tokenizer()
    return learn_tokenizer(
        (t for texts in (data.train.texts, data.label_texts) for t in texts), vocabulary, tokenizer
    )


def bag(
    tokenizer: TextTokenizer, rows: Rows, *, learnt: bool, pairs: int = 0, dim: int = 256, **arguments: Any
) -> Encoder:
    """A bag over the tokens of `rows`, weighted by idf.

    learnt: whether the tokenizer was learnt, so that the vectors start at random, of width `dim`; else they
    are the bundled ones. pairs: give neighbours that occur in so many rows a vector of their own; 0 for none.
    """
    n = tokenizer.vocabulary_size
    known = frequent_pairs(rows, n, pairs) if pairs else None
    vectors = None if learnt else start_vectors()
    weights = idf_weights(rows, n, known)
    return Bag(tokenizer, vectors=vectors, dim=dim, pairs=known, weights=weights, **arguments)


def small(tokenizer: TextTokenizer, *, learnt: bool, max_length: int, **arguments: Any) -> Encoder:
    """A transformer of 2 layers of 128 from scratch.

    learnt: whether the tokenizer was learnt, so that token vectors start at random; else from the bundled ones.
    """
    config = {
        "model_type": "bert",
        "vocab_size": tokenizer.vocabulary_size,
        "max_position_embeddings": max(max_length, 8),
        "pad_token_id": tokenizer.pad_id,
        **SMALL,
    }
    encoder = Transformer.untrained(config, tokenizer, norm=True, sparse=True, **arguments)
    if not learnt:
        table: Any = encoder.model.get_input_embeddings()  # type: ignore[operator]
        with torch.no_grad():
            table.weight.copy_(start_vectors()[:, : SMALL["hidden_size"]] * SMALL_SCALE)
    return encoder
