"""Renée's page: what cannot be is told before anything long begins; how it trains is in tests/training."""

import pytest
from planted import planted

from megalabel.errors import SettingError
from megalabel.recipes.renee import renee


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"head_optimizer": "lamb"}, "head_optimizer = 'lamb'"),
        ({"frozen": True}, "frozen = True with the encoder 'bag'"),
        ({"tokenizer": "letters"}, "tokenizer = 'letters'"),
        ({"warmup": 5000}, "warmup = 5000 is 5000 of 7 steps"),
        ({"precision": "int8"}, "precision = 'int8'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_anything_long_begins(bad, words, nothing_long):
    with pytest.raises(SettingError, match=words):
        renee(planted(), **{"encoder": "bag", "epochs": 1, "batch_size": 64, "warmup": 0.1, **bad})


def test_a_frozen_encoder_drops_nothing_inside(tiny_bert):
    more = {"frozen": True, "dropout": 0.3, "token_dropout": 0.2, "sparse_tokens": True}
    text = renee(planted(), encoder=str(tiny_bert), epochs=1, warmup=0.1, max_length=16, **more).encoder
    inside = text.inside
    assert (inside.dropout.p, inside.token_dropout, inside.sparse) == (0, 0, False)
    assert text.dropout.p == 0.3
