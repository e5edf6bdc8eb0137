"""Makes the tables of docs/benchmarks.md on the runtime, on distilled models and on exports to ONNX."""

from __future__ import annotations

from benchmark_columns import DISTILL_COLUMNS, FIRST_ANSWER_COLUMNS, ONNX_COLUMNS, RUNTIME_COLUMNS
from benchmark_rows import rows
from table_cells import cells_of, table_by_size, table_of


def runtime() -> str:
    """One row per exported model; of data sets that were measured by first answers alone, these."""
    found = rows("runtime")
    lines = [(size, cells_of(v, RUNTIME_COLUMNS)) for size, v in found.items() if "cold, wall p50" in v]
    known = {name.split()[0] for name, _ in lines}
    for size, values in found.items():
        name = size.split()[0]
        if "first answer: p50" in values and name not in known:
            lines.append((f"{name} linear", cells_of(values, FIRST_ANSWER_COLUMNS)))
    return table_of(lines, RUNTIME_COLUMNS, "runtime")


def distill() -> str:
    """One row per distilled run."""
    return table_by_size("distill", DISTILL_COLUMNS)


def onnx_export() -> str:
    """One row per exported run."""
    return table_by_size("onnx_export", ONNX_COLUMNS)
