"""Tables of benchmarks/ray_predict.py: rates beside a plain loop, memory of actors, and memory over many rows."""

from __future__ import annotations

from benchmark_rows import origin, rows
from table_cells import cells_of, short

from megalabel.metrics.table import table

RATES = (
    ("actor, rows/s", "one actor: rate", 1.0),
    ("plain loop, rows/s", "plain loop: rate", 1.0),
    ("ratio", "one actor: ratio", 1.0),
    ("smallest ratio", "one actor: smallest ratio", 1.0),
)
MEMORY = (
    ("weights MB", "one actor: weights", 1.0),
    ("one actor, private MB", "one actor: sum of USS", 1.0),
    ("four actors, private MB", "four actors: sum of USS", 1.0),
    ("ratio", "four actors: ratio of USS", 1.0),
    ("one actor, PSS MB", "one actor: sum of PSS", 1.0),
    ("four actors, PSS MB", "four actors: sum of PSS", 1.0),
)


def ray_predict() -> str:
    """A table of rates, one of memory, and a sentence on memory over many rows."""
    rates, memory, told = [], [], []
    for size, values in rows("ray_predict").items():
        facts = {
            key: int(value) for key, value in (part.split("=") for part in size.split() if "ray=" not in part)
        }
        if "one actor: rate" in values:
            rounds = f"{facts['rounds']} rounds in turn" if "rounds" in facts else "at the same time"
            rates.append((f"{facts['L']:,} labels, parts of {facts['part']:,}, {rounds}", cells_of(values, RATES)))
        elif "four actors: sum of USS" in values:
            memory.append((f"{facts['L']:,} labels, D = {facts['D']}", cells_of(values, MEMORY)))
        else:
            actor, driver = (
                ", ".join(short(float(values[f"fifth {i}: USS of the {who}"][0])) for i in range(1, 6))
                for who in ("actor", "driver")
            )
            told.append(
                f"Over {facts['rows']:,} rows, the largest private memory in each fifth of the time was {actor} "
                f"MB in the actor and {driver} MB in the driver."
            )
    tables = [
        table(lines, [head for head, _, _ in columns], style="markdown", title="")
        for lines, columns in ((rates, RATES), (memory, MEMORY))
    ]
    return "\n\n".join([*tables, *told, origin("ray_predict")])
