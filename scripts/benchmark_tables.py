"""Writes the tables of docs/benchmarks.md from benchmarks/results.csv; --check verifies them instead."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from megalabel.metrics.table import table

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.path.insert(0, str(ROOT / "scripts"))
from benchmark_columns import (  # noqa: E402, I001
    ANNIF_COLUMNS, ANNIF_HTTP_COLUMNS, AUTO_COLUMNS, BEAM_COLUMNS, CASCADE_COLUMNS, FAN_IN_COLUMNS,
    HEAD_COLUMNS, LATENCY_COLUMNS, LONG_TEXT_COLUMNS, NARROW_BEAM_COLUMNS, NARROW_COLUMNS, ONE_VS_REST_COLUMNS,
    PAGE_COLUMNS, REPORT_COLUMNS, SHARED_COLUMNS, SPARSE_COLUMNS, TAIL_COLUMNS, TREE_COLUMNS, USUAL_COLUMNS,
)  # fmt: skip
from benchmark_rows import origin, rows  # noqa: E402
from disk_tables import streamed_texts, tables_on_disk  # noqa: E402
from index_tables import index, long_queries  # noqa: E402
from label_tables import added_labels, further_texts  # noqa: E402
from linear_tables import linear, linear_large, linear_weights  # noqa: E402
from planner_table import planner  # noqa: E402
from quality_table import quality  # noqa: E402
from ray_tables import ray_predict  # noqa: E402
from runtime_tables import distill, onnx_export, runtime  # noqa: E402
from serve_tables import serve, serve_stress  # noqa: E402
from table_cells import cells_of, short, table_by_size, table_of  # noqa: E402


def dense_head() -> str:
    return _ways("dense_head", HEAD_COLUMNS)


def narrow_weights() -> str:
    return _ways("narrow_weights", NARROW_COLUMNS)


def report() -> str:
    return _ways("report", REPORT_COLUMNS)


def annif_backends() -> str:
    return _ways("annif_backends", ANNIF_COLUMNS)


def annif_http() -> str:
    return table_by_size("annif_http", ANNIF_HTTP_COLUMNS)


def tail() -> str:
    """One row per data set; "PSP@5, 0.5" is measured with the tail knob at 0.5."""
    return table_by_size("tail", TAIL_COLUMNS)


def one_vs_rest() -> str:
    return _ways("one_vs_rest", ONE_VS_REST_COLUMNS)


def usual() -> str:
    """A row per data set and tool."""
    return table_by_size("usual", USUAL_COLUMNS)


def page() -> str:
    return _ways("page", PAGE_COLUMNS)


def narrow_beam() -> str:
    return _ways("narrow_beam", NARROW_BEAM_COLUMNS)


def _ways(benchmark: str, columns: tuple[tuple[str, str, float], ...]) -> str:
    """One row per size and implementation; metrics are named "implementation: metric", or "metric" alone."""
    lines = []
    for size, values in rows(benchmark).items():
        for way in dict.fromkeys(metric.rpartition(": ")[0] for metric in values):
            name = f"{size.split()[0]} {way}" if way else size.rpartition(" threads")[0]
            lines.append((name, cells_of(values, columns, f"{way}: " if way else "")))
    return table_of(lines, columns, benchmark)


def cascade() -> str:
    """One row per number of labels, optimizer and implementation; metrics are named "implementation: metric"."""
    lines = []
    for size, values in rows("cascade").items():
        for way in dict.fromkeys(metric.rpartition(": ")[0] for metric in values):
            facts = dict(part.split("=") for part in size.split() if "=" in part)
            beams = facts["beams"].replace(",", "/")
            name = f"{int(facts['L']):,} labels, {size.split()[3]}, beams {beams}, {way}"
            lines.append((name, cells_of(values, CASCADE_COLUMNS, f"{way}: ")))
    return table_of(lines, CASCADE_COLUMNS, "cascade")


def tree() -> str:
    """One row per step and tool; metrics are named "step, metric"."""
    lines = []
    for size, values in rows("tree").items():
        for what in dict.fromkeys(metric.rpartition(", ")[0] for metric in values):
            labels = int(size.split()[0].partition("=")[2])
            lines.append((f"{labels:,} labels: {what}", cells_of(values, TREE_COLUMNS, f"{what}, ")))
    return table_of(lines, TREE_COLUMNS, "tree")


def beam() -> str:
    """One row per beam size."""
    return table_by_size("beam", BEAM_COLUMNS, lambda size: size.split()[-1])


def scripts() -> str:
    """One line a script; the values of an earlier commit in brackets."""
    lines = []
    for script, values in rows("scripts").items():
        shown = {name: f"{float(value):.1f}" for name, (value, _) in values.items()}
        before = {name: f" ({shown[f'{name}, before']})" for name in shown if f"{name}, before" in shown}
        lines.append(
            (script, {name: shown[name] + before.get(name, "") for name in shown if "before" not in name})
        )
    return table(lines, list(lines[0][1]), style="markdown", title="") + "\n\n" + origin("scripts")


def sparse_head() -> str:
    """One row per size and implementation; metrics are named "implementation: metric"."""
    lines = []
    for size, values in rows("sparse_head").items():
        for way in dict.fromkeys(metric.rpartition(": ")[0] for metric in values):
            labels = int(size.split()[0].removeprefix("L="))
            lines.append((f"{labels:,} labels: {way}", cells_of(values, SPARSE_COLUMNS, f"{way}: ")))
    return table_of(lines, SPARSE_COLUMNS, "sparse_head")


def fan_in() -> str:
    """One table per data set; scores of several seeds with their standard deviation."""
    parts = []
    measured = rows("fan_in")
    for name in dict.fromkeys(size.split()[0] for size in measured):
        lines = []
        for size, values in measured.items():
            if size.split()[0] != name:
                continue
            cells = {}
            for column in FAN_IN_COLUMNS:
                value = float(values[column][0])
                cells[column] = f"{value:.2f}" if "@" in column else short(value)
                if f"{column} ±" in values:
                    cells[column] += f" ± {float(values[f'{column} ±'][0]):.2f}"
            lines.append((size.partition(" ")[2], cells))
        lines.sort(key=lambda line: line[0] != "dense")
        parts.append(table(lines, FAN_IN_COLUMNS, style="markdown", title=name))
    return "\n\n".join([*parts, origin("fan_in")])


def shared_checkpoints() -> str:
    """One row per size."""
    return table_by_size("shared_checkpoints", SHARED_COLUMNS)


def long_texts() -> str:
    """One row per way of reading texts, and one per length of a single text."""
    parts = []
    for columns in (LONG_TEXT_COLUMNS, LATENCY_COLUMNS):
        found = {size: v for size, v in rows("long_texts").items() if columns[0][1] in v}
        lines = [(size, cells_of(values, columns)) for size, values in found.items()]
        if lines:
            parts.append(table(lines, [head for head, _, _ in columns], style="markdown", title=""))
    return "\n\n".join([*parts, origin("long_texts")])


def auto() -> str:
    """One table per data set: searches, `linear` alone, and the rivals that were run beside them."""
    lines: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for size, values in rows("auto").items():
        name, _, how = size.partition(", ")
        lines.setdefault(name, []).extend(_with_tail("auto", f": {values['chosen'][0]}, {how}", values))
    for size, values in rows("linear_choice").items():
        name, _, seed = size.partition(" seed ")
        if name in lines:
            lines[name].extend(_with_tail("linear", f", seed {seed}", values))
    for size, values in rows("rivals").items():
        name, tool = size.split()
        if name in lines:
            lines[name].append((tool, cells_of(values, AUTO_COLUMNS)))
    heads = [head for head, _, _ in AUTO_COLUMNS]
    parts = [table(found, heads, style="markdown", title=name) for name, found in lines.items()]
    return "\n\n".join([*parts, origin("auto", "linear_choice", "rivals", without=("shape ", "sorted "))])


def _with_tail(recipe: str, how: str, values: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """The line of a model and, where it was measured, that of its answers with the tail knob."""
    lines = [(f"**megalabel train {recipe}**{how}", cells_of(values, AUTO_COLUMNS))]
    if "tail" in values:
        moved = {name.removeprefix("tail "): v for name, v in values.items() if name.startswith("tail ")}
        answers = f"**megalabel train {recipe}**, `predict --tail auto`: {float(values['tail'][0]):.1f}"
        lines.append((answers, cells_of(moved, AUTO_COLUMNS)))
    return lines


def head_time() -> str:
    """One sentence per data set."""
    told = []
    for size, values in rows("head_time").items():
        seconds = {metric.partition(": ")[0]: v[0] for metric, v in values.items() if metric.endswith(": head")}
        recall = [float(v[0]) for metric, v in values.items() if ": recall level" in metric]
        (dense, of_dense), (other, of_other) = seconds.items()
        recall_by_level = ", ".join(f"{value:.1f}%" for value in recall)
        told.append(
            f"{size.split()[0]}, {size.split()[2]} epochs with the encoder {size.split()[1]}: "
            f"the head of {other} takes {float(of_other):.0f} s, {float(values['share'][0]):.0%} of the "
            f"{float(of_dense):.0f} s of the head of {dense}; its shortlist recall by level is {recall_by_level}."
        )
    return "\n".join([*told, "", origin("head_time")])


TABLES = (
    quality, scripts, dense_head, narrow_weights, narrow_beam, planner, tables_on_disk, streamed_texts, head_time,
    annif_backends, annif_http, one_vs_rest, tail, ray_predict, cascade, tree, beam, sparse_head, fan_in, linear,
    linear_large,
    linear_weights, long_texts, auto, index, long_queries, shared_checkpoints, page, report, serve, serve_stress,
    usual, runtime, distill, onnx_export, added_labels, further_texts,
)  # fmt: skip


def main() -> None:
    path = ROOT / "docs" / "benchmarks.md"
    before = text = path.read_text(encoding="utf-8")
    for made in TABLES:
        name = made.__name__
        if rows(name):
            text = re.sub(
                rf"(<!-- {name} -->\n).*?(<!-- end -->)",
                lambda match, made=made: match[1] + made() + "\n" + match[2],
                text,
                flags=re.DOTALL,
            )
    if "--check" in sys.argv:
        if text != before:
            sys.exit(
                "docs/benchmarks.md is not up to date with benchmarks/results.csv; "
                "run python scripts/benchmark_tables.py"
            )
        return
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
