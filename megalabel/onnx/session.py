"""Runs an exported folder, with tokenizers and onnxruntime alone, as other programs do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.onnx.libraries import library
from megalabel.types import TopK

GRAPH, INT8 = "model.onnx", "model.int8.onnx"


class OnnxModel:
    """An exported model.

    Args:
        folder: what `megalabel.onnx.export` wrote.
        file: the graph in it.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, folder: str | Path, file: str = GRAPH) -> None:
        from tokenizers import Tokenizer

        runtime = library("onnxruntime")
        self.session: Any = runtime.InferenceSession(str(Path(folder) / file), providers=["CPUExecutionProvider"])
        self.tokenizer: Any = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))

    def topk(self, texts: Sequence[str], batch_size: int = 32) -> TopK:
        """The k best labels of each text and their scores, (N, k) as numpy arrays, for the k of the export."""
        k = self.session.get_outputs()[0].shape[1]
        ids, scores = np.full((len(texts), k), -1, np.int64), np.full((len(texts), k), -np.inf, np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")  # short texts are not padded to long ones
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            encoded = self.tokenizer.encode_batch([texts[int(row)] for row in rows])
            inputs = {
                "input_ids": np.array([one.ids for one in encoded], np.int64),
                "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
            }
            ids[rows], scores[rows] = self.session.run(["labels", "scores"], inputs)
        return TopK(ids, scores)
