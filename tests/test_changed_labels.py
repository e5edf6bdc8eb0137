"""Labels that are removed, renamed and merged: other scores stay to the bit, folders load, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from planted import planted
from support.every_model import every_model
from untrained import of_bags, untrained

import megalabel
from megalabel.errors import FormatError, MegalabelError
from megalabel.models.relabeled import RelabeledClassifier

DATA = planted(n_labels=40, n_texts=150)
TEXTS = [*DATA.test.texts[:30], "", "noise1"]
NAMES = list(DATA.label_texts)
L = len(NAMES)
KINDS = ("linear", "dense", "sparse", "cascade", "dual", "hybrid", "ensemble", "extended")


@pytest.fixture(scope="module")
def models():
    return every_model(DATA)


def by_id(model, k):
    """The scores that each text gives to each label id among its k best."""
    ids, scores = model.topk(TEXTS, k).numpy()
    return [
        dict(zip(i[i >= 0].tolist(), s[i >= 0].tolist(), strict=True)) for i, s in zip(ids, scores, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_other_labels_stay_to_the_bit(kind, models, rng):
    """Whatever is removed and merged, and whatever k: labels in both rankings have equal scores."""
    model = models[kind]
    n = len(model.label_texts)
    for k in (1, 5, n):
        gone = sorted(rng.choice(n, size=int(rng.integers(1, n // 2)), replace=False).tolist())
        kept = [i for i in range(n) if i not in gone]
        less = model.without_labels(gone)
        assert list(less.label_texts) == [model.label_texts[i] for i in kept]
        before, after = by_id(model, k), by_id(less, k)
        whole = model.topk(TEXTS, n).numpy()[0]
        for row, (old, new) in enumerate(zip(before, after, strict=True)):
            shared = {kept[i]: score for i, score in new.items()}
            assert set(old) - set(gone) <= set(shared)
            assert all(shared[i] == score for i, score in old.items() if i not in gone)
            reachable = sum(int(i >= 0) and int(i) not in gone for i in whole[row])
            assert len(new) == min(k, len(kept), reachable)
        values = less.topk(TEXTS, k).numpy()[1]
        assert (values[:, 1:] <= values[:, :-1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_label_has_the_best_score_of_its_members(kind, models):
    model = models[kind]
    n = len(model.label_texts)
    merged = model.merge_labels({"both": [3, 7], model.label_texts[9]: [9, 1, 20]})
    assert merged.label_texts[3] == "both" and len(merged.label_texts) == n - 3
    before, after = by_id(model, n), by_id(merged, n - 3)
    for old, new in zip(before, after, strict=True):
        members = [old[i] for i in (3, 7) if i in old]
        if members:
            assert new[3] == max(members)
        others = [old[i] for i in (1, 9, 20) if i in old]
        if others:
            assert new[1] == max(others)
        for i in set(old) - {1, 3, 7, 9, 20}:
            assert new[i - sum(gone < i for gone in (7, 9, 20))] == old[i]


def test_renamed_labels_keep_ids_and_scores(models):
    for kind in ("linear", "dense", "hybrid"):
        renamed = models[kind].rename_labels({NAMES[3]: "three", 5: "five"})
        assert [renamed.label_texts[i] for i in (3, 4, 5)] == ["three", NAMES[4], "five"]
        for a, b in zip(renamed.topk(TEXTS, 7).numpy(), models[kind].topk(TEXTS, 7).numpy(), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", ["linear", "dual", "hybrid", "extended"])
def test_a_saved_model_answers_the_same_and_changes_again(kind, models, tmp_path):
    changed = models[kind].merge_labels({"both": [3, 7]}).without_labels([0, 4]).rename_labels({"both": "two"})
    assert not isinstance(changed.base_model, RelabeledClassifier)
    changed.save(tmp_path / "m")
    again = megalabel.load(tmp_path / "m")
    assert list(again.label_texts) == list(changed.label_texts) and "two" in again.label_texts
    for a, b in zip(again.topk(TEXTS, 8).numpy(), changed.topk(TEXTS, 8).numpy(), strict=True):
        assert np.array_equal(a, b)
    if kind == "dual":
        more = again.with_labels(["w3a w3b again"])
        assert len(more.label_texts) == len(again.label_texts) + 1
        assert (
            more.without_labels(["w3a w3b again"]).topk(TEXTS, 3).ids.tolist() == again.topk(TEXTS, 3).ids.tolist()
        )


def test_pairs_are_left_out_of_changed_rankings(models):
    changed = models["dense"].merge_labels({"both": [3, 7]}).without_labels([0])
    n = len(changed.label_texts)
    full = changed.topk(TEXTS, n).numpy()[0]
    first = full[:, 0]
    exclude = np.stack([np.arange(len(TEXTS)), first], axis=1)
    ids = changed.topk(TEXTS, 5, exclude=exclude).numpy()[0]
    assert (ids == full[:, 1:6]).all()
    both = int(changed.label_texts.index("both")) if hasattr(changed.label_texts, "index") else 2
    pairs = np.stack([np.arange(len(TEXTS)), np.full(len(TEXTS), both)], axis=1)
    assert not (changed.topk(TEXTS, n, exclude=pairs).numpy()[0] == both).any()


def test_changed_labels_are_explained_by_the_labels_that_were_trained(models):
    model, text = models["linear"], TEXTS[0]
    changed = model.merge_labels({"both": [3, 7]}).without_labels([0])
    found = changed.explain(text, "both")
    values = [model.explain(text, label).value for label in (3, 7)]
    assert found.value == max(values) and (found.label, found.name) == (2, "both")
    extended = models["extended"]
    assert extended.explain(text, 5).value == models["dense"].explain(text, 5).value
    with pytest.raises(MegalabelError, match="added"):
        extended.explain(text, "new")


def test_counts_of_training_texts_follow_the_labels(models):
    from megalabel.models.trained_on import TrainedOn

    model = untrained(["a", "b", "c", "d"])
    model.trained_on = TrainedOn("x", 10, np.array([4, 3, 2, 9]))
    changed = model.merge_labels({"ad": ["a", "d"]}).without_labels(["b"])
    assert changed.trained_on.counts.tolist() == [10, 2]
    assert list(changed.label_texts) == ["ad", "c"]


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("without_labels", []), ("without_labels", "w1a w1b"), ("without_labels", ["nothing"]),
        ("without_labels", [L]), ("without_labels", [-1]), ("without_labels", list(range(L))),
        ("without_labels", [1.5]), ("without_labels", None),
        ("rename_labels", {}), ("rename_labels", {NAMES[0]: " "}), ("rename_labels", {NAMES[0]: NAMES[1]}),
        ("rename_labels", {NAMES[0]: 3}), ("rename_labels", ["a"]), ("rename_labels", {0: "same", 1: "same"}),
        ("merge_labels", {}), ("merge_labels", {"x": []}), ("merge_labels", {"x": [0, 1], "y": [1, 2]}),
        ("merge_labels", {NAMES[5]: [0, 1]}), ("merge_labels", {"x": "w1a w1b"}), ("merge_labels", ["a"]),
    ],
    ids=str,
)  # fmt: skip
def test_changes_that_cannot_be_made_are_refused(method, argument, models):
    with pytest.raises(MegalabelError):
        getattr(models["dense"], method)(argument)


def test_a_name_that_two_labels_have_needs_an_id():
    model = untrained(["a", "a", "b"])
    with pytest.raises(MegalabelError, match="2 labels"):
        model.without_labels(["a"])
    assert list(model.without_labels([0]).label_texts) == ["a", "b"]


@pytest.mark.parametrize("damage", ["target", "names", "base"])
def test_a_damaged_folder_is_refused(damage, models, tmp_path):
    models["dense"].without_labels([1]).save(tmp_path / "m")
    if damage == "target":
        np.save(tmp_path / "m" / "target.npy", np.arange(3))
    elif damage == "names":
        (tmp_path / "m" / "labels.jsonl").write_text(json.dumps("one") + "\n")
    else:
        (tmp_path / "m" / "base" / "manifest.json").unlink()
    with pytest.raises(FormatError):
        megalabel.load(tmp_path / "m")


def test_models_over_bags_of_words_change_too():
    model, x = of_bags()
    ids, scores = model.topk(x, 6).numpy()
    found = model.without_labels(["a"]).topk(x, 5).numpy()
    for row in range(60):
        kept = ids[row] > 0
        assert (found[0][row] + 1).tolist() == ids[row][kept].tolist()
        assert found[1][row].tolist() == scores[row][kept].tolist()


def test_the_command_lists_and_changes_labels(models, command, tmp_path):
    models["linear"].save(tmp_path / "m")
    status, out, _ = command("labels", tmp_path / "m")
    assert status == 0 and out.splitlines()[3] == f"3\t{NAMES[3]}"
    changes = [
        "--remove",
        NAMES[0],
        "--rename",
        f"{NAMES[1]}=one",
        "--merge",
        f"{NAMES[2]}=x",
        "--merge",
        f"{NAMES[4]}=x",
    ]
    status, out, _ = command("labels", tmp_path / "m", *changes, "-o", tmp_path / "new")
    assert status == 0 and f"now {L - 2}" in out
    assert list(megalabel.load(tmp_path / "new").label_texts)[:3] == ["one", "x", NAMES[3]]
    for wrong in (["--remove", "nothing", "-o", tmp_path / "w"], ["--remove", NAMES[0]], ["-o", tmp_path / "w"],
                  ["--rename", "a", "-o", tmp_path / "w"],
                  ["--rename", f"{NAMES[0]}=a", "--rename", f"{NAMES[0]}=b", "-o", tmp_path / "w"],
                  ["--merge", "a=", "-o", tmp_path / "w"], ["--remove", NAMES[0], "-o", tmp_path]):  # fmt: skip
        status, _, err = command("labels", tmp_path / "m", *wrong)
        assert status == 2 and err.count("\n") == 1
    assert not (tmp_path / "w").exists()
