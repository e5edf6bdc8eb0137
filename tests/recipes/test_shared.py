"""What the recipes share: widths and steps that are known beforehand, the encoder's rows, knobs in messages."""

import numpy as np
import pytest
from planted import planted

from megalabel.data.corpus import Corpus
from megalabel.errors import SettingError
from megalabel.inputs.batches import Batches
from megalabel.recipes import get, names, shared
from megalabel.training.optim.lazy_adam import LazyAdam

WAYS = dict(vocabulary=500, max_length=16, sparse_tokens=False, dropout=0.2, token_dropout=0.1)


def made(encoder, data, kept, tokenizer="own", label_texts=False):
    more = {"tokenizer": tokenizer, "label_texts": label_texts, "of_bag": {"hidden": 8}, "of_transformer": {}}
    return shared.text_encoder(encoder, data, kept, **WAYS, **more)


def test_it_is_no_recipe():
    assert "shared" not in names()
    with pytest.raises(SettingError, match="recipe 'shared'"):
        get("shared")


@pytest.mark.parametrize("encoder", shared.WIDTHS)
@pytest.mark.parametrize("tokenizer", ["own", "words"])
def test_widths_known_beforehand_are_those_of_the_encoders(encoder, tokenizer):
    text, rows = made(encoder, planted(), np.arange(0, 400, 2), tokenizer)
    assert text.dim == shared.WIDTHS[encoder]
    assert len(rows) == 200
    assert (text.dropout.p, text.token_dropout) == (0.2, 0.1)
    optimizer = shared.encoder_optimizer(text, 0.01, 0.1)
    assert isinstance(optimizer, LazyAdam) == (encoder == "bag")


def test_a_pretrained_encoder_brings_its_tokenizer(tiny_bert):
    data = planted()
    text, rows = made(str(tiny_bert), data, np.arange(10))
    (expected,) = text.tokenizer.encode(data.train.texts[3:4], 16)
    assert rows.tokens(np.array([3]))[0].tolist() == list(expected)
    assert str(tiny_bert) not in shared.WIDTHS
    with pytest.raises(SettingError, match="its own tokenizer"):
        made(str(tiny_bert), data, np.arange(10), "words")


@pytest.mark.parametrize("label_texts", [False, True])
@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_steps_counted_beforehand_are_those_of_the_batches(label_texts, size):
    data = Corpus.of(["a b", "b", "c", "d"], [[0], [1], [2], [0]], ["a", " ", "", "d e"], name="blanks")
    kept = np.array([0, 2, 3])
    _, rows = made("bag", data, kept, "words", label_texts)
    batches = Batches(rows, size, 7)
    assert len(rows) == (5 if label_texts else 3)
    assert shared.planned_steps(data, kept, label_texts, size, 7) == (batches.per_epoch, batches.steps)


def test_no_rows_are_told_when_steps_are_counted():
    with pytest.raises(SettingError, match="no training rows"):
        shared.planned_steps(planted(), np.zeros(0, np.int64), False, 8, 1)


def test_only_a_bag_refuses_to_be_told_of_layers():
    with pytest.raises(SettingError, match="layers for the encoder bag"):
        shared.check_reads("bag", pool=False, layers=True)
    assert shared.check_reads("bag", pool=False, layers=False) is None
    assert shared.check_reads("small", pool=True, layers=True) is None


def test_what_is_refused_bears_the_recipes_name():
    given = {"wanted": "less", "next_step": "lower it"}
    with pytest.raises(SettingError) as told, shared.in_the_words_of(rate="head_lr"):
        raise SettingError("rate = 3: too fast", where="rate", **given)
    assert str(told.value) == "head_lr = 3: too fast; expected less. Lower it."
    other = SettingError("size = 3", where="size", **given)
    with pytest.raises(SettingError) as told, shared.in_the_words_of(rate="head_lr"):
        raise other
    assert told.value is other
