"""The search over label names, compared with one that looks at every name."""

from __future__ import annotations

import random

import numpy as np
import pytest

from megalabel.serving.label_lookup import LabelLookup
from megalabel.serving.label_search import LabelSearch, fold

NAMES = [
    "musical instrument", "stringed instrument", "Musical box", "music", "Café au lait", "cafe", "C++", "c", "",
    "straße", "STRASSE 5", "new-york_city", "a b a b", "日本語 text", "instrumental", "music", "ﬁne arts", "x\ny",
    "a very long name that has more than twenty-four bytes", "a very long name that has more than twenty words",
]  # fmt: skip
COUNTS = np.array([5, 9, 2, 7, 1, 3, 4, 4, 50, 1, 2, 1, 1, 1, 8, 6, 1, 1, 2, 3])


def slow_search(names, counts, query, limit):
    """What `LabelSearch.search` promises, name by name."""
    wanted = fold(query).split()
    order = sorted(range(len(names)), key=lambda i: (-counts[i], i))
    if not wanted:
        return order[:limit]
    phrase, groups = " ".join(wanted), ([], [], [], [])
    for i in order:
        name = " ".join(fold(names[i].replace("\n", " ")).split())
        words = name.split()
        starts = [name[at:] for at in range(len(name)) if at == 0 or name[at - 1] == " "]
        if name == phrase:
            groups[0].append(i)
        elif name.startswith(phrase):
            groups[1].append(i)
        elif any(start.startswith(phrase) for start in starts):
            groups[2].append(i)
        elif all(any(word.startswith(one) for word in words) for one in wanted):
            groups[3].append(i)
    return [i for group in groups for i in group][:limit]


@pytest.mark.parametrize(
    "query",
    ["", "mus", "music", "instr", "cafe", "CAFÉ", "c", "strasse", "york", "b a", "instrument mus", "日本", "fine",
     "zzz", "   ", "a very long name that has more than twenty-f", "y x", "+++", "\ud800", "a\nb"],
)  # fmt: skip
def test_a_search_finds_labels_by_the_beginnings_of_their_words(query):
    assert LabelSearch(NAMES, COUNTS).search(query, 5) == slow_search(NAMES, COUNTS, query, 5)


def test_a_search_finds_the_same_as_one_through_all_names():
    draw = random.Random(3)
    parts = ["ab", "abc", "b", "bcd", "é", "cd", "ef" * 9]
    names = [" ".join(draw.choices(parts, k=draw.randint(1, 4))) for _ in range(200)]
    counts = np.array([draw.randint(0, 3) for _ in names])
    search = LabelSearch(names, counts)
    for _ in range(100):
        query = " ".join(draw.choices(parts, k=draw.randint(1, 3)))[: draw.randint(1, 30)]
        assert search.search(query, 10) == slow_search(names, counts, query, 10), query


def test_names_are_looked_up_exactly_and_each_of_several_labels_with_a_name_is_found():
    lookup = LabelLookup(NAMES)
    assert lookup.ids("music") == [3, 15]
    assert lookup.ids("Music") == []
    assert lookup.all_ids(["c", "C++", "no", ""]) == ([7, 6, 8], ["no"])


def test_names_without_labels_or_words_are_no_error():
    assert LabelSearch([]).search("a", 3) == []
    assert LabelSearch(["+++", "---"]).search("+", 3) == [0, 1]
