"""`tune`: what it writes, that it resumes without repeating trials, and what it refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import planted
from topk_agree import assert_topk_agree

import megalabel
from megalabel.errors import SettingError
from megalabel.tuning import candidates, conclusion, search, trials
from megalabel.tuning.history import TRIALS
from megalabel.tuning.search import held_out_fraction, tune

FEW = {"trees": candidates.Varied(choices=(1, 2)), "prune_below": candidates.Varied(choices=(0.05, 0.1, 0.3))}
PLAIN = {"token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0}  # nothing that linear chooses
NEURAL = {
    "dropout": candidates.Varied(choices=(0.0, 0.2)),
    "token_lr": candidates.Varied(factors=(2.0,)),
}
SMALL = {"tokenizer": "words", "max_length": 16, "batch_size": 64, "hidden_dim": 0, "bigram_min_count": 0}


@pytest.fixture
def varied(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the options that are varied, few enough that a search tries all of them and not until its time ends."""

    def choose(table: dict[str, candidates.Varied]) -> None:
        monkeypatch.setattr(candidates, "VARIED", table)

    return choose


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / TRIALS).read_text().splitlines()]


def test_a_search_over_a_linear_recipe_writes_a_run_that_its_values_repeat(varied: Any, tmp_path: Path) -> None:
    varied(FEW)
    corpus, said = planted(), []
    model = tune(corpus, tmp_path / "s", "linear", minutes=10, say=said.append, clusters=(4,), **PLAIN)
    tried = lines(tmp_path / "s")
    assert len(tried) == 9 and {line["status"] for line in tried} == {"finished"}
    best = max(tried, key=lambda line: line["metrics"]["nDCG@5"])
    assert f"chosen: trial {best['number']}, linear" in said[-1]
    assert json.loads((tmp_path / "s/search.json").read_text())["chosen"] == best["number"]
    arguments = json.loads((tmp_path / "s/recipe.json").read_text())["arguments"]
    assert arguments["validation_fraction"] == 0  # the last training had all texts
    again = megalabel.train(
        megalabel.recipes.get("linear")(corpus, **tomllib.loads((tmp_path / "s/chosen.toml").read_text())),
        tmp_path / "r",
    )
    texts = list(corpus.test.texts)
    assert_topk_agree(model.topk(texts, 5), again.topk(texts, 5))
    assert not (tmp_path / "s/trials").exists() or not list((tmp_path / "s/trials").iterdir())


def test_an_interrupted_search_repeats_no_finished_trial_and_chooses_the_same(
    varied: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied({**NEURAL})
    corpus, arguments = planted(), dict(SMALL, minutes=60, quiet=True, epochs=4)
    tune(corpus, tmp_path / "whole", "renee", **arguments)
    trained, train = [], trials.train

    def counting(recipe: Any, out: Path, **how: Any) -> Any:
        if len(trained) == 2:
            trained.append(None)
            raise KeyboardInterrupt
        trained.append(out)
        return train(recipe, out, **how)

    monkeypatch.setattr(trials, "train", counting)
    with pytest.raises(KeyboardInterrupt):
        tune(corpus, tmp_path / "cut", "renee", **arguments)
    with open(tmp_path / "cut" / TRIALS, "a") as file:
        file.write('{"number": 2, "recipe": "ren')  # as a crash leaves it
    tune(corpus, tmp_path / "cut", "renee", **arguments)

    def compared(out: Path) -> list[Any]:
        drop = ("seconds", "latency_ms", "facts")
        return [{k: v for k, v in line.items() if k not in drop} for line in lines(out)]

    assert compared(tmp_path / "cut") == compared(tmp_path / "whole")
    assert len(trained) == len(lines(tmp_path / "whole")) + 1
    chosen = [json.loads((tmp_path / name / "search.json").read_text())["chosen"] for name in ("cut", "whole")]
    assert chosen[0] == chosen[1]
    assert (tmp_path / "cut/chosen.toml").read_text() == (tmp_path / "whole/chosen.toml").read_text()


def test_a_finished_search_is_loaded_and_another_one_is_refused(varied: Any, tmp_path: Path) -> None:
    varied({})
    corpus = planted()
    model = tune(corpus, tmp_path / "s", "linear", minutes=5, quiet=True, **PLAIN)
    said: list[str] = []
    again = tune(corpus, tmp_path / "s", "linear", minutes=7, say=said.append, **PLAIN)
    assert "is finished" in said[0] and len(said) == 1
    assert_topk_agree(model.topk(["w1a w1b"], 3), again.topk(["w1a w1b"], 3))
    with pytest.raises(SettingError, match="seed = 0, not 1"):
        tune(corpus, tmp_path / "s", "linear", minutes=5, seed=1, **PLAIN)
    with pytest.raises(SettingError, match="recipe = linear, not renee"):
        tune(corpus, tmp_path / "s", "renee", minutes=5)
    with pytest.raises(SettingError, match="data = "):
        tune(planted(seed=1), tmp_path / "s", "linear", minutes=5, **PLAIN)


def test_auto_trains_a_linear_model_encoders_and_a_hybrid_with_its_settings(varied: Any, tmp_path: Path) -> None:
    varied({})
    corpus, said = planted(), []
    fixed = {"max_length": 16, "epochs": 4, "clusters": (4,), "joint_trees": 1}
    model = tune(corpus, tmp_path / "s", minutes=30, encoders=["bag"], say=said.append, **fixed)
    tried = lines(tmp_path / "s")
    assert {line["recipe"] for line in tried} >= {"linear", "renee", "cascadexml", "hybrid"}
    chosen = json.loads((tmp_path / "s/search.json").read_text())["chosen"]
    assert megalabel.evaluate(model, corpus)["P@1"] > 60
    assert tried[chosen]["metrics"]["nDCG@5"] == max(line["metrics"].get("nDCG@5", 0) for line in tried)
    table = said[-2].splitlines()
    assert len(table) == len(tried) + 1 and table[1].startswith("*")
    linear, hybrid = (next(line for line in tried if line["recipe"] == name) for name in ("linear", "hybrid"))
    assert {"c", "bigrams", "char_ngrams"} <= set(linear["chosen"])
    assert hybrid["values"].items() >= {**linear["chosen"], "joint_trees": 1}.items()
    assert hybrid["status"] == "finished" and not hybrid["chosen"]


def test_the_choice_is_limited_by_size_and_time_per_text(varied: Any, tmp_path: Path) -> None:
    varied(FEW)
    corpus = planted()
    tune(corpus, tmp_path / "s", "linear", minutes=5, quiet=True, clusters=(4,), **PLAIN)
    sizes = sorted({line["size_mb"] for line in lines(tmp_path / "s")})
    limit = (sizes[0] + sizes[-1]) / 2
    tune(corpus, tmp_path / "t", "linear", minutes=5, quiet=True, max_size=limit, clusters=(4,), **PLAIN)
    chosen = json.loads((tmp_path / "t/search.json").read_text())["chosen"]
    assert lines(tmp_path / "t")[chosen]["size_mb"] <= limit < sizes[-1]
    with pytest.raises(SettingError, match=r"within the limits \(.* ms per text\)"):
        tune(
            corpus, tmp_path / "u", "linear", minutes=5, quiet=True, max_latency="0.0001us", clusters=(4,), **PLAIN
        )


def test_a_training_that_would_take_too_long_is_stopped_early(tmp_path: Path) -> None:
    corpus = planted(n_texts=4000)
    values = {**SMALL, "batch_size": 1, "epochs": 500}
    with pytest.raises(SettingError, match=r"too slow: .* steps"):
        tune(corpus, tmp_path / "s", "renee", minutes=0.02, quiet=True, **values)
    assert lines(tmp_path / "s")[0]["seconds"] < 30


def test_a_failed_trial_is_recorded_and_the_search_goes_on(
    varied: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied({"trees": candidates.Varied(choices=(1, 2))})
    train, calls = trials.train, []

    def failing(recipe: Any, out: Path, **how: Any) -> Any:
        calls.append(out)
        if len(calls) == 2:
            raise MemoryError("no memory is left")
        return train(recipe, out, **how)

    monkeypatch.setattr(trials, "train", failing)
    tune(planted(), tmp_path / "s", "linear", minutes=5, quiet=True, **PLAIN)
    assert [line["status"] for line in lines(tmp_path / "s")] == [
        "finished",
        "failed: no memory is left",
        "finished",
    ]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"minutes": 0}, "minutes"),
        ({"minutes": float("nan")}, "minutes"),
        ({"metric": "accuracy"}, "metric"),
        ({"recipe": "linaer"}, "did you mean linear"),
        ({"max_size": "200 bananas"}, "max_size"),
        ({"max_latency": -1}, "max_latency"),
        ({"trees": 0}, "trees"),
        ({"tres": 3}, "tres"),
        ({"validation_fraction": 0.1}, "which the search sets"),
    ],
)
def test_invalid_arguments_are_refused_before_any_work(arguments: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=match):
        tune(planted(), tmp_path / "s", **{"recipe": "linear", **arguments})
    assert not (tmp_path / "s" / TRIALS).exists()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/letter.txt").write_text("dear")
    with pytest.raises(SettingError, match=r"contains letter\.txt"):
        tune(planted(), tmp_path / "s", "linear", minutes=1)
    assert (tmp_path / "s/letter.txt").read_text() == "dear"


def test_few_texts_hold_out_a_larger_fraction() -> None:
    assert held_out_fraction(100_000) == 0.05
    assert held_out_fraction(3_000) == pytest.approx(0.1)
    assert held_out_fraction(50) == 0.2
    assert np.isfinite(held_out_fraction(0))
    assert search.LEAST_HELD / 3_000 == pytest.approx(0.1)


def test_what_linear_chooses_is_not_chosen_again_in_later_trials(varied: Any, tmp_path: Path) -> None:
    varied({"trees": candidates.Varied(choices=(1, 2))})
    tune(planted(), tmp_path / "s", "linear", minutes=5, quiet=True, clusters=(4,))
    first, *later = lines(tmp_path / "s")
    assert {"c", "bigrams", "char_ngrams"} <= set(first["chosen"])
    assert later and all(line["values"].items() >= first["chosen"].items() for line in later)
    assert all(not line["chosen"] for line in later)
    arguments = json.loads((tmp_path / "s/recipe.json").read_text())["arguments"]
    assert {name: arguments[name] for name in first["chosen"]} == first["chosen"]


def test_a_search_cut_off_while_it_moves_its_model_ends_with_one_model(
    varied: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied({})
    write = conclusion.write_json

    def cut(path: Path, value: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(conclusion, "write_json", cut)
    arguments = {"minutes": 5, "quiet": True, "clusters": (4,), **PLAIN}
    with pytest.raises(KeyboardInterrupt):
        tune(planted(), tmp_path / "s", "linear", **arguments)
    monkeypatch.setattr(conclusion, "write_json", write)
    model = tune(planted(), tmp_path / "s", "linear", **arguments)
    assert not (tmp_path / "s/model/model").exists()
    assert megalabel.evaluate(model, planted())["P@1"] > 60
