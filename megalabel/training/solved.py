"""A recipe whose model is the solution of a problem and not the end of a walk: no steps, no checkpoints."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megalabel.data.corpus import Corpus
from megalabel.ranker import Ranker
from megalabel.training.folder import claim, finish
from megalabel.training.log import peak_mb

Say = Callable[[str], Any]


@dataclass(frozen=True)
class Solved:
    """What `train` needs where nothing is stepped.

    data: the corpus that it learns from.
    solve: makes the model; told how it goes by calling its argument with a line.
    name, arguments: which function made this recipe, and with what; filled by `recipe`.
    """

    data: Corpus
    solve: Callable[[Say], Ranker]
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


def solve(recipe: Solved, out: Path, *, quiet: bool) -> Ranker:
    """The model of a recipe that is solved, saved in the run folder `out`; a run cut off begins again."""
    claim(out, recipe)
    begun = time.monotonic()
    model = recipe.solve((lambda line: None) if quiet else functools.partial(print, file=sys.stderr))
    model.save(out / "model")
    finish(out, recipe, {"seconds": time.monotonic() - begun, "peak_mb": peak_mb()})
    return model
