"""Taxonomies: several parents, cycles, ancestors, labels that are removed or merged, and their plain file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from megalabel.data.findings import Findings
from megalabel.data.metadata_files import taxonomy_in
from megalabel.data.taxonomy import Taxonomy
from megalabel.errors import DataError

NAMES = ["thing", "animal", "pet", "cat", "tabby", "rock"]
PAIRS = [(0, 1), (1, 2), (1, 3), (2, 3), (3, 4)]  # a cat is a pet and an animal


def taxonomy(pairs=PAIRS, names=NAMES) -> Taxonomy:
    parents, children = np.array(pairs).reshape(-1, 2).T
    return Taxonomy.of(parents, children, names)


def above(found: Taxonomy) -> list[list[int]]:
    return [row.indices.tolist() for row in found.ancestors(np.arange(len(found)))]


def pairs_of(found: Taxonomy) -> set[tuple[int, int]]:
    return set(zip(*(part.tolist() for part in found.pairs()), strict=True))


def test_labels_have_all_ancestors_along_several_parents():
    assert above(taxonomy()) == [[], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3], []]
    assert taxonomy([*PAIRS, *PAIRS]).parents_of(3).tolist() == [1, 2]


def test_ancestors_are_those_of_a_search_in_random_graphs():
    rng = np.random.default_rng(0)
    n = 60
    pairs = [(p, c) for c in range(1, n) for p in rng.choice(c, min(c, rng.integers(0, 4)), replace=False)]
    found = taxonomy(pairs, [str(i) for i in range(n)])
    wanted: list[set[int]] = []
    for label in range(n):  # parents have lower ids
        own = [p for p, c in pairs if c == label]
        wanted.append(set(own).union(*(wanted[p] for p in own)))
    assert above(found) == [sorted(labels) for labels in wanted]


@pytest.mark.parametrize(
    ("pairs", "shown"),
    [
        ([(0, 0)], {"thing"}),
        ([(0, 1), (1, 2), (2, 0), (2, 3)], {"thing", "animal", "pet"}),
        ([(1, 2), (3, 4), (4, 3)], {"cat", "tabby"}),
    ],
)
def test_a_cycle_is_an_error_that_names_its_labels(pairs, shown):
    with pytest.raises(DataError) as caught:
        taxonomy(pairs)
    cycle = caught.value.found.split(": ")[1].split(" → ")
    assert set(cycle) == shown and cycle[0] == cycle[-1] and len(cycle) == len(shown) + 1
    assert all((NAMES.index(b), NAMES.index(a)) in pairs for a, b in pairwise(cycle))


def test_the_root_is_a_label_above_all_others():
    assert taxonomy([(0, 1), (0, 2)], NAMES[:3]).root == 0
    assert taxonomy().root is None  # "rock" is below nothing


def test_the_children_of_a_removed_label_get_its_parents():
    target = np.array([0, -1, 1, -1, 2, 3])  # without animal and cat
    assert pairs_of(taxonomy().relabeled(target, ["thing", "pet", "tabby", "rock"])) == {(0, 1), (0, 2), (1, 2)}


def test_merged_labels_have_the_parents_of_all_and_no_cycle():
    target = np.array([0, 1, 1, 2, 3, 4])  # animal and pet
    assert pairs_of(taxonomy().relabeled(target, ["thing", "animal", "cat", "tabby", "rock"])) == {
        (0, 1), (1, 2), (2, 3),
    }  # fmt: skip
    with pytest.raises(DataError, match="→"):
        taxonomy().relabeled(np.array([0, 1, 2, 3, 2, 4]), ["thing", "animal", "pet and tabby", "cat", "rock"])


def test_a_plain_file_bridges_names_that_are_no_labels(tmp_path):
    file = tmp_path / "taxonomy.tsv"
    file.write_text("thing\tanimal\nanimal\tcreature\ncreature\tmammal\nmammal\tcat\n\nthing\trock\n")
    findings = Findings()
    found = taxonomy_in(file, NAMES, None, findings)
    assert pairs_of(found) == {(0, 1), (1, 3), (0, 5)}
    (noted,) = [finding for finding in findings.all() if finding.notable]
    assert noted.count == 2 and "creature" in noted.message


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("thing\n", 1),
        ("thing\tanimal\nthing\tanimal\tcat\n", 2),
        ("\tanimal\n", 1),
        ("x\ty\n", None),
        ("thing\tanimal\nanimal\tthing\n", None),
        ("thing\tx\nx\tthing\n", None),
    ],
)
def test_a_plain_file_that_does_not_fit_is_refused(tmp_path, content, line):
    file = tmp_path / "taxonomy.tsv"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        taxonomy_in(file, NAMES, None, Findings())
    assert str(file) in str(caught.value) and (line is None or f"line {line}" in str(caught.value.where))


def test_a_name_of_several_labels_and_a_missing_file_are_refused(tmp_path):
    file = tmp_path / "taxonomy.tsv"
    file.write_text("a\tb\n")
    for names, path in ((["a", "b", "a"], file), (["a", "b"], tmp_path / "none.tsv"), (["a", "b"], tmp_path)):
        with pytest.raises(DataError):
            taxonomy_in(path, names, None, Findings())
