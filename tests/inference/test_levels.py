"""Precision of the levels of a cascade, and the export of what a model makes of both sides."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from bag_runs import KNOBS, trained
from planted import planted

import megalabel
from megalabel.errors import SettingError
from megalabel.heads.cascade_levels import CascadeLevels
from megalabel.inference.evaluate import evaluate
from megalabel.inference.export import as_csr, export
from megalabel.inference.levels import evaluate_levels, levels_table
from megalabel.metrics.ranking import measure
from megalabel.metrics.topk import topk_from_csr
from megalabel.recipes import get
from megalabel.types import TopK


@pytest.fixture(scope="module")
def cascade(tmp_path_factory):
    recipe = get("cascadexml")(planted(), **{**KNOBS["cascadexml"], "path_score": "label"})
    return megalabel.train(recipe, tmp_path_factory.mktemp("levels") / "run", quiet=True)


def expected_levels(model, data):
    """Each level's scores and truth as matrices, with the clusters that are reached, written down plainly."""
    head, views = model.head, torch.from_numpy(model.encode(list(data.test.texts)))
    order = head.label_to_row.argsort()
    truth = [data.test.labels.toarray()[:, order.numpy()] > 0]
    for offsets in reversed(head.offsets):
        truth.append(np.stack([truth[-1][:, a:b].any(1) for a, b in pairwise(offsets.tolist())], 1))
    reached = torch.ones(len(views), head.sizes[0], dtype=torch.bool)
    found = []
    for i, (weight, bias) in enumerate(head.tables()):
        z = (views[:, i] @ weight.T + bias).masked_fill(~reached, -torch.inf).detach()
        found.append((z, truth[::-1][i], reached))
        if i < len(head.beams):
            kept = torch.zeros_like(reached).scatter_(1, z.topk(head.beams[i]).indices, True) & reached
            reached = kept.repeat_interleave(head.offsets[i].diff(), 1)
    return found


def test_each_level_has_the_precision_of_its_own_scores(cascade):
    data = planted()
    levels = evaluate_levels(cascade, data, k=(1, 3))
    assert [level.nodes for level in levels] == list(cascade.head.sizes)
    for level, (z, truth, _) in zip(levels, expected_levels(cascade, data), strict=True):
        for k in (1, 3):
            best = z.topk(k).indices.numpy()
            hits = np.take_along_axis(truth, best, 1).mean()
            assert level.alone[f"P@{k}"] == pytest.approx(100 * hits, abs=1e-3)
    whole = evaluate(cascade, data, k=(1, 3))
    assert levels[-1].alone["P@1"] == pytest.approx(whole["P@1"])  # path_score = label
    table = levels_table(levels)
    assert "clusters 0" in table
    assert "× parent" in table


def test_products_with_the_parent_are_ranked_too(cascade):
    data = planted()
    levels, found = evaluate_levels(cascade, data, k=(1,)), expected_levels(cascade, data)
    for i in (1, 2):
        parents = found[i - 1][0].sigmoid().repeat_interleave(cascade.head.offsets[i - 1].diff(), 1)
        scores = (found[i][0].sigmoid() * parents).masked_fill(~found[i][2], -1)
        hits = np.take_along_axis(found[i][1], scores.topk(1).indices.numpy(), 1).mean()
        assert levels[i].with_parent["P@1"] == pytest.approx(100 * hits, abs=1.01)  # a tie may fall otherwise


def test_the_recall_of_a_level_is_that_of_its_beam(cascade):
    data = planted()
    for i, (level, (z, truth, _)) in enumerate(
        zip(evaluate_levels(cascade, data), expected_levels(cascade, data), strict=True)
    ):
        if i == 2:
            assert np.isnan(level.recall)
            continue
        kept = np.zeros_like(truth)
        np.put_along_axis(kept, z.topk(cascade.head.beams[i]).indices.numpy(), True, 1)
        assert level.recall == pytest.approx(100 * (kept & truth).sum() / truth.sum())


def test_a_model_without_levels_is_refused(tmp_path):
    with pytest.raises(SettingError, match="cascadexml"):
        evaluate_levels(megalabel.load(trained("renee", tmp_path / "run")), planted())


def test_a_cascade_is_exported_with_its_shortlists(cascade, tmp_path):
    data = planted()
    export(cascade, data, tmp_path / "out", k=7)
    for name, split in (("train", data.train), ("test", data.test)):
        with np.load(tmp_path / "out" / f"{name}.npz") as found:
            views = cascade.encode(list(split.texts))
            np.testing.assert_allclose(found["embeddings"], views[:, -1], rtol=1e-5, atol=1e-6)
            levels = CascadeLevels(cascade.head)
            for i, beam in enumerate(cascade.head.beams):
                assert found[f"level{i}"].shape == (len(split), beam)
                assert np.array_equal(found[f"level{i}"], levels.kept(torch.from_numpy(views), i).numpy())
        scores = sp.load_npz(tmp_path / "out" / f"{name}_scores.npz")
        top = cascade.topk(split.texts, 7)
        np.testing.assert_allclose(topk_from_csr(scores, 7).scores, top.numpy()[1], rtol=1e-6)
    assert measure(topk_from_csr(scores, 5), data.test.labels, k=(1,))["P@1"] == evaluate(cascade, data)["P@1"]
    with pytest.raises(SettingError, match="exists"):
        export(cascade, data, tmp_path / "out")


def test_embeddings_are_those_behind_a_projection(tmp_path):
    recipe = get("spartex")(
        planted(), **{**KNOBS["spartex"], "epochs": 3, "auxiliary": False, "projection_dim": 96}
    )
    model = megalabel.train(recipe, tmp_path / "run", quiet=True)
    export(model, planted(), tmp_path / "out")
    with np.load(tmp_path / "out" / "test.npz") as found:
        assert found["embeddings"].shape == (100, 96)
        assert set(found.files) == {"embeddings"}


def test_scores_of_zero_are_kept():
    top = TopK(np.array([[2, 0], [1, -1]]), np.array([[0.5, 0.0], [0.0, -np.inf]], np.float32))
    matrix = as_csr(top, 3)
    assert matrix.nnz == 3
    assert topk_from_csr(matrix, 2).ids.tolist() == [[2, 0], [1, -1]]


def test_the_command_shows_levels_and_exports(command, tmp_path):
    from megalabel.data.convert import convert

    convert(planted(), tmp_path / "data", "raw")
    corpus = megalabel.Corpus.open(tmp_path / "data")
    megalabel.train(
        get("cascadexml")(corpus, **{**KNOBS["cascadexml"], "epochs": 2}), tmp_path / "run", quiet=True
    )
    status, said, err = command("evaluate", tmp_path / "run", "--levels", "--export", tmp_path / "out")
    assert status == 0, err
    assert "clusters 1" in said
    assert "test.npz: embeddings" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "about.json", "test.npz", "test_scores.npz", "train.npz", "train_scores.npz",
    ]  # fmt: skip
