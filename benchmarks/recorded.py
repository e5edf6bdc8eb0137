"""The recorded scores of other tools, by data set."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def recorded(name: str) -> list[tuple[str, dict[str, float]]]:
    """Tools and their values on a data set, best P@1 first; empty if nothing was recorded.

    Metrics are in percent, costs as in `megalabel.metrics.table.COSTS`.
    """
    tables = tomllib.loads((ROOT / "benchmarks" / "peers.toml").read_text(encoding="utf-8"))
    bundled = tomllib.loads((ROOT / "megalabel" / "cli" / "quickstart.toml").read_text(encoding="utf-8"))
    tools = (tables | {"wordnet-4k": bundled["tools"]}).get(name, {})
    rows = [(tool, {key: float(value) for key, value in values.items()}) for tool, values in tools.items()]
    return sorted(rows, key=lambda row: -row[1]["P@1"])
