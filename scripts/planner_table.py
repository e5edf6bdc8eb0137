"""The table of predicted and measured peaks of memory in docs/benchmarks.md."""

from __future__ import annotations

from benchmark_rows import origin, rows

from megalabel.metrics.table import table

COLUMNS = (
    ("predicted MB", "predicted peak", "{:,.0f}"),
    ("measured MB", "measured peak", "{:,.0f}"),
    ("predicted / measured", "predicted / measured", "{:.3f}"),
)


def planner() -> str:
    """One row per setting that was measured, the latest of its number."""
    settings = {}
    for size, values in rows("planner").items():
        number, _, setting = size.partition(": ")
        if "predicted / measured" in values:
            settings[number] = setting, values
    lines = []
    for number in sorted(settings, key=_place):
        setting, values = settings[number]
        cells = {head: form.format(float(values[metric][0])) for head, metric, form in COLUMNS}
        lines.append((f"{number}: {_short(setting)}", cells))
    found = [float(values["predicted / measured"][0]) for _, values in settings.values()]
    within = sum(abs(ratio - 1) <= 0.03 for ratio in found)
    told = f"{within} of {len(found)} settings are within 3%.\n\n"
    return (
        table(lines, [head for head, _, _ in COLUMNS], style="markdown", title="")
        + f"\n\n{told}"
        + origin("planner")
    )


def _place(number: str) -> tuple[bool, int]:
    return not number.isdigit(), int(number.rpartition("/")[2])


def _short(setting: str) -> str:
    """A setting in a few words: recipe, labels, encoder, texts and tokens of a batch, and what else matters."""
    recipe, labels, *rest = setting.split()
    facts = dict(part.split("=") for part in rest)
    shown = [recipe, f"{int(labels.partition('=')[2]):,} labels", facts["encoder"]]
    shown.append(f"{facts['batch_size']} × {facts['max_length']} tokens")
    shown += [facts[key] for key in ("head_optimizer", "weights") if key in facts]
    if facts["accumulation_steps"] != "1":
        shown.append(f"{facts['accumulation_steps']} parts")
    return ", ".join(shown)
