"""The end of a search over hybrids: the trees of the chosen one are fitted again on all texts."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_runs import trained
from planted import planted
from topk_agree import assert_topk_agree

import megalabel
from megalabel.recipes import get
from megalabel.training.run_folder import held_out_rows
from megalabel.tuning import candidates, conclusion
from megalabel.tuning.conclusion import REFIT_COST, last_training
from megalabel.tuning.search import tune

PLAIN = {"token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0, "clusters": (4,), "trees": 1}


@pytest.fixture(scope="module")
def bag_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained("renee", tmp_path_factory.mktemp("runs") / "renee")


@pytest.fixture
def few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "VARIED", {"joint_trees": candidates.Varied(choices=(1, 2))})


def searched(out: Path, bag_run: Path, minutes: float = 10) -> Any:
    return tune(planted(), out, "hybrid", minutes=minutes, quiet=True, run=str(bag_run), **PLAIN)


def recorded(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "recipe.json").read_text())
    return found


def test_a_hybrid_has_learned_all_texts_as_its_configuration_says(
    few_values: None, bag_run: Path, tmp_path: Path
) -> None:
    model = searched(tmp_path / "s", bag_run)
    assert recorded(tmp_path / "s")["arguments"]["refit"] is True
    assert len(held_out_rows(tmp_path / "s")) == 0
    values = tomllib.loads((tmp_path / "s/chosen.toml").read_text())
    assert values["refit"] is True
    texts = list(planted().test.texts)
    again = get("hybrid")(planted(), **values).solve(lambda line: None)
    assert_topk_agree(model.topk(texts, 5), again.topk(texts, 5))
    assert np.array_equal(again.mixture.weights, model.mixture.weights)
    assert not any((tmp_path / "s/trials").glob("*"))


def test_without_time_the_hybrid_of_the_trial_stays(
    few_values: None, bag_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conclusion, "ROOM", 1e6)
    searched(tmp_path / "s", bag_run)
    assert recorded(tmp_path / "s")["arguments"]["refit"] is False
    assert len(held_out_rows(tmp_path / "s")) > 0


@pytest.mark.parametrize("when", ["training", "moving", "recording"])
def test_a_search_cut_off_at_its_end_ends_with_one_model(
    when: str, few_values: None, bag_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"training": "train", "moving": "write_text", "recording": "write_json"}[when]

    def cut(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conclusion, name, cut)
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "s", bag_run)
    model = searched(tmp_path / "s", bag_run)
    assert recorded(tmp_path / "s")["arguments"]["refit"] is True
    assert not (tmp_path / "s/model/model").exists()
    assert megalabel.evaluate(model, planted())["P@1"] > 60
    texts = list(planted().test.texts)
    assert_topk_agree(megalabel.load(tmp_path / "s").topk(texts, 5), model.topk(texts, 5))


def test_which_recipes_are_trained_again() -> None:
    costs = {name: last_training(get(name)) for name in ("linear", "retrieval", "renee", "hybrid")}
    assert costs == {"linear": 1.0, "retrieval": 1.0, "renee": 0.0, "hybrid": REFIT_COST}
