"""A search tries chunks where texts are long and time is left, on the best model so far."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from planted import planted

from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.tuning import auto
from megalabel.tuning.candidates import Candidate
from megalabel.tuning.history import History
from megalabel.tuning.trials import Setting, Trials

LINEAR = {
    "token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0, "clusters": (4,), "trees": 1,
}  # fmt: skip


def long_texts() -> Corpus:
    data = planted()
    noise = " ".join(f"noise{i % 30}" for i in range(250))
    return replace(
        data, train=replace(data.train, texts=Texts.from_strings([f"{t} {noise}" for t in data.train.texts]))
    )


def searched(corpus: Corpus, out: Path, seconds: float) -> tuple[Trials, list[str]]:
    said: list[str] = []
    trials = Trials(Setting(corpus, out, 0.2, "nDCG@5", say=said.append), History(out, seconds, time.monotonic()))
    out.mkdir()
    trials.run(Candidate("linear", LINEAR))
    return trials, said


def test_chunks_are_tried_on_the_best_model_and_kept_only_where_they_gain(tmp_path: Path) -> None:
    trials, _ = searched(long_texts(), tmp_path / "s", 600)
    assert auto.has_long_texts(trials)
    auto.chunks(trials)
    first, last = trials.history.results
    assert (last.recipe, last.status) == ("chunked", "finished")
    assert Path(last.values["run"]) == trials.folder(first)
    assert last.metrics["nDCG@5"] >= first.metrics["nDCG@5"]
    gained = last.metrics["nDCG@5"] > first.metrics["nDCG@5"]
    assert trials.best is (last if gained else first)
    assert bool(last.chosen) is gained
    assert first in trials.protected


def test_short_texts_are_not_cut(tmp_path: Path) -> None:
    trials, _ = searched(planted(), tmp_path / "s", 600)
    assert not auto.has_long_texts(trials)


@pytest.mark.parametrize("best", [True, False])
def test_nothing_is_tried_without_time_or_a_model(best: bool, tmp_path: Path) -> None:
    trials, said = searched(long_texts(), tmp_path / "s", 600)
    trials.best = replace(trials.history.results[0], latency_ms=1e9) if best else None
    auto.chunks(trials)
    assert len(trials.history.results) == 1
    assert ("no time" in said[-1]) is best
