"""The wiring that the neural recipes share: widths and steps known beforehand, rows, renamed errors."""

import numpy as np
import pytest
from planted import planted

from megalabel.data.corpus import Corpus
from megalabel.errors import SettingError
from megalabel.inputs.batches import Batches
from megalabel.recipes import get, names, shared
from megalabel.recipes.options import NeuralOptions
from megalabel.training.optim.lazy_adam import LazyAdam

WAYS = dict(vocabulary=500, max_length=16, token_dropout=0.1, hidden_dim=8, batch_size=32, epochs=1)


def made(encoder, data, kept, **more):
    options = NeuralOptions(encoder=encoder, **{**WAYS, **more})
    return options, shared.text_side(data, kept, options, bag={}, transformer={}, dropout=0.2)


def test_it_is_no_recipe():
    assert "shared" not in names()
    with pytest.raises(SettingError) as refused:
        get("shared")
    assert refused.value.where == "recipe"


@pytest.mark.parametrize("encoder", shared.WIDTHS)
@pytest.mark.parametrize("tokenizer", ["wordpiece", "words"])
def test_widths_known_beforehand_are_those_of_the_encoders(encoder, tokenizer):
    options, side = made(encoder, planted(), np.arange(0, 400, 2), tokenizer=tokenizer)
    assert side.encoder.dim == shared.WIDTHS[encoder]
    assert len(side.rows) == 200
    assert (side.encoder.dropout.p, side.encoder.token_dropout) == (0.2, 0.1)
    assert isinstance(shared.encoder_optimizer(side.encoder, options), LazyAdam) == (encoder == "bag")


def test_a_pretrained_encoder_brings_its_tokenizer(tiny_bert):
    data = planted()
    _, side = made(str(tiny_bert), data, np.arange(10))
    (expected,) = side.encoder.tokenizer.encode(data.train.texts[3:4], 16)
    assert side.rows.tokens(np.array([3]))[0].tolist() == list(expected)
    with pytest.raises(SettingError):
        made(str(tiny_bert), data, np.arange(10), tokenizer="words")


@pytest.mark.parametrize("label_texts", ["no", "yes"])
@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_steps_counted_beforehand_are_those_of_the_batches(label_texts, size):
    data = Corpus.of(["a b", "b", "c", "d"], [[0], [1], [2], [0]], ["a", " ", "", "d e"], name="blanks")
    kept = np.array([0, 2, 3])
    more = {"tokenizer": "words", "label_texts": label_texts, "batch_size": size, "epochs": 7}
    options, side = made("bag", data, kept, **more)
    batches = Batches(side.rows, size, 7)
    assert len(side.rows) == (5 if label_texts == "yes" else 3)
    assert shared.planned_steps(data, kept, options) == (batches.per_epoch, batches.steps)
    assert side.batches.steps == batches.steps


def test_steps_of_no_rows_are_refused():
    with pytest.raises(SettingError):
        shared.planned_steps(planted(), np.zeros(0, np.int64), NeuralOptions())


def test_errors_about_a_part_are_renamed_to_the_option():
    given = {"wanted": "less", "next_step": "lower it"}
    with pytest.raises(SettingError) as refused, shared.renamed_errors(rate="head_lr"):
        raise SettingError("rate = 3: too fast", where="rate", **given)
    assert refused.value.where == "head_lr"
    assert refused.value.found == "head_lr = 3: too fast"
    other = SettingError("size = 3", where="size", **given)
    with pytest.raises(SettingError) as refused, shared.renamed_errors(rate="head_lr"):
        raise other
    assert refused.value is other
