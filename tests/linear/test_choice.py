"""The search over settings: what it tries, what it keeps, and what it says; on made-up scores."""

import numpy as np
import pytest

from megalabel.data.texts import Texts
from megalabel.linear.choice import Open, gains, search, share_of_signs
from megalabel.linear.trial import Setting

ALL = Open(token_pattern=True, char_ngrams=((4, 4),), bigram_weights=(1.0, 0.5, 0.0), c=True)
NOTHING = Open(token_pattern=False, char_ngrams=(), bigram_weights=(), c=False)


class Scores:
    """Scores that add up: points of each value of a setting, with some noise between texts but not settings."""

    def __init__(self, **points):
        self.points, self.asked = points, []
        self.noise = np.random.default_rng(0).normal(50, 10, 400)

    def of_beginnings(self):
        return self

    def measure(self, setting):
        self.asked.append(setting)
        return self.noise + sum(table.get(getattr(setting, name), 0) for name, table in self.points.items())


def found(free=ALL, start=None, **points):
    scores, said = Scores(**points), []
    return search(scores, start or Setting(), free, said.append), scores, said


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ({}, Setting()),
        ({"token_pattern": {"signs": 2, "symbols": 1}}, Setting(token_pattern="signs")),
        ({"token_pattern": {"signs": 2, "symbols": 3}}, Setting(token_pattern="symbols")),
        ({"char_ngrams": {(4, 4): 1}}, Setting(char_ngrams=(4, 4))),
        ({"char_ngrams": {(4, 4): 0.1}}, Setting()),  # too little for features that take time
        ({"bigram_weight": {0.5: 1}}, Setting(bigram_weight=0.5)),
        ({"bigram_weight": {0.5: 1, 0.0: 2}}, Setting(bigram_weight=0.0)),
        ({"bigram_weight": {0.5: -1, 0.0: 2}}, Setting(bigram_weight=0.0)),
        ({"c": {2.0: 1, 4.0: 2, 8.0: 1}}, Setting(c=4.0)),
        ({"c": {0.5: 1, 0.25: 2, 0.125: 3, 0.0625: 4}}, Setting(c=0.125)),
        ({"c": {2.0: -1, 4.0: 9}}, Setting()),
        ({"c": {2.0: 1, 4.0: 2, 0.5: 3}}, Setting(c=0.5)),
    ],
    ids=str,
)
def test_each_setting_is_kept_where_it_gains(points, wanted):
    assert found(**points)[0] == wanted


def test_symbols_are_tried_only_where_signs_gain():
    _, scores, _ = found(token_pattern={"symbols": 9})
    assert {setting.token_pattern for setting in scores.asked} == {"letters", "signs"}


def test_only_settings_that_need_new_features_are_compared_on_beginnings():
    scores = Scores(c={2.0: 5}, token_pattern={"signs": 3})
    beginnings = Scores(token_pattern={"signs": 1}, c={0.5: 5})
    scores.of_beginnings = lambda: beginnings
    assert search(scores, Setting(), ALL, lambda line: None) == Setting(token_pattern="signs", c=2.0)
    assert {setting.c for setting in beginnings.asked} == {1.0}
    assert {setting.token_pattern for setting in scores.asked} == {"signs"}
    assert {setting.char_ngrams for setting in scores.asked} == {None}


def test_what_is_not_open_is_not_tried():
    setting, scores, said = found(NOTHING, Setting(c=3.0), c={2.0: 9})
    assert (setting, len(scores.asked), said) == (Setting(c=3.0), 1, [])
    assert not NOTHING
    assert ALL


def test_a_line_per_decision_with_its_numbers():
    said = found(bigram_weight={0.5: 1, 0.0: -1}, char_ngrams={(4, 4): 2})[2]
    numbers = Scores().noise.mean() + np.array([0, 2, 3, 1])
    base, parts, half, none = (f"{number:.1f}" for number in numbers)
    assert said == [
        f"token pattern: letters (held-out nDCG@5 {base}; signs {base})",
        f"character n-grams: of 4 (held-out nDCG@5 {parts}; no {base})",
        f"bigrams: weight 0.5 (held-out nDCG@5 {half}; weight 1 {parts}, no {none})",
        f"c: 1 (held-out nDCG@5 {half}; 2 {half}, 0.5 {half})",
    ]


def test_a_gain_within_the_noise_is_none():
    noise = np.random.default_rng(0).normal(0, 10, 400)
    noise -= noise.mean()
    assert not gains(noise + 0.2, 1.0, 0.0)
    assert gains(noise + 0.7, 1.0, 0.0)
    assert not gains(noise + 0.7, 1.0, 0.8)
    assert not gains(np.zeros(400), 1.0, 0.0)
    assert not gains(np.ones(1), 1.0, 0.0)


@pytest.mark.parametrize(("texts", "share"), [(["ab c", "d"], 0.0), (["a + b", "=="], 3 / 5), (["", " "], 0.0)])
def test_the_share_of_signs(texts, share):
    assert share_of_signs(Texts.from_strings(texts)) == share
