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
from megalabel.inputs.coverage import LONGEST, covering
from megalabel.inputs.split_words import is_word, with_split_words
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
            label texts where it does not cover their script, and words where it splits many; "words" or "symbols"
            for one that is learned from these texts alone.
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
        texts = (data.train.texts, data.label_texts)
        return with_split_words(covering(start_tokenizer(), texts, vocabulary), texts, vocabulary)
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
    vectors = None if learned else vectors_for(tokenizer)
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
            table.weight.copy_(vectors_for(tokenizer)[:, : SMALL["hidden_size"]] * SMALL_SCALE)
    return encoder


def vectors_for(tokenizer: TextTokenizer) -> torch.Tensor:
    """The bundled vectors, followed by those of further tokens: (vocabulary, 256) float32.

    The vector of a token that the bundled tokenizer splits into n word pieces is the sum of theirs over √n, which
    gives a text of this token alone the vector that it had. Other tokens have random vectors.
    """
    vectors = start_vectors()
    known, added = len(vectors), tokenizer.vocabulary_size - len(vectors)
    if not added:
        return vectors
    start = start_tokenizer()
    random = torch.randn(added, vectors.shape[1]) * SCALE
    for i in range(added):
        token = tokenizer.tokenizer.id_to_token(known + i) or ""
        if is_word(token):
            pieces = start.encode([token], LONGEST)[0]
            random[i] = vectors[pieces].sum(0) / len(pieces) ** 0.5
    return torch.cat([vectors, random])
