"""Ranking the best labels of a classifier again by a callable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import planted

import megalabel
from megalabel.errors import DataError, SettingError
from megalabel.metrics.ranking import measure
from megalabel.models.reranked import RerankedClassifier
from megalabel.recipes import get
from megalabel.training.run_folder import held_out_rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A weak linear model, which reads few features, its corpus and the rows that it held out."""
    corpus, out = planted(), tmp_path_factory.mktemp("run") / "r"
    recipe = get("linear")(
        corpus, trees=1, clusters=(4,), vocabulary=40, label_texts="no", validation_fraction=0.2
    )
    return megalabel.train(recipe, out, quiet=True), corpus, held_out_rows(out)


def overlap(texts: Sequence[str], names: Sequence[Sequence[str]]) -> list[list[float]]:
    """A scorer that knows the answer: the number of words of a label in the text."""
    return [
        [float(len(set(t.split()) & set(name.split()))) for name in some]
        for t, some in zip(texts, names, strict=True)
    ]


def constant(texts: Sequence[str], names: Sequence[Sequence[str]]) -> list[list[float]]:
    return [[0.0] * len(some) for some in names]


def test_a_good_scorer_improves_the_ranking_and_a_useless_one_does_not_change_it(trained: Any) -> None:
    model, corpus, rows = trained
    better = RerankedClassifier.fit(model, overlap, corpus, rows, candidates=40)
    texts, truth = list(corpus.test.texts), corpus.test.labels
    reached = [measure(m.topk(texts, 5), truth, k=1)["P@1"] for m in (model, better)]
    assert reached[1] > reached[0] + 5
    assert better.mixture.weights[1] > 0.3
    same = RerankedClassifier.fit(model, constant, corpus, rows, candidates=40)
    assert np.array_equal(same.topk(texts, 5).ids, model.topk(texts, 5).ids)


def test_a_scorer_gets_the_candidates_by_name_and_never_a_filtered_label(trained: Any) -> None:
    model, corpus, _ = trained
    seen: list[tuple[list[str], list[list[str]]]] = []

    def scorer(texts: Any, names: Any) -> Any:
        seen.append((texts, names))
        return constant(texts, names)

    texts = list(corpus.test.texts)[:3]
    best = int(model.topk(texts, 1).ids[1, 0])
    found = RerankedClassifier(model, scorer, 7).topk(texts, 3, exclude=np.array([[1, best]]))
    ((asked, names),) = seen
    assert asked == texts and [len(row) for row in names] == [7, 7, 7]
    assert corpus.label_texts[best] not in names[1] and best not in found.ids[1]
    assert names[0] == [corpus.label_texts[i] for i in model.topk(texts, 7).ids[0]]


def test_more_labels_than_candidates_and_more_candidates_than_labels(trained: Any) -> None:
    model, corpus, _ = trained
    few, many = RerankedClassifier(model, overlap, 2), RerankedClassifier(model, overlap, 1000)
    texts = list(corpus.test.texts)[:4]
    assert few.topk(texts, 10).ids.shape == (4, 10)
    assert (np.asarray(few.topk(texts, 10).ids) >= 0).all()
    assert many.topk(texts, 10).ids.shape == (4, 10)
    assert few.predict([], k=3) == []


@pytest.mark.parametrize(
    ("scorer", "match"),
    [
        (lambda texts, names: [[1.0]] * len(texts), "1 of them"),
        (lambda texts, names: [], "scores of 0 texts"),
        (lambda texts, names: [[float("nan")] * len(row) for row in names], "not all finite"),
    ],
)
def test_scores_that_do_not_fit_are_refused(trained: Any, scorer: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        RerankedClassifier(trained[0], scorer, 5).topk(["w1a"], 3)


def test_wrong_arguments_are_refused(trained: Any, tmp_path: Path) -> None:
    model, corpus, rows = trained
    for arguments in ((model, "scorer"), (None, overlap), (model, overlap, 0)):
        with pytest.raises(SettingError):
            RerankedClassifier(*arguments)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="held-out texts"):
        RerankedClassifier.fit(model, overlap, corpus, rows[:0])
    with pytest.raises(SettingError, match="labels"):
        RerankedClassifier.fit(model, overlap, planted(n_labels=20), rows)
    with pytest.raises(SettingError, match="can be saved"):
        RerankedClassifier(model, overlap).save(tmp_path / "m")
