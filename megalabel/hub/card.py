"""The model card of a run: its metrics as data, its training set, the settings that train it again, licenses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from megalabel.encoders.names import known
from megalabel.models.find import find_model
from megalabel.models.trained_on import FILE as COUNTS
from megalabel.models.trained_on import load_trained_on
from megalabel.recipes import get
from megalabel.recipes.config import as_config
from megalabel.storage.files import folder_bytes, read_json
from megalabel.storage.migrate import recipe_json
from megalabel.storage.paths import as_path

SHOWN = ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@3", "PSP@5", "R@5", "ECE@5")
TAGS = ["extreme-multi-label-classification", "multi-label-classification", "tagging"]


def model_card(run: str | Path, name: str, *, license: str | None = None) -> str:
    """The text of README.md for a model on the hub: metadata as YAML, then a page.

    Metrics are those that `megalabel evaluate` wrote into the run folder; without them, the card has none.

    Args:
        run: a run folder, or a model folder, of which less is known.
        name: the name of the model on the hub.
        license: the license of the model, as an SPDX identifier.
    """
    run = as_path(run, "run")
    folder, manifest = find_model(run)
    recipe = recipe_json(read_json(run / "recipe.json", next_step=None)) if (run / "recipe.json").is_file() else {}
    metrics = read_json(run / "metrics.json", next_step=None) if (run / "metrics.json").is_file() else {}
    parts = [
        f"---\n{_metadata(name, license, recipe, metrics)}\n---\n\n# {name.partition('/')[2]}",
        _summary(recipe, manifest, folder),
        _usage(name),
        _metrics(metrics),
        _training(recipe),
        _size(recipe, folder),
        _licenses(license, recipe),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metadata(name: str, license: str | None, recipe: dict[str, Any], metrics: dict[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    about, title = metrics.get("about", {}), name.partition("/")[2]
    results = [
        EvalResult(
            task_type="text-classification", dataset_type=str(about["data"]), dataset_name=str(about["data"]),
            dataset_split="test", metric_type=metric, metric_name=metric, metric_value=metrics[metric],
        )
        for metric in SHOWN
        if metric in metrics and "data" in about
    ]  # fmt: skip
    data = ModelCardData(
        license=license,
        library_name="megalabel",
        pipeline_tag="text-classification",
        tags=TAGS + ([str(recipe["recipe"])] if "recipe" in recipe else []),
        model_name=title if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml()).rstrip()


def _summary(recipe: dict[str, Any], manifest: dict[str, Any], folder: Path) -> str:
    n_labels = manifest.get("n_labels") or recipe.get("data", {}).get("labels")
    labels = f"{n_labels:,} labels" if isinstance(n_labels, int) else "many labels"
    lines = [f"A text classifier over {labels}, trained with megalabel."]
    if "data" in recipe:
        data = recipe["data"]
        lines.append(f"It was trained on {data['texts']:,} texts of the data set {data['name']!r}")
        counted = load_trained_on(folder, data["labels"]) if (folder / COUNTS).is_file() else None
        if counted is not None:
            counts = counted.counts
            lines[-1] += (
                f", which have {counts.sum() / counted.n_texts:.1f} labels each on average; half of them have "
                f"at most {np.median(counts):.0f} texts, and {np.count_nonzero(counts == 0):,} have none"
            )
        lines[-1] += f". The fingerprint of the data is `{data['fingerprint']}`."
    return "\n".join(lines)


def _usage(name: str) -> str:
    return f"""## Usage

```python
import megalabel

model = megalabel.from_pretrained("{name}")  # revision="…" for one commit
print(model.predict(["a text"], k=5))
```"""


def _metrics(metrics: dict[str, Any]) -> str:
    shown = [name for name in SHOWN if name in metrics]
    if not shown:
        return ""
    about = metrics.get("about", {})
    where = f"On {about.get('texts', 0):,} texts of {about.get('data')!r}, in percent:"
    rows = [shown, ["---:"] * len(shown), [f"{metrics[name]:.2f}" for name in shown]]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"## Evaluation\n\n{where}\n\n{table}"


def _training(recipe: dict[str, Any]) -> str:
    """The command and the values of all options."""
    if "recipe" not in recipe:
        return ""
    name, values = str(recipe["recipe"]), dict(recipe.get("arguments", {}))
    for option in ("run", "encoder", "tree"):
        if isinstance(values.get(option), str) and Path(values[option]).is_absolute():
            values[option] = Path(values[option]).name
    if ":" in name:  # a recipe of another package, which is not imported here
        config = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    else:
        config = as_config(get(name).options.from_values(values))
    return f"""## Training

```
megalabel train {name} DATA --config config.toml --out RUN
```

with megalabel {recipe.get("version")} and this `config.toml`:

```toml
{config}
```"""


def _size(recipe: dict[str, Any], folder: Path) -> str:
    lines = [f"The model has {folder_bytes(folder) / 1e6:,.1f} MB on disk."]
    finished = recipe.get("finished") or {}
    if "peak_mb" in finished:
        lines.append(
            f"Training took {finished['seconds']:,.0f} s and at most {finished['peak_mb']:,.0f} MB of memory."
        )
    if "peak_device_mb" in finished:
        lines.append(f"Peak memory of the GPU: {finished['peak_device_mb']:,.0f} MB.")
    lines.append(f"`megalabel plan {recipe.get('recipe', 'RECIPE')}` predicts the memory for other sizes of data.")
    return "## Memory\n\n" + "\n".join(lines)


def _licenses(license: str | None, recipe: dict[str, Any]) -> str:
    lines = [f"* model: {license or 'not stated'}", "* megalabel: Apache-2.0"]
    encoder = recipe.get("arguments", {}).get("encoder")
    if encoder:
        license_of = next((entry["license"] for entry in known() if encoder in entry["names"]), None)
        lines.append(f"* encoder `{Path(str(encoder)).name}`: {license_of or 'see its own card'}")
    data = recipe.get("data", {}).get("name")
    if data:
        lines.append(f"* data set {data!r}: see its source; the labels of the model are its labels")
    return "## Licenses\n\n" + "\n".join(lines)
