"""An audit finds planted errors of labels; features are those of their definition; findings are applied."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted

from megalabel.audit.apply import apply
from megalabel.audit.audit import audit
from megalabel.audit.evidence import NAMES, PATH_NAMES, features, gather
from megalabel.audit.finding import LabelFinding, read_findings
from megalabel.audit.pairs import values_at
from megalabel.audit.paths import TreePaths
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, MegalabelError
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.linear.restricted import cut_beam
from megalabel.linear.forest import solve_trees


def with_noise(share: float = 0.05, seed: int = 0) -> tuple[Corpus, set[tuple[int, int]], set[tuple[int, int]]]:
    """Planted data with wrong pairs and without some right ones, and which these are."""
    data = planted(n_texts=700)
    random = np.random.default_rng(seed)
    labels = data.train.labels.tolil()
    rows, columns = data.train.labels.nonzero()
    wrong, missing = set(), set()
    for at in random.permutation(len(rows))[: int(share * len(rows))]:
        row, column, other = int(rows[at]), int(columns[at]), int(random.integers(data.n_labels))
        if at % 3 and data.train.labels[row, column] and labels[row].count_nonzero() > 1:
            labels[row, column] = 0
            missing.add((row, column))
        if at % 3 != 1 and not data.train.labels[row, other]:
            labels[row, other] = 1
            wrong.add((row, other))
    return replace(data, train=replace(data.train, labels=labels.tocsr().astype(np.float32))), wrong, missing


@pytest.fixture(scope="module")
def noisy():
    data, wrong, missing = with_noise()
    return data, wrong, missing, audit(data, most=100)


def test_the_surest_findings_are_the_planted_errors(noisy):
    _, wrong, missing, found = noisy
    for kind, planted_pairs in (("wrong", wrong), ("missing", missing)):
        own = [f for f in found if f.kind == kind][: len(planted_pairs) // 2]
        assert len(own) >= 10
        assert np.mean([(f.row, f.label_id) in planted_pairs for f in own]) >= 0.8
        confidences = [f.confidence for f in found if f.kind == kind]
        assert confidences == sorted(confidences, reverse=True)
        assert all(0 <= c <= 1 for c in confidences)
    assert {f.kind for f in found[:4]} >= {"wrong", "missing"}


def test_findings_say_which_text_and_label_they_are_about(noisy):
    data, _, _, found = noisy
    labels = data.train.labels
    for f in found:
        assert data.label_texts[f.label_id] == f.label
        if f.kind in ("wrong", "missing"):
            assert data.train.texts[f.row].startswith(f.text)
            assert bool(labels[f.row, f.label_id]) == (f.kind == "wrong")
            assert set(f.evidence) == {*NAMES, *(PATH_NAMES if f.kind == "wrong" else ())}


def test_labels_written_alike_are_duplicates_and_those_with_the_same_texts_synonyms():
    data = planted(n_labels=20, n_texts=500)
    names = [*data.label_texts, "W1A-w1b", "other words"]
    labels = sp.hstack([data.train.labels, sp.csr_matrix((500, 2))]).tolil()
    for i, row in enumerate(np.flatnonzero(data.train.labels[:, 3].toarray().ravel())):
        if i % 2:  # one or the other is given
            labels[row, 3], labels[row, 21] = 0, 1
    data = Corpus.of(list(data.train.texts), labels.tocsr(), names, name="two names")
    found = audit(data, kinds=["duplicate", "synonym"])
    duplicates = [(f.label_id, f.other_id) for f in found if f.kind == "duplicate"]
    assert duplicates == [(20, 1)]
    synonyms = [{f.label_id, f.other_id} for f in found if f.kind == "synonym"]
    assert synonyms[0] == {3, 21}
    merged = apply(data, found[:2])
    assert len(merged.label_texts) == 20
    assert merged.train.labels[:, 3].sum() == data.train.labels[:, [3, 21]].max(axis=1).sum()


def test_features_are_computed_without_the_text_itself():
    """Against loops: the document of a label, its name, votes, and labels that occur beside it."""
    data = planted(n_labels=12, n_texts=60)
    text, x = SparseText.learn_rows(data.train.texts, bigrams=False)
    names = text.transform(data.label_texts)
    labels = data.train.labels
    known = gather(x, names, labels, 2, 0, lambda line: None)
    rows, columns = np.repeat(np.arange(60), 12), np.tile(np.arange(12), 60)
    found = {name: column for name, column in zip(NAMES, features(known, rows, columns).T, strict=True)}
    dense, y, label_rows = x.toarray(), labels.toarray() > 0, names.toarray()
    for p in range(0, len(rows), 7):
        i, k = int(rows[p]), int(columns[p])
        others = y[:, k].copy()
        others[i] = False
        total = dense[others].sum(axis=0)
        cosine = dense[i] @ total / np.linalg.norm(total) if others.any() else 0
        assert found["document"][p] == pytest.approx(cosine, abs=1e-4)
        assert found["name"][p] == pytest.approx(dense[i] @ label_rows[k], abs=1e-5)
        assert found["texts"][p] == pytest.approx(np.log1p(others.sum()), abs=1e-5)
        beside = reverse = 0.0
        for j in np.flatnonzero(y[i]):
            if j != k:
                both = (y[:, j] & y[:, k]).sum() - y[i, k]
                beside = max(beside, both / (y[:, j].sum() - 1 + 2))
                reverse = max(reverse, both / (others.sum() + 2))
        assert found["beside"][p] == pytest.approx(beside, abs=1e-5)
        assert found["reverse"][p] == pytest.approx(reverse, abs=1e-5)
        assert found["labels"][p] == y[i].sum() - y[i, k]
    assert found["linear"].min() >= -16 and 0 <= found["votes"].min() <= found["votes"].max() <= 1 + 1e-5


def test_scores_along_a_path_are_those_of_an_exact_search():
    data = planted(n_labels=40, n_texts=200)
    _, x = SparseText.learn_rows(data.train.texts, bigrams=False)
    (tree,) = solve_trees(
        x, data.train.labels, trees=1, depths=(2,), cluster_features=100, seed=0, say=lambda line: None
    )
    rows, columns = np.repeat(np.arange(20), 40), np.tile(np.arange(40), 20)
    found = TreePaths.of_tree(tree).log_scores(x, rows, columns)
    assert found.shape == (800, 2)
    exact = cut_beam(tree, np.arange(40))(x[:20], 40)
    wanted = np.empty((20, 40))
    np.put_along_axis(wanted, np.asarray(exact.ids), np.asarray(exact.scores), axis=1)
    assert np.exp(found.sum(axis=1)).reshape(20, 40) == pytest.approx(wanted, abs=1e-6)


def test_entries_of_a_sparse_matrix_are_looked_up(rng):
    matrix = sp.random(30, 20, density=0.2, format="csr", random_state=1)
    matrix.sort_indices()
    rows, columns = rng.integers(0, 30, 200), rng.integers(0, 20, 200)
    assert np.array_equal(values_at(matrix, rows, columns), matrix.toarray()[rows, columns])
    assert values_at(sp.csr_matrix((3, 4)), np.array([1]), np.array([2])).tolist() == [0]


def test_chosen_findings_are_applied_to_a_copy(noisy, tmp_path, command):
    data, _, _, found = noisy
    chosen = [f for f in found if f.kind in ("wrong", "missing")][:30]
    mended = apply(data, chosen)
    for f in chosen:
        assert bool(mended.train.labels[f.row, f.label_id]) == (f.kind == "missing")
    changed = (mended.train.labels != data.train.labels).nnz
    assert changed == 30
    file = tmp_path / "found.jsonl"
    file.write_text("".join(f.line() + "\n" for f in chosen))
    assert [(f.kind, f.row, f.label_id) for f in read_findings(file)] == [
        (f.kind, f.row, f.label_id) for f in chosen
    ]


def test_the_command_writes_findings_and_a_copy(tmp_path, command):
    data, _, _ = with_noise()
    source, file = tmp_path / "data.jsonl", tmp_path / "found.jsonl"
    labels = [[data.label_texts[int(i)] for i in row.indices] for row in data.train.labels]
    lines = [json.dumps({"text": t, "labels": y}) for t, y in zip(data.train.texts, labels, strict=True)]
    source.write_text("\n".join(lines) + "\n")
    status, out, err = command("audit", source, "-o", file, "--most", 20)
    assert status == 0, err
    assert "probably should not have" in out
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert sum(f["kind"] == "wrong" for f in found) == 20
    kept = [f for f in found if f["kind"] == "wrong"][:5]
    file.write_text("".join(json.dumps(f) + "\n" for f in kept))
    status, out, err = command("audit", source, "--apply", file, "-o", tmp_path / "copy")
    assert status == 0, err
    copy = Corpus.open(tmp_path / "copy")
    for f in kept:
        row = copy.train.labels[f["row"]].indices
        assert f["label"] not in {copy.label_texts[int(i)] for i in row}
    wrong = (
        ["--kinds", "odd"], ["--kinds", ""], ["--most", "0"], ["--folds", "1"], ["--apply", file],
        ["--seed", "-1"], ["--folds", "999999"],
        ["--apply", tmp_path / "none", "-o", tmp_path / "c2"], ["-o", tmp_path],
        ["--apply", file, "-o", tmp_path / "c3", "--to", "odd"],
    )  # fmt: skip
    for arguments in wrong:
        status, _, err = command("audit", source, *arguments)
        assert status == 2 and err.strip().count("\n") == 0, (arguments, err)


@pytest.mark.parametrize(
    "line",
    [
        "{", "[]", "3", '{"kind": "wrong"}', '{"kind": "odd", "label": "a", "label_id": 1}',
        '{"kind": "wrong", "label": "a", "label_id": 1, "confidence": 1}', "[" * 5000,
    ],
)  # fmt: skip
def test_lines_that_are_no_findings_are_refused(line, tmp_path):
    (tmp_path / "f").write_text(line)
    with pytest.raises(DataError):
        read_findings(tmp_path / "f")


def test_findings_whose_texts_hold_other_line_ends_come_back(tmp_path):
    odd = "a\u2028b\x85c\x0bd"
    finding = LabelFinding("wrong", odd, 3, 0.5, row=7, text=odd)
    (tmp_path / "f").write_text("\ufeff" + finding.line() + "\n\n", encoding="utf-8")
    assert read_findings(tmp_path / "f") == [finding]


def test_findings_of_other_data_and_circles_are_refused():
    data = planted(n_labels=5, n_texts=30)
    a, b = data.label_texts[0], data.label_texts[1]
    for found in (
        [LabelFinding("wrong", "no such", 0, 1.0, row=0)],
        [LabelFinding("wrong", a, 0, 1.0, row=30)],
        [LabelFinding("wrong", a, 7, 1.0, row=0)],
        [LabelFinding("wrong", a, 0, 1.0, row=1, text=data.train.texts[0])],  # a row was removed since
        [LabelFinding("synonym", a, 0, 1.0, other=b, other_id=2)],
        [LabelFinding("synonym", a, 0, 1.0, other=b, other_id=5)],
        [
            LabelFinding("synonym", a, 0, 1.0, other=b, other_id=1),
            LabelFinding("synonym", b, 1, 1.0, other=a, other_id=0),
        ],
    ):
        with pytest.raises(DataError):
            apply(data, found)


@pytest.mark.parametrize("texts", [0, 5])
def test_too_little_data_is_refused(texts):
    data = planted(n_labels=5, n_texts=30)
    labels = data.train.labels.copy()
    labels.data[int(labels.indptr[texts]) :] = 0
    labels.eliminate_zeros()
    with pytest.raises(MegalabelError):
        audit(replace(data, train=replace(data.train, labels=labels)))


def test_data_from_which_little_can_be_learned_are_audited_all_the_same():
    texts = [f"w{i % 7} x" for i in range(40)]
    for some, labels in ((texts, [[0]] * 40), (["same"] * 40, [[i % 3] for i in range(40)]),
                          ([*texts[:39], ""], [[i % 2, 2] for i in range(40)])):  # fmt: skip
        found = audit(Corpus.of(some, labels, ["a", "b", "c"][: 1 + max(map(max, labels))]), most=5)
        assert all(np.isfinite(f.confidence) for f in found)
