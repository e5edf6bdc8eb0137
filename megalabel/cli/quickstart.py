"""`megalabel quickstart`: five recipes on bundled data, beside the scores of other tools, in a few minutes."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.models.base import Classifier

DATA = "wordnet-4k"
BAG = {"encoder": "bag"}
# By run, in order: recipe and arguments beside its preset. The hybrid stands on the run of renee, which for that
# holds some texts out.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "spartex": ("spartex", BAG),
    "cascadexml": ("cascadexml", BAG),
    "renee": ("renee", {**BAG, "validation_fraction": 0.05}),
    "hybrid": ("hybrid", {}),
}
FIRST, BEST = "renee", "hybrid"
QUESTION = "a device for measuring temperature"
SHOWN = 8  # labels of the answer


def quickstart(
    out: Annotated[Path, typer.Option(metavar="OUT", help="Folder of the runs.")] = Path("runs/quickstart"),
    text: Annotated[str, typer.Option(metavar="TEXT", help="Text to classify with the best model.")] = QUESTION,
) -> None:
    """Train and evaluate five recipes on bundled data, and classify a text: a few minutes on a laptop."""
    run_all(out, text, typer.echo)


def run_all(out: Path, text: str, say: Callable[[str], Any]) -> None:
    """Trains each of `RUNS`, or takes the finished run from `out`; evaluates all; answers `text`."""
    from megalabel.cli.metrics_table import about, report, write_metrics
    from megalabel.data.corpus import Corpus
    from megalabel.inference.evaluate import evaluate
    from megalabel.metrics.table import table

    data = Corpus.bundled(DATA)
    rows, model, clock = [], None, Clock(out)
    for i, (name, (recipe, given)) in enumerate(RUNS.items(), 1):
        more = {"run": str(out / FIRST)} if recipe == "hybrid" else {}
        say(f"\n{i} of {len(RUNS)}: {name}{clock.expected(name)}")
        model, seconds = trained(recipe, data, out / name, {**given, **more})
        clock.took(name, seconds)
        found = evaluate(model, data)
        assert data.test is not None
        write_metrics(out / name / "metrics.json", found, about(data, data.test, out / name))
        rows.append((f"megalabel {name}", found | {"train s": seconds}))
    assert model is not None
    say(
        f"\n{DATA}, test texts; the scores and times of other tools were recorded on another day, and the "
        f"training time of hybrid comes on top of that of {FIRST}:\n"
    )
    say(report(rows, recorded(data)))
    say(
        f"\nEach has its run folder in {out}. Ask more: echo 'a small boat' | megalabel predict {out / BEST}; "
        f"where a model is weak: megalabel report {out / BEST}"
    )
    say(f"\nThe first labels of “{text}” by {BEST}, with their probabilities:\n")
    answer = [(name, {"probability": f"{p:.2f}"}) for name, p in model.predict([text], k=SHOWN)[0]]
    say(table(answer, ["probability"], title="label"))


class Clock:
    """Expects the time of the runs from recorded times, at the pace of the runs so far.

    Args:
        out: the folder of the runs; those that are finished there take no time.
    """

    def __init__(self, out: Path) -> None:
        seconds = facts()["seconds"]
        self._left = {name: seconds.get(name, 0.0) for name in RUNS if finished(out / name) is None}
        self._recorded = self._measured = 0.0

    def expected(self, name: str) -> str:
        """In words, how long a run takes, and how long all take that are left; of a finished run, that it is."""
        from megalabel.display import duration

        if name not in self._left:
            return ", trained before"
        pace = self._measured / self._recorded if self._recorded else 1.0
        own, rest = (duration(max(pace * s, 1)) for s in (self._left[name], sum(self._left.values())))
        return f", about {own}" + (f"; all that is left takes about {rest}" if len(self._left) > 1 else "")

    def took(self, name: str, seconds: float) -> None:
        """Notes the seconds of a run that was trained now."""
        if name in self._left:
            self._recorded, self._measured = self._recorded + self._left.pop(name), self._measured + seconds


def facts() -> dict[str, Any]:
    """What quickstart.toml says of other tools, and of the time of the runs."""
    return tomllib.loads(files("megalabel.cli").joinpath("quickstart.toml").read_text(encoding="utf-8"))


def recorded(data: Corpus) -> list[tuple[str, dict[str, float]]]:
    """The scores of other tools on this very corpus, best P@1 first; none for any other corpus."""
    known = facts()
    if data.fingerprint() != known["fingerprint"]:
        return []
    return sorted(known["tools"].items(), key=lambda row: -row[1]["P@1"])


def trained(recipe: str, data: Corpus, out: Path, values: dict[str, Any]) -> tuple[Classifier, float]:
    """The model of a run, trained now or before, and the seconds that took."""
    from megalabel.cli.jobs import train
    from megalabel.cli.run_settings import RunSettings
    from megalabel.models.base import load
    from megalabel.recipes import get

    done = finished(out)
    if done is not None:
        return load(out), done
    begun = time.monotonic()
    return train(get(recipe), data, out, values, RunSettings()), time.monotonic() - begun


def finished(out: Path) -> float | None:
    """The seconds that a finished run took; None for a run that is not finished, or not there."""
    from megalabel.storage.files import read_json

    path = out / "recipe.json"
    done = read_json(path, next_step="delete the folder").get("finished") if path.exists() else None
    return float(done["seconds"]) if done else None
