"""Texts with given labels: these are never returned, what occurs beside them rises, and other scores stay."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from support.grouped import NAMES, L, grouped
from untrained import untrained

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, MegalabelError
from megalabel.inputs.sparse_text import SparseText
from megalabel.linear.forest import solve_trees
from megalabel.models.completion import evidence_of_pairs
from megalabel.models.ensemble import Ensemble
from megalabel.models.label_pairs import KEPT, STRENGTH, count_pairs
from megalabel.models.linear import LinearClassifier
from megalabel.models.trained_on import TrainedOn
from megalabel.recipes.linear import linear

TEXTS, LABELS = grouped(300, 0)
ASKED, TRUE = grouped(60, 1)


@pytest.fixture(scope="module")
def models():
    text, x = SparseText.learn_rows(TEXTS, bigrams=False)
    trees = solve_trees(x, LABELS, trees=2, depths=(2,), cluster_features=20, seed=0, say=lambda line: None)
    data = Corpus.of(TEXTS, LABELS, NAMES, name="groups")
    linear = LinearClassifier(text, trees, data.label_texts)
    linear.learn_pairs(data)
    dense = untrained(NAMES, " ".join(TEXTS)).learn_pairs(LABELS)
    return {"linear": linear, "dense": dense, "ensemble": Ensemble([linear, dense])}


def halves() -> tuple[list[list[int]], list[set[int]]]:
    """Half of the labels of each asked text, and the others."""
    rows = [row.indices.tolist() for row in TRUE]
    return [own[: len(own) // 2] for own in rows], [set(own[len(own) // 2 :]) for own in rows]


@pytest.mark.parametrize("kind", ["linear", "dense", "ensemble"])
def test_given_labels_are_never_returned_and_others_are_found_by_them(kind, models):
    model, (given, rest) = models[kind], halves()
    pairs = np.array([(i, label) for i, own in enumerate(given) for label in own])

    def found(ids) -> float:
        return float(np.mean([len(set(row[:3].tolist()) & own) / 3 for row, own in zip(ids, rest, strict=True)]))

    ids, scores = model.topk(ASKED, L, given=given).numpy()
    for i, own in enumerate(given):
        assert not set(ids[i].tolist()) & set(own)
        kept = ids[i][ids[i] >= 0].tolist()
        assert len(set(kept)) == len(kept)
    assert (np.diff(np.where(ids < 0, -1e9, scores), axis=1) <= 0).all()
    assert found(ids) > found(model.topk(ASKED, L, exclude=pairs).ids) + (0.2 if kind == "dense" else 0)
    names = [[model.label_texts[label] for label in own] for own in given]
    matrix = sp.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(ASKED), L))
    for other in (names, matrix):
        assert np.array_equal(model.topk(ASKED, L, given=other).ids, ids)
    predicted = model.predict(ASKED[:3], 4, given=names[:3])
    assert predicted == [
        [(NAMES[int(i)], float(s)) for i, s in zip(row[:4], value[:4], strict=True)]
        for row, value in zip(ids[:3], model.topk(ASKED[:3], 4, given=given[:3]).scores, strict=True)
    ]


@pytest.mark.parametrize("kind", ["linear", "dense", "ensemble"])
def test_texts_without_given_labels_have_the_scores_of_the_model(kind, models):
    model = models[kind]
    given = [[3], [], [], [4, 5]]
    found, plain = (model.topk(ASKED[:4], L, given=g).numpy() for g in (given, None))
    for a, b in zip(found, plain, strict=True):
        assert np.array_equal(a[1:3], b[1:3])
    assert not np.array_equal(found[0][0], plain[0][0])


def test_records_of_a_stream_give_labels_as_lines_of_a_file_do(models):
    model, given = models["linear"], [[], ["label 3"], [1, 2]]
    records = [{"id": i, "text": ASKED[i], "given": own} for i, own in enumerate(given)]
    found = list(model.predict_iter(records, 5))
    wanted = model.predict(ASKED[:3], 5, given=given)
    assert [answer["id"] for answer in found] == [0, 1, 2]
    assert [[one["id"] for one in answer["labels"]] for answer in found] == wanted.ids.tolist()
    with pytest.raises(MegalabelError, match="given"):
        model.predict_iter(ASKED[:3], 5, given=given)
    alike = [{"text": ASKED[0]}, {"text": ASKED[1], "given": ("label 3",)}, {"text": ASKED[2], "given": {1, 2}}]
    assert [one["labels"] for one in model.predict_iter(alike, 5)] == [one["labels"] for one in found]
    for own in ("label 3", 3, {"label 3": 1.0}):  # which nobody would miss if they were left out
        with pytest.raises(DataError):
            list(model.predict_iter([{"text": ASKED[0], "given": own}], 5))


def test_scores_move_by_the_evidence_of_the_formula(models):
    model, text = models["dense"], ASKED[0]
    plain = dict(zip(*(row[0].tolist() for row in model.topk([text], L).numpy()), strict=True))
    ids, scores = model.topk([text], L, given=[[0, 1]]).numpy()
    known = model.trained_on
    for label, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True):
        if label >= 0:
            both = {j: known.pairs[j, label] for j in (0, 1)}
            lifts = {j: np.log1p(n * known.n_texts / known.counts[label]) for j, n in both.items()}
            told = sum(n / (known.counts[j] + 2) * lifts[j] for j, n in both.items()) / np.sqrt(2)
            assert score == pytest.approx(plain[label] + STRENGTH * told, rel=1e-4, abs=1e-4)


def test_pairs_are_counted_and_kept_in_the_model(models, tmp_path):
    y = LABELS.toarray()
    both = y.T @ y
    np.fill_diagonal(both, 0)
    assert np.array_equal(count_pairs(LABELS).toarray(), both)
    wide = sp.csr_matrix(np.ones((3, KEPT + 9)))
    assert np.diff(count_pairs(wide).indptr).max() <= KEPT
    models["linear"].save(tmp_path / "m")
    again = megalabel.load(tmp_path / "m")
    given, _ = halves()
    found = [one.topk(ASKED, 7, given=given).numpy() for one in (again, models["linear"])]
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a, b)
    assert np.isfinite(evidence_of_pairs(count_pairs(LABELS), np.zeros(L), 0).data).all()


def test_the_labels_of_a_corpus_are_those_of_the_model_by_name(models):
    order = np.random.default_rng(1).permutation(L)
    shuffled = Corpus.of(TEXTS, sp.hstack([LABELS[:, order], sp.csr_matrix((len(TEXTS), 1))]).tocsr(),
                         [*(NAMES[i] for i in order), "another"], name="shuffled")  # fmt: skip
    model = untrained(NAMES).learn_pairs(shuffled)
    assert (model.trained_on.pairs != models["dense"].trained_on.pairs).nnz == 0
    assert np.array_equal(model.trained_on.counts, models["dense"].trained_on.counts)
    with pytest.raises(DataError):
        untrained(["x", "y"]).learn_pairs(shuffled)


def test_models_around_others_keep_what_they_learned(models, tmp_path):
    plain = untrained(NAMES, " ".join(TEXTS))
    for i, model in enumerate((plain.without_labels([0]), plain.with_labels(["new"]), Ensemble([plain, plain]))):
        labels = sp.hstack([LABELS, sp.csr_matrix((len(TEXTS), 1))]).tocsr()[:, : len(model.label_texts)]
        model.learn_pairs(labels)
        model.save(tmp_path / str(i))
        again = megalabel.load(tmp_path / str(i))
        assert (again.trained_on.pairs != model.trained_on.pairs).nnz == 0
        given = [[3]] * len(ASKED)
        assert np.array_equal(again.topk(ASKED, 5, given=given).ids, model.topk(ASKED, 5, given=given).ids)


def test_changed_labels_know_their_pairs(models):
    model = models["linear"]
    changed = model.merge_labels({"both": [0, 1]}).without_labels([5])
    ids = changed.topk(ASKED, 10, given=[["both"]] * len(ASKED)).ids
    assert not (ids == 0).any()
    pairs, old = changed.trained_on.pairs.toarray(), model.trained_on.pairs.toarray()
    assert pairs[0, 1] == old[0, 2] + old[1, 2]
    assert pairs.diagonal().max() == 0


def test_a_second_change_of_labels_keeps_what_was_learned_after_the_first():
    model = untrained(NAMES, " ".join(TEXTS))
    for first in (model.without_labels([0]), model.with_labels(["new"])):
        n = len(first.label_texts)
        labels = sp.hstack([LABELS, sp.csr_matrix((len(TEXTS), 1))]).tocsr()[:, :n]
        assert first.learn_pairs(labels).calibrate(TEXTS, labels)
        for second in (first.without_labels([1]), first.with_labels(["newer"]), first.rename_labels({2: "two"})):
            assert second.trained_on.pairs.nnz and second.calibration is first.calibration
        merged = first.merge_labels({"both": [2, 3]})
        assert merged.trained_on.pairs.nnz and merged.calibration is None
        assert merged.calibrate(TEXTS, labels[:, : n - 1])
        assert merged.rename_labels({4: "four"}).calibration is merged.calibration


def test_the_recipe_linear_learns_pairs_and_the_command_reads_given_labels(tmp_path, command):
    data = Corpus.of(TEXTS, LABELS, NAMES, name="groups")
    values = {"token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0, "label_texts": "no"}

    model = megalabel.train(linear(data, trees=1, **values), tmp_path / "run", quiet=True)
    assert model.trained_on.pairs is not None
    lines = [{"id": 0, "text": "noise1 noise2", "given": [NAMES[0]]}, {"id": 1, "text": ASKED[1]}]
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, out, err = command("predict", tmp_path / "run", file, "-k", 5)
    assert status == 0, err
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["given"] == [NAMES[0]]
    assert NAMES[0] not in [label["label"] for label in first["labels"]]
    assert {label["label"] for label in first["labels"]} & set(NAMES[1:4])
    plain = model.topk([ASKED[1]], 5).ids[0].tolist()
    assert [label["id"] for label in second["labels"]] == plain
    file.write_text(json.dumps({"text": "a", "given": ["nothing"]}) + "\n")
    status, _, err = command("predict", tmp_path / "run", file)
    assert status == 2 and "nothing" in err


@pytest.mark.parametrize(
    "given", [[], [[0]], "label 0", [["nothing"], []], [[-1], []], [[L], []], [["a"], "b"], [[1.5], []], 3,
              sp.csr_matrix((2, 3))], ids=str,
)  # fmt: skip
def test_given_labels_that_are_none_are_refused(given, models):
    with pytest.raises(MegalabelError):
        models["linear"].topk(ASKED[:2], 3, given=given)


def test_a_model_that_knows_no_pairs_says_how_it_learns_them(models):
    model = untrained(["a", "b"])
    with pytest.raises(MegalabelError, match="learn_pairs"):
        model.topk(["a"], 1, given=[["a"]])
    for wrong in (sp.csr_matrix((3, 5)), "data", [[1]]):
        with pytest.raises(MegalabelError):
            model.learn_pairs(wrong)
    assert TrainedOn("x", 3, np.array([1, 2])).pairs is None
