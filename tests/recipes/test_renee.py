"""Renée: bad options are refused before anything long begins; how it trains is in tests/training."""

import pytest
from planted import planted

from megalabel.errors import SettingError
from megalabel.recipes.renee import renee


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"head_optimizer": "lamb"}, "head_optimizer"),
        ({"frozen": True}, "frozen"),
        ({"tokenizer": "letters"}, "tokenizer"),
        ({"precision": "int8"}, "precision"),
        ({"warmup": 5000}, "warmup"),
        ({"validation_fraction": 0.0, "selection_metric": "P@7x"}, "selection_metric"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_long_begins(bad, where, nothing_long):
    with pytest.raises(SettingError) as refused:
        renee(planted(), **{"encoder": "bag", "epochs": 1, "batch_size": 64, "warmup": 0.1, **bad})
    assert refused.value.where == where


def test_a_frozen_encoder_drops_nothing_inside(tiny_bert):
    more = {"frozen": True, "dropout": 0.3, "token_dropout": 0.2, "sparse_embedding_updates": True}
    text = renee(planted(), encoder=str(tiny_bert), epochs=1, warmup=0.1, max_length=16, **more).encoder
    inside = text.inside
    assert (inside.dropout.p, inside.token_dropout, inside.sparse) == (0, 0, False)
    assert text.dropout.p == 0.3
