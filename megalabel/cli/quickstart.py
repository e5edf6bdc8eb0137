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


def quickstart(
    out: Annotated[Path, typer.Option(metavar="OUT", help="Folder of the runs.")] = Path("runs/quickstart"),
    text: Annotated[str, typer.Option(metavar="TEXT", help="Text to classify with the best model.")] = (
        "a large striped wild cat of Asia"
    ),
) -> None:
    """Train and evaluate five recipes on bundled data, and classify a text: a few minutes on a laptop."""
    run_all(out, text, typer.echo)


def run_all(out: Path, text: str, say: Callable[[str], Any]) -> None:
    """Trains each of `RUNS`, or takes the finished run from `out`; evaluates all; answers `text`."""
    from megalabel.cli.metrics_table import about, report, write_metrics
    from megalabel.data.corpus import Corpus
    from megalabel.inference.evaluate import evaluate

    data = Corpus.bundled(DATA)
    rows, model = [], None
    for name, (recipe, given) in RUNS.items():
        more = {"run": str(out / FIRST)} if recipe == "hybrid" else {}
        model, seconds = trained(recipe, data, out / name, {**given, **more})
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
    say(f"\n“{text}”")
    for name, score in model.predict([text], k=8)[0]:
        say(f"  {score:7.2f}  {name}")
    say(f"\nEach has its run folder in {out}. Ask more: echo 'a small boat' | megalabel predict {out / BEST}")


def recorded(data: Corpus) -> list[tuple[str, dict[str, float]]]:
    """The scores of other tools on this very corpus, best P@1 first; none for any other corpus."""
    text = files("megalabel.cli").joinpath("quickstart.toml").read_text(encoding="utf-8")
    known = tomllib.loads(text)
    if data.fingerprint() != known["fingerprint"]:
        return []
    return sorted(known["tools"].items(), key=lambda row: -row[1]["P@1"])


def trained(recipe: str, data: Corpus, out: Path, values: dict[str, Any]) -> tuple[Classifier, float]:
    """The model of a run, trained now or before, and the seconds that took."""
    from megalabel.cli.jobs import train
    from megalabel.cli.run_settings import RunSettings
    from megalabel.models.base import load
    from megalabel.recipes import get
    from megalabel.storage.files import read_json

    facts = out / "recipe.json"
    done = read_json(facts, next_step="delete the folder").get("finished") if facts.exists() else None
    if done:
        return load(out), float(done["seconds"])
    begun = time.monotonic()
    return train(get(recipe), data, out, values, RunSettings()), time.monotonic() - begun
