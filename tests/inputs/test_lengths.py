"""How many tokens texts have, which are unknown, and how many are read."""

import numpy as np
import pytest

from megalabel.data.corpus import Corpus
from megalabel.encoders.start import start_tokenizer
from megalabel.inputs.lengths import STEP, TokenCounts
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.recipes import from_preset
from megalabel.training.notes import text_notes


def counts(lengths):
    return TokenCounts.of(start_tokenizer(), [" ".join(["word"] * n) for n in lengths])


def test_lengths_are_counted_without_cutting():
    assert counts([3, 700, 0]).lengths.tolist() == [3, 700, 0]


def test_many_texts_are_sampled_evenly():
    found = counts([1] * 5000 + [9] * 5000)
    assert len(found.lengths) <= 2000
    assert abs(found.lengths.mean() - 5) < 0.1


@pytest.mark.parametrize(
    ("lengths", "most", "wanted"),
    [
        ([5, 9], 512, STEP),
        ([STEP + 1] * 9, 512, 2 * STEP),
        ([1000] * 9, 512, 512),
        ([], 512, STEP),
        ([10] * 999 + [900], 512, 512),
    ],
)
def test_a_fitting_length_reads_nearly_all_tokens(lengths, most, wanted):
    found = counts(lengths)
    assert found.fitting(most) == wanted
    total = max(int(found.lengths.sum()), 1)
    if wanted < most:
        assert np.minimum(found.lengths, wanted).sum() >= 0.99 * total or not lengths


def test_cut_texts_and_unknown_tokens_are_told_with_their_shares():
    assert counts([10, 10, 100, 100]).notes(64) == [
        "max_length: 50% of the texts have more than 64 tokens; 33% of all tokens are not read"
    ]
    assert counts([10, 20]).notes(64) == []
    known = learn_tokenizer(["red wine"], 100)
    notes = TokenCounts.of(known, ["red แมว", "wine 猫 пиво"]).notes(10)
    assert len(notes) == 1
    assert notes[0].startswith("tokens: 60% are unknown to the tokenizer (")


def test_the_texts_of_a_data_set_are_counted_once(monkeypatch):
    """The length is chosen by the counts, and the note is made of them; other texts are counted anew."""
    calls = []
    original = TokenCounts.__dict__["_counted"].__func__
    monkeypatch.setattr(
        TokenCounts, "_counted", classmethod(lambda cls, *given: calls.append(1) or original(cls, *given))
    )
    data = Corpus.of(["red apple", "green pear"] * 20, [["a"], ["b"]] * 20)
    recipe = from_preset("renee", data, encoder="bag", max_length=0)
    text_notes(recipe)
    assert len(calls) == 1
    tokenizer = recipe.encoder.tokenizer
    assert TokenCounts.of(tokenizer, data.train.texts[:1]).lengths.shape == (1,)
    assert len(calls) == 2
    assert TokenCounts.of(tokenizer, ["red"]).lengths.shape == (1,)
    assert TokenCounts.of(tokenizer, ["red", "green"]).lengths.shape == (2,)
