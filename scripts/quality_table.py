"""The table of accuracy and training time: megalabel beside the best recorded tools of each data set."""

from __future__ import annotations

from benchmark_columns import COLUMNS, SETS
from benchmark_rows import origin, rows
from recorded import recorded

from megalabel.metrics.table import table

PEERS = 3  # number of best recorded tools shown per data set


def quality() -> str:
    parts = []
    for name in SETS:
        ours = {size: metrics for size, metrics in rows("quality").items() if size.split()[0] == name}
        ours |= {size: metrics for size, metrics in rows("linear").items() if size == f"{name} linear"}
        if not ours:
            continue
        lines = [
            (
                f"**megalabel {' '.join(size.split()[1:])}**",
                {metric: float(value) for metric, (value, _) in metrics.items()}
                | {
                    metric: f"{float(metrics[metric][0]):.2f} ± {float(metrics[f'{metric} ±'][0]):.2f}"
                    for metric in metrics
                    if f"{metric} ±" in metrics
                },
            )
            for size, metrics in ours.items()
        ]
        lines.sort(key=lambda line: -float(str(line[1]["P@1"]).split()[0]))
        lines += recorded(name)[:PEERS]
        parts.append(table(lines, COLUMNS, style="markdown", title=name))
    return "\n\n".join([*parts, origin("quality", "linear")])
