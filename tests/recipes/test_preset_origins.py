"""Where the values of presets come from: what they say of docs/log.md is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from megalabel.recipes import get, names
from megalabel.recipes.presets import presets_of

LOG = (Path(__file__).parents[2] / "docs" / "log.md").read_text(encoding="utf-8")
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
CITING = [
    (name, preset.sets[0], found[1])
    for name in names()
    for preset in presets_of(get(name))
    if (found := re.search(r"the (\w+) settings in docs/log\.md", preset.origin))
]


def test_some_presets_cite_the_log() -> None:
    assert len(CITING) >= 3


@pytest.mark.parametrize(("recipe", "data_set", "number"), CITING)
def test_the_log_lists_as_many_settings_as_the_preset_says(recipe: str, data_set: str, number: str) -> None:
    section = re.search(rf"^{recipe} on {data_set}, {number} settings:\n((?:[- ] .*\n)+)", LOG, re.MULTILINE)
    assert section is not None
    assert len(re.findall(r"\d+\.\d+ / \d+\.\d+", section[1])) == NUMBERS[number]
