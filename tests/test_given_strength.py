"""How much given labels count is chosen on held-out texts, and kept in the model."""

from __future__ import annotations

import numpy as np
import pytest
from support.grouped import NAMES, L, grouped

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError
from megalabel.models.given_strength import chosen_strength, halved
from megalabel.models.label_pairs import STRENGTH
from megalabel.models.trained_on import load_trained_on
from megalabel.recipes.linear import linear

_, LABELS = grouped(300, 0)


def test_given_labels_count_as_much_as_held_out_texts_say():
    """Nothing where a ranking is right without them, and much where it is random."""
    random = np.random.default_rng(0)
    _, true = grouped(400, 2)
    right = np.full((400, 8), -1)
    for i, row in enumerate(true):
        right[i, : row.nnz] = row.indices
        right[i, row.nnz :] = random.choice(np.setdiff1d(np.arange(L), row.indices), 8 - row.nnz, replace=False)
    odds = np.tile(np.linspace(0, -1, 8), (400, 1))
    odds[right == np.arange(8)] += 0.1
    shuffled = np.sort(random.random((400, L)), axis=1)[:, ::-1]
    places = np.argsort(random.random((400, L)), axis=1)
    assert chosen_strength(right, odds, true, LABELS) == 0
    assert chosen_strength(places, 10 * shuffled, true, LABELS) >= 1
    assert chosen_strength(places[:90], shuffled[:90], true[:90], LABELS) == STRENGTH
    given, rest = halved(true, 0)
    assert np.array_equal((given + rest).toarray(), true.toarray()) and given.multiply(rest).nnz == 0
    assert np.array_equal(np.diff(given.indptr), np.diff(true.indptr) // 2)


def test_a_recipe_chooses_the_strength_and_the_model_keeps_it(tmp_path):
    texts, labels = grouped(1500, 4)
    data = Corpus.of(texts, labels, NAMES, name="groups")
    model = megalabel.train(
        linear(data, trees=1, bigrams="no", c=1.0, label_texts="no"), tmp_path / "run", quiet=True
    )
    assert model.trained_on.strength >= 1
    assert megalabel.load(tmp_path / "run").trained_on.strength == model.trained_on.strength
    assert model.without_labels([0]).trained_on.strength == model.trained_on.strength
    path = next((tmp_path / "run").rglob("label_counts.npz"))
    with np.load(path) as found:
        arrays = dict(found)
    for value, kept in ((np.nan, None), (None, STRENGTH)):
        changed = {**arrays, "strength": np.float64(value)} if kept is None else arrays | {}
        if kept is not None:
            del changed["strength"]
        np.savez(path, **changed)
        if kept is None:
            with pytest.raises(MegalabelError, match="strength nan"):
                load_trained_on(path.parent, L)
        else:
            assert load_trained_on(path.parent, L).strength == kept
