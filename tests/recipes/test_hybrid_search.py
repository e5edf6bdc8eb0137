"""Hybrids that search training texts and merge by boosted trees: choices, pairs left out, refit, folder."""

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted

import megalabel
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.batches import hold_out
from megalabel.models.boosted_merge import BoostedMerge, Candidates, cross_validated
from megalabel.recipes import merging
from megalabel.recipes.hybrid import hybrid
from megalabel.training.run_folder import held_out_rows

SMALL = dict(clusters=(4,), trees=1, joint_trees=1)


@pytest.fixture(autouse=True)
def few_texts_are_enough(monkeypatch):
    monkeypatch.setattr(merging, "FEWEST", 20)


def made(run, say=lambda line: None, **more):
    return hybrid(planted(), run=str(run), **{**SMALL, **more}).solve(say)


def assert_same(one, other, texts, k=7):
    for a, b in zip(one.topk(texts, k).numpy(), other.topk(texts, k).numpy(), strict=True):
        assert np.array_equal(a, b)


@pytest.fixture(scope="module")
def model(bag_run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "FEWEST", 20)
        return made(bag_run, merge="boosted", neighbors="yes")


def test_it_ranks_as_well_and_comes_back(model, bag_run, tmp_path):
    data = planted()
    assert model.index is not None and model.learned is not None and model.searched is not None
    assert megalabel.evaluate(model, data)["P@1"] > 90
    model.save(tmp_path / "model")
    again = megalabel.load(tmp_path / "model")
    assert_same(model, again, data.test.texts)
    again.save(tmp_path / "again")
    assert_same(model, megalabel.load(tmp_path / "again"), data.test.texts)
    (tmp_path / "model" / "searched.npz").unlink()
    with pytest.raises(FormatError):
        megalabel.load(tmp_path / "model")


def test_the_same_run_gives_the_same_model(model, bag_run):
    assert_same(model, made(bag_run, merge="boosted", neighbors="yes"), planted().test.texts)


def test_the_texts_that_were_held_out_are_not_in_the_index(model):
    kept, held = hold_out(len(planted().train), 0.1, 0)
    origins = model.index.origins
    assert np.array_equal(origins[origins >= 0], kept)
    assert not np.isin(held, origins).any()


def test_neighbors_are_rows_of_the_training_set(model, bag_run):
    data = planted()
    row = int(model.index.origins[0])
    found = model.neighbors([data.train.texts[row]], 2)[0]
    assert found[0].row == row and found[0].labels == tuple(data.train.labels[row].indices.tolist())
    with pytest.raises(SettingError, match="without an index"):
        made(bag_run, neighbors="no").neighbors(["w1a"])


def test_labels_that_are_left_out_do_not_come_back(model):
    texts = planted().test.texts[:10]
    ids = model.topk(texts, 3).ids
    pairs = np.array([(row, label) for row in range(10) for label in ids[row, :2]])
    without = model.topk(texts, 5, exclude=pairs).ids
    assert not any(label in without[row] for row, label in pairs)


def test_scores_fall_and_k_may_exceed_the_labels(model):
    ids, scores = model.topk(["w1a w1b", "", "unheard"], 70).numpy()
    assert (np.diff(np.where(np.isfinite(scores), scores, 0), axis=1) <= 0).all()
    assert ids[0, 0] == 1
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in ids)
    assert model.topk([], 3).ids.shape == (0, 3)


def test_without_neighbors_there_is_no_row_to_search(bag_run):
    said = []
    found = made(bag_run, said.append, merge="boosted", neighbors="no")
    assert found.index.n_features == 0 and found.learned is not None
    assert any(line.startswith("merge without neighbors") for line in said)
    assert not any("with neighbors" in line for line in said)
    assert megalabel.evaluate(found, planted())["P@1"] > 90


def test_a_mixture_is_what_it_was_before(bag_run):
    plain = made(bag_run, merge="mixture")
    assert plain.index is None and plain.learned is None and plain.searched is None
    given = made(bag_run, weights=(1, 2, 3))
    assert given.index is None and given.mixture.weights == pytest.approx((1 / 6, 1 / 3, 1 / 2))
    with pytest.raises(SettingError, match="neighbors = yes with merge = mixture"):
        made(bag_run, merge="mixture", neighbors="yes")


def test_a_refit_learns_all_texts_and_holds_none_out(bag_run, tmp_path):
    data = planted()
    recipe = hybrid(data, run=str(bag_run), **SMALL, refit=True, merge="boosted", neighbors="yes")
    model = megalabel.train(recipe, tmp_path / "run", quiet=True)
    origins = model.index.origins
    assert np.array_equal(origins[origins >= 0], np.arange(len(data.train)))
    assert len(held_out_rows(tmp_path / "run")) == 0
    assert megalabel.evaluate(model, data)["P@1"] > 90
    assert_same(model, megalabel.load(tmp_path / "run"), data.test.texts)


def test_trees_that_gain_nothing_are_not_kept():
    random = np.random.default_rng(0)
    ids = np.tile(np.arange(20), (60, 1))
    start = -np.tile(np.arange(20.0), (60, 1))
    candidates = Candidates(ids, random.standard_normal((60, 20, 3)).astype(np.float32), start)
    truth = np.zeros((60, 20), np.float32)
    truth[:, 0] = 1  # the mixture is right already
    n_trees, reached = cross_validated(candidates, sp.csr_matrix(truth))
    assert n_trees == 0 and (reached == 100).all()
    merge = BoostedMerge.fit(candidates, sp.csr_matrix(truth), 5)
    assert (merge.merge(candidates, 1).ids[:, 0] == 0).all()
