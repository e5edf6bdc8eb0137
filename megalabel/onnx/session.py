"""Runs an exported folder, as other programs do: with onnxruntime, and tokenizers where a graph takes tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.onnx.libraries import library
from megalabel.runtime.words import fold
from megalabel.types import TopK

GRAPH, INT8, FACTS = "model.onnx", "model.int8.onnx", "export.json"


def code_points(texts: Sequence[str], folds: bool) -> np.ndarray:
    """The characters of N texts as numbers, (N, C) int32, with 0 after the end of each.

    folds: whether texts become lower case and lose the accents of Latin, Greek and Cyrillic letters.
    """
    rows = [
        np.frombuffer((fold(text) if folds else text).encode("utf-32-le", "surrogatepass"), np.dtype("<i4"))
        for text in texts
    ]
    found = np.zeros((len(rows), max(map(len, rows), default=0)), np.int32)
    for row, codes in zip(found, rows, strict=True):
        row[: len(codes)] = codes
    return found


class OnnxModel:
    """An exported model.

    Args:
        folder: what `megalabel.onnx.export` wrote.
        file: the graph in it.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, folder: str | Path, file: str = GRAPH) -> None:
        runtime = library("onnxruntime")
        self.session: Any = runtime.InferenceSession(str(Path(folder) / file), providers=["CPUExecutionProvider"])
        self.facts: dict[str, Any] = json.loads((Path(folder) / FACTS).read_text(encoding="utf-8"))
        self._tokenizer = _tokenizer(Path(folder)) if self.facts["input"] == "tokens" else None

    def topk(self, texts: Sequence[str], batch_size: int = 32) -> TopK:
        """The k best labels of each text and their scores, (N, k) as numpy arrays, for the k of the export."""
        k = self.session.get_outputs()[0].shape[1]
        ids, scores = np.full((len(texts), k), -1, np.int64), np.full((len(texts), k), -np.inf, np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")  # short texts are not padded to long ones
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            inputs = self._inputs([texts[int(row)] for row in rows])
            ids[rows], scores[rows] = self.session.run(["labels", "scores"], inputs)
        return TopK(ids, scores)

    def _inputs(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        if self._tokenizer is None:
            return {"code_points": code_points(texts, self.facts["input"] == "folded code points")}
        prompt = self.facts.get("prompt", "")
        encoded = self._tokenizer.encode_batch([prompt + text for text in texts])
        return {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
        }


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))
