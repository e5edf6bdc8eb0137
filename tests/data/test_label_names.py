"""Label names that differ in nothing a reader sees are said, in training as well."""

import pytest
from support.read_back import put, read

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.data.label_names import near_equal
from megalabel.data.texts import Texts


@pytest.mark.parametrize(
    "a, b, how",
    [
        ("x ", "x", "blanks"),
        ("big  cat", "big cat", "blanks"),
        ("big\u00a0cat", "big cat", "blanks"),
        ("Cat", "cat", "upper and lower case"),
        ("caf\u00e9", "cafe\u0301", "their Unicode form"),
        ("ﬁsh", "fish", "Unicode form"),
        ("Ｃat", "cat", "Unicode form"),
        ("c\u200bat", "cat", "invisible characters"),
        ("STRASSE", "straße", "case"),
    ],
)
def test_near_equal_names(tmp_path, a, b, how):
    path = put(tmp_path, train__csv=f'text,labels\na,"[""{a}""]"\nb,"[""{b}""]"\n')
    _, labels, notes = read(path)
    assert labels == [[a], [b]]  # they stay two labels
    assert len(notes) == 1 and how in notes[0] and repr(a) in notes[0]
    assert [f.message for f in check(path).findings if f.severity == "warning"] == notes


@pytest.mark.parametrize(
    "names", [["a", "b"], ["résumé", "resume"], ["", " "], ["x", "x"], ["c++", "c"], ["été", "ete"]]
)
def test_names_that_differ(names):
    assert near_equal(Texts.from_strings(names)) == []


def test_all_pairs_are_counted_and_the_first_is_named():
    corpus = Corpus.of(["t"] * 6, [["b"], ["A"], ["a"], ["B"], ["a "], ["c"]])
    assert near_equal(corpus.label_texts) == [(0, 3), (1, 2), (1, 4)]
    assert [(f.count, f.message[:21]) for f in corpus.findings] == [(3, "labels 0 and 3 ('b' a")]


@pytest.mark.parametrize(
    "name, said",
    [("Cat ", "which has 'cat'"), ("dog;cat", "between `;`"), ("dog, Cat", "between `,`"), ("owl", "")],
)
def test_test_labels_in_another_writing(tmp_path, name, said):
    put(tmp_path, train__jsonl='{"text":"a","labels":["cat","dog"]}\n')
    put(tmp_path, test__jsonl=f'{{"text":"a","labels":["{name}"]}}\n')
    notes = read(tmp_path)[2]
    assert [said in note and repr(name) in note for note in notes] == ([True] if said else [])


def test_names_with_half_a_surrogate_pair_are_refused(tmp_path):
    from support.trap_files import refused

    put(tmp_path, train__jsonl='{"text":"a","labels":["x"]}\n{"text":"b","labels":["\\udc00"]}\n')
    refused(tmp_path, "train.jsonl, line 2", "the label name holds half of a surrogate pair (U+DC00)")
