"""Makes an encoder from its name: a bag, a small transformer from scratch, or a pretrained transformer."""

from __future__ import annotations

from typing import Any

import torch

from megalabel.data.corpus import Corpus
from megalabel.encoders.bag import SCALE, Bag, frequent_bigrams, idf_weights
from megalabel.encoders.base import Encoder
from megalabel.encoders.start import start_tokenizer, start_vectors
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows
from megalabel.inputs.coverage import covering
from megalabel.inputs.tokenizer import TextTokenizer, learn_tokenizer

OWN_NAMES = ("bag", "small")
TOKENIZERS = ("wordpiece", "words", "symbols")
SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
SMALL_SCALE = 0.05  # scales the bundled vectors to the usual size of initial transformer weights


def tokenizer_for(encoder: str, tokenizer: str, data: Corpus, vocabulary: int) -> TextTokenizer | None:
    """The tokenizer of a light encoder; None for a pretrained one, which has its own tokenizer.

    Args:
        encoder: the name of the encoder.
        tokenizer: "wordpiece" for the bundled tokenizer, with further word pieces learned from the training and
            label texts where it does not cover their script; "words" or "symbols" for one that is learned from
            these texts alone.
        data: the corpus.
        vocabulary: the maximum number of learned tokens.

    Raises:
        SettingError: the tokenizer is unknown, or given for a pretrained encoder.
    """
    if tokenizer not in TOKENIZERS:
        raise SettingError.choice("tokenizer", tokenizer, TOKENIZERS)
    if encoder not in OWN_NAMES:
        if tokenizer != "wordpiece":
            raise SettingError(
                f"tokenizer = {tokenizer!r} for the pretrained encoder {encoder!r}",
                wanted="its own tokenizer",
                next_step="leave the tokenizer out, or choose the encoder bag or small",
            )
        return None
    if tokenizer == "wordpiece":
        return covering(start_tokenizer(), (data.train.texts, data.label_texts), vocabulary)
    return learn_tokenizer(
        (t for texts in (data.train.texts, data.label_texts) for t in texts), vocabulary, tokenizer
    )


def bag(
    tokenizer: TextTokenizer,
    rows: Rows,
    *,
    learned: bool,
    bigram_min_count: int = 0,
    dim: int = 256,
    **arguments: Any,
) -> Encoder:
    """Makes a bag encoder whose tokens are weighted by the idf in `rows`.

    Args:
        tokenizer: the tokenizer.
        rows: the training rows.
        learned: whether the tokenizer was learned, so that the vectors are random with width `dim`; else the
            bundled vectors are used, and random ones for word pieces beyond them.
        bigram_min_count: the number of rows in which a bigram must occur to have a vector of its own; 0 for no
            bigrams.
        dim: the width of random vectors.
        arguments: further arguments of `Bag`.
    """
    n = tokenizer.vocabulary_size
    known = frequent_bigrams(rows, n, bigram_min_count) if bigram_min_count else None
    vectors = None if learned else vectors_for(n)
    weights = idf_weights(rows, n, known)
    return Bag(tokenizer, vectors=vectors, dim=dim, bigrams=known, weights=weights, **arguments)


def small(tokenizer: TextTokenizer, *, learned: bool, max_length: int, **arguments: Any) -> Encoder:
    """Makes a transformer with 2 layers of width 128 from scratch.

    Args:
        tokenizer: the tokenizer.
        learned: whether the tokenizer was learned, so that the token vectors are random; else they are made from
            the bundled vectors.
        max_length: the maximum number of tokens per text.
        arguments: further arguments of `Transformer`.
    """
    config = {
        "model_type": "bert",
        "vocab_size": tokenizer.vocabulary_size,
        "max_position_embeddings": max(max_length, 8),
        "pad_token_id": tokenizer.pad_id,
        **SMALL,
    }
    encoder = Transformer.untrained(config, tokenizer, norm=True, sparse=True, **arguments)
    if not learned:
        table: Any = encoder.model.get_input_embeddings()  # type: ignore[operator]
        with torch.no_grad():
            table.weight.copy_(vectors_for(len(table.weight))[:, : SMALL["hidden_size"]] * SMALL_SCALE)
    return encoder


def vectors_for(n: int) -> torch.Tensor:
    """The bundled vectors, followed by random ones of the same standard deviation: (n, 256) float32."""
    vectors = start_vectors()
    return torch.cat([vectors, torch.randn(n - len(vectors), vectors.shape[1]) * SCALE])
