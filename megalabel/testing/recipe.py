"""The check of a recipe: runs on a small corpus that are repeated and resumed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.models.base import load
from megalabel.training.recipe import Recipe
from megalabel.training.run import train


def check_recipe(make_recipe: Callable[[Corpus], Recipe], corpus: Corpus) -> None:
    """Trains a recipe on a small corpus in temporary folders, and checks what `megalabel.train` promises.

    The loss is finite, the returned model is the saved one, the same seed gives the same model, and a run that was
    cut off ends with the same weights. Give a recipe of two epochs or more that trains in seconds, on one thread.

    Args:
        make_recipe: makes a fresh recipe for the corpus.
        corpus: a corpus of at least a few dozen texts.

    Raises:
        AssertionError: the recipe breaks one of these promises.
        MegalabelError: `train` refuses the recipe.
    """
    side = corpus.test if corpus.test is not None and len(corpus.test) else corpus.train
    texts = list(side.texts)[:50]
    trust = _modules_of(make_recipe(corpus))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines: list[dict[str, Any]] = []
        whole = train(make_recipe(corpus), folder / "whole", device="cpu", quiet=True, callback=lines.append)
        losses = [line["loss"] for line in lines if "loss" in line]
        assert losses and np.isfinite(losses).all(), f"losses that are missing or not finite: {losses[:5]}"
        best = whole.topk(texts, 5).numpy()
        _same(load(folder / "whole", trust=trust).topk(texts, 5).numpy(), best, "the saved model")
        again = train(make_recipe(corpus), folder / "again", device="cpu", quiet=True)
        _same(again.topk(texts, 5).numpy(), best, "a second run")
        _cut_off(make_recipe(corpus), folder / "cut")
        resumed = train(make_recipe(corpus), folder / "cut", device="cpu", quiet=True)
        _same(resumed.topk(texts, 5).numpy(), best, "a resumed run")


class _CutOff(Exception):
    pass


def _cut_off(recipe: Recipe, out: Path) -> None:
    """Begins a run and ends it by an exception after the first third of its steps."""
    stop_at = max(recipe.batches.steps // 3, 1)

    def callback(line: Mapping[str, Any]) -> None:
        if line["step"] >= stop_at:
            raise _CutOff

    try:
        train(replace(recipe, log_every=1), out, device="cpu", checkpoint_steps=1, quiet=True, callback=callback)
    except _CutOff:
        return
    raise AssertionError(f"no line in the log from step {stop_at} on: does the head compute its loss?")


def _modules_of(recipe: Recipe) -> list[str]:
    parts = (recipe.encoder, *recipe.head.modules())
    return sorted({type(part).__module__.split(".")[0] for part in parts} - {"megalabel", "torch"})


def _same(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray], what: str) -> None:
    for ours, theirs, name in zip(found, expected, ("labels", "scores"), strict=True):
        assert np.array_equal(ours, theirs), f"{what} has other {name} than the returned model"
