"""`megalabel quickstart`: the whole road on bundled data, in a few minutes on a laptop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megalabel.commands.evaluate import report, write_metrics
from megalabel.commands.train import run
from megalabel.data.corpus import Corpus
from megalabel.files import read_json
from megalabel.inference.evaluate import evaluate
from megalabel.ranker import load

DATA, RECIPE = "wordnet-4k", "renee"


def quickstart(out: Path, text: str, say: Callable[[str], Any]) -> None:
    """Trains (or takes the finished run in `out`), measures beside the recorded peers, answers `text`."""
    data = Corpus.bundled(DATA)
    begun = time.monotonic()
    facts = out / "recipe.json"
    trained = facts.exists() and read_json(facts, next_step="delete the folder").get("finished")
    model = load(out) if trained else run(RECIPE, data, out, {})
    seconds = None if trained else time.monotonic() - begun
    found = evaluate(model, data)
    write_metrics(out, found)
    say(f"\n{DATA}, test side; the peers' times were recorded on another day:\n")
    say(report("megalabel, this run", found, DATA, seconds))
    say(f"\n“{text}”")
    for name, score in model.predict([text], k=8)[0]:
        say(f"  {score:7.2f}  {name}")
    say(f"\nThe model is in {out}. Ask it more: echo 'a small boat' | megalabel predict {out}")
