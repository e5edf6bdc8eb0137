"""Whatever labels are added, removed, renamed and merged: scores of the others stay to the bit, in every model."""

from __future__ import annotations

import pytest
from planted import planted
from support.every_model import every_model

DATA = planted(n_labels=40, n_texts=150)
TEXTS = [*DATA.test.texts[:25], "", "noise1"]
KINDS = (
    "linear", "dense", "sparse", "cascade", "lightxml", "partitioned", "projection", "dual", "retrieval", "hybrid",
    "ensemble", "chunked", "indexed", "extended",
)  # fmt: skip
CHANGES = ("add", "remove", "rename", "merge")


@pytest.fixture(scope="module")
def models():
    return every_model(DATA)


def changed(model, known, change, number, rng):
    """The model after a change, and for each of its labels the label of the first model, −1 for another one."""
    n = len(known)
    some = sorted(rng.choice(n, 5, replace=False).tolist())
    if change == "add":
        names = [f"added {number} w{i}a" for i in range(3)]
        more = {name: [] if i == 0 else [f"w{i}a w{i}b", f"w{i}a noise{i}"] for i, name in enumerate(names)}
        return model.with_labels(more, texts=list(DATA.train.texts[:60])), [*known, -1, -1, -1]
    if change == "remove":
        return model.without_labels(some), [label for i, label in enumerate(known) if i not in some]
    if change == "rename":
        return model.rename_labels({i: f"renamed {number} {i}" for i in some}), known
    kept = [-1 if i == some[0] else label for i, label in enumerate(known) if i not in some[1:]]
    return model.merge_labels({f"merged {number}": some}), kept


def scores_by_label(model, known, k):
    ids, scores = model.topk(TEXTS, k).numpy()
    return [
        {known[i]: s for i, s in zip(row, own, strict=True) if i >= 0 and known[i] >= 0}
        for row, own in zip(ids.tolist(), scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_other_labels_keep_their_scores(kind, models, rng):
    first = models[kind]
    n = len(first.label_texts)
    for _ in range(2):
        model, known = first, list(range(n))
        for number, change in enumerate(rng.permutation(CHANGES)):
            model, known = changed(model, known, change, number, rng)
            assert len(model.label_texts) == len(known)
        for k in (1, 4, 15):
            compared = 0
            for before, after in zip(
                scores_by_label(first, list(range(n)), k), scores_by_label(model, known, k), strict=True
            ):
                shared = before.keys() & after.keys()
                assert all(before[label] == after[label] for label in shared)
                compared += len(shared)
            assert compared
