"""Embeddings for joint trees: their values, and that hybrids of a search compute them once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import planted

from megalabel.models.neural import NeuralClassifier
from megalabel.recipes import embedded
from megalabel.recipes.embedded import embeddings, sharing_embeddings
from megalabel.recipes.trained import trained_run

NORM = 0.3


class Counted:
    """The number of texts that a model embedded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts, encode = 0, NeuralClassifier.encode

        def counting(model: NeuralClassifier, texts: Any, *arguments: Any, **options: Any) -> Any:
            self.texts += len(texts)
            return encode(model, texts, *arguments, **options)

        monkeypatch.setattr(NeuralClassifier, "encode", counting)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def of(run: Path, rows: np.ndarray | None = None, labels: int = 3, norm: float = NORM) -> np.ndarray:
    corpus = planted()
    first, kept, _ = trained_run(str(run), corpus)
    return embeddings(first, str(run), corpus, kept if rows is None else rows, kept, np.arange(labels), norm)


def test_the_values_and_their_order(bag_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "BLOCK", 50)
    corpus = planted()
    first, kept, held = trained_run(str(bag_run), corpus)
    everything = np.arange(len(corpus.train))
    found = of(bag_run, everything)
    assert found.shape == (len(everything) + 3, first.encoder.dim) and found.dtype == np.float32
    views = first.encode([*corpus.train.texts, *list(corpus.label_texts)[:3]])[:, -1]
    np.testing.assert_allclose(found, NORM * views / np.linalg.norm(views, axis=1, keepdims=True), atol=1e-5)
    assert 0 < len(held) < len(everything)
    assert np.array_equal(of(bag_run)[: len(kept)], found[kept])  # the same bits with the others and without


def test_hybrids_of_a_search_share_them(bag_run: Path, counted: Counted) -> None:
    n, everything = len(planted().train), np.arange(len(planted().train))
    alone = of(bag_run, everything)
    before = counted.texts
    with sharing_embeddings():
        once = of(bag_run)
        assert np.array_equal(of(bag_run, norm=2 * NORM), 2 * once)  # what is known is not scaled
        assert np.array_equal(of(bag_run), once)
        shared = of(bag_run, everything)  # as a refit does: only the texts that were held out are new
        assert counted.texts - before == n + 3
        of(bag_run, labels=2)
        assert counted.texts - before == n + 3 + 2
    assert np.array_equal(shared, alone)
    of(bag_run)
    assert counted.texts - before > n + 5


def test_those_of_another_run_are_forgotten(bag_run: Path, tmp_path: Path, counted: Counted) -> None:
    other = tmp_path / "other"
    other.symlink_to(bag_run)  # the same run by another name, which is resolved
    copy = tmp_path / "copy"
    shutil.copytree(bag_run, copy)
    with sharing_embeddings():
        of(bag_run)
        of(other)
        first = counted.texts
        of(copy)
        assert counted.texts == 2 * first
        of(bag_run)
        assert counted.texts == 3 * first
