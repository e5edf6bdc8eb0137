"""Exported ONNX graphs beside their models: one text at a time, bytes, scores, precision.

    python benchmarks/onnx_export.py RUN… [--out FOLDER]

Each run is exported with weights in 8 bits too, and checked on the test side of its data set; with --out exports
are kept there, and not made again. Rows, of both graphs:

- "file" and "model": the bytes of the export, and of the model folder;
- "one text": a text at a time in onnxruntime, from its string on, and by `megalabel.load(RUN).topk`, in turns, one
  thread each; medians of the wall clock, and of the CPU, which other jobs on the machine change less;
- "load": the seconds until onnxruntime has a session;
- "largest difference" of scores, "rankings that differ", and P@1 of the model and of the graphs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import onnxruntime
from record import row

import megalabel
from megalabel.cli.arguments import open_data_of
from megalabel.models.find import model_folder
from megalabel.onnx.export import export
from megalabel.onnx.session import FACTS, GRAPH, INT8, OnnxModel

TEXTS, WARM = 300, 20


class OneThread(OnnxModel):
    """An exported model whose session has one thread."""

    def __init__(self, folder: Path, file: str) -> None:
        super().__init__(folder, file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        begun = time.perf_counter()
        self.session = onnxruntime.InferenceSession(
            str(folder / file), options, providers=["CPUExecutionProvider"]
        )
        self.seconds = time.perf_counter() - begun


def one_at_a_time(size: str, models: dict[str, Any], texts: list[str]) -> None:
    """Medians of the time of a text, the models in turns."""
    wall: dict[str, list[float]] = {name: [] for name in models}
    cpu: dict[str, list[float]] = {name: [] for name in models}
    for text in texts:
        for name, answer in models.items():
            begun, used = time.perf_counter(), time.process_time()
            answer([text])
            wall[name].append(time.perf_counter() - begun)
            cpu[name].append(time.process_time() - used)
    for name in models:
        row("onnx_export", size, f"one text, {name}", 1e6 * statistics.median(wall[name][WARM:]), "µs")
        row("onnx_export", size, f"one text, {name}, CPU", 1e6 * statistics.median(cpu[name][WARM:]), "µs")


def measured(run: Path, scratch: Path) -> None:
    corpus = open_data_of(run, None)
    size = f"{corpus.name} {json.loads((run / 'recipe.json').read_text())['recipe']}"
    folder = scratch / run.name
    if not folder.exists():
        export(run, folder, int8=True, check=(corpus, corpus.test))
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    model: Any = megalabel.load(run, device="cpu")
    model.index = None
    files = [file.stat().st_size for file in model_folder(run).rglob("*") if file.is_file()]
    row("onnx_export", size, "model", sum(files) / 1e6, "MB")
    row("onnx_export", size, "texts", facts["check"]["texts"], "")
    row("onnx_export", size, "P@1", facts["check"]["model"]["P@1"], "%")
    answers: dict[str, Any] = {"library": lambda texts: model.topk(texts, facts["k"])}
    for name, file in (("graph", GRAPH), ("8 bits", INT8)):
        parts = [part.stat().st_size for part in folder.glob(f"{file}*")]
        row("onnx_export", size, f"file, {name}", sum(parts) / 1e6, "MB")
        found = facts["check"][file]
        row("onnx_export", size, f"P@1, {name}", found["P@1"], "%")
        row("onnx_export", size, f"largest difference, {name}", found["difference"], "")
        row("onnx_export", size, f"rankings that differ, {name}", 100 * (1 - found["same_rankings"]), "%")
        graph = OneThread(folder, file)
        row("onnx_export", size, f"load, {name}", graph.seconds, "s")
        answers[name] = graph.topk
    one_at_a_time(size, answers, [str(text) for text in corpus.test.texts[: TEXTS + WARM]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for run in arguments.runs:
            measured(run, arguments.out or Path(scratch))


if __name__ == "__main__":
    main()
