"""Exports a model as a folder: the graph, the tokenizer, the names of the labels, and facts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.data.types import Split
from megalabel.errors import MegalabelError, SettingError
from megalabel.labels.tree import new_folder
from megalabel.models.base import load
from megalabel.models.find import model_folder
from megalabel.models.label_names import save_names
from megalabel.models.linear import LinearClassifier
from megalabel.models.neural import NeuralClassifier
from megalabel.models.scores import score_kind
from megalabel.onnx.base import ExportedGraph
from megalabel.onnx.comparison import compared, difference, labeled_texts, precision
from megalabel.onnx.graph import INLINE_BYTES, OPSET, graph_of, write_graph
from megalabel.onnx.libraries import check_libraries, library
from megalabel.onnx.linear import LinearGraph, in_8_bits
from megalabel.onnx.quantize import quantize
from megalabel.onnx.session import FACTS, GRAPH, INT8, OnnxModel
from megalabel.storage.files import atomic_folder, sha256, write_json
from megalabel.storage.manifest import NAME
from megalabel.version import __version__

PROBES = 64  # label names that a new graph is tried on
TOLERANCE = 1e-3  # of their scores, relative to scores above 1


def export(
    run: str | Path,
    out: str | Path,
    *,
    k: int = 10,
    int8: bool = False,
    check: tuple[Corpus, Split] | None = None,
    trust: tuple[str, ...] = (),
    inline_bytes: int = INLINE_BYTES,
) -> dict[str, Any]:
    """Writes the model of a run as ONNX; returns the facts that export.json holds.

    The folder holds model.onnx (and model.onnx.data above 2 GB), which maps `input_ids` and `attention_mask`,
    (n, T) int64, or `code_points`, (n, C) int32, of a linear model, to `labels` (n, k) int64 and `scores` (n, k)
    float32, best first; tokenizer.json, which pads and cuts texts, unless the model is linear; labels.jsonl, the
    names of the labels, a JSON string per line; export.json.

    Args:
        run: a run folder or a model folder: a linear model over texts, or a bag or a transformer with a dense,
            sparse, cascade or dual-encoder head.
        out: a new folder.
        k: labels per text; all of them where the model has fewer.
        int8: whether to write model.int8.onnx, too, with weights in 8 bits.
        check: a data set and its split, on which P@1 and P@5 of the graphs and of the model are measured.
        trust: as for `megalabel.load`.
        inline_bytes: bytes of weights up to which model.onnx is one file.

    Raises:
        SettingError: another kind of model, k below 1, a folder that exists already, or a graph with other scores
            than the model.
        MissingExtra: onnx, onnxscript or onnxruntime is not installed.
        DataError: none of the labels of `check` is one of the model.
    """
    folder = new_folder(out)
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise SettingError.range("k", k, 1, integer=True)
    check_libraries()
    model: Any = load(run, device="cpu", trust=trust)
    k = min(k, len(model.label_texts))
    graph = graph_of(model, k)
    model.index = None  # as the graph, the model scores every label
    sample = None if check is None else labeled_texts(model, *check)
    facts = {**_facts(model, graph, k), "manifest_sha256": sha256(model_folder(run) / NAME)}
    with atomic_folder(folder) as new:
        write_json(new / FACTS, facts)
        write_graph(graph, new / GRAPH, inline_bytes)
        del graph
        if isinstance(model, NeuralClassifier):
            model.encoder.tokenizer.save(new, max_length=model.max_length)
        save_names(new, model.label_texts)
        with _run_by_onnxruntime():
            facts["difference"] = _tried(model, OnnxModel(new), k)
            if int8:
                _write_int8(model, new, k, inline_bytes)
            if sample is not None:
                facts["check"] = _checked(model, new, k, int8, *sample)
        facts["onnxruntime"] = library("onnxruntime").__version__
        write_json(new / FACTS, facts)
    return facts


@contextmanager
def _run_by_onnxruntime() -> Iterator[None]:
    """Within it, errors of onnxruntime, whose classes have no name that can be imported, are SettingError."""
    try:
        yield
    except MegalabelError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("onnx"):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise SettingError(
            f"a graph that onnxruntime {library('onnxruntime').__version__} cannot run ({reason})",
            wanted="one that it can",
            next_step="export with other versions of torch and onnxruntime, and report this as a bug",
            where="run",
        ) from error


def _facts(model: Any, graph: ExportedGraph, k: int) -> dict[str, Any]:
    """What programs have to know of a graph."""
    reads: dict[str, Any] = {"input": "tokens"}
    if isinstance(graph, LinearGraph):
        reads["input"] = "folded code points" if graph.folds else "code points"
    else:
        reads |= {"max_length": model.max_length, "prompt": model.encoder.tokenizer.prompt}
    return {
        "format": 1, "version": __version__, "k": k, "n_labels": len(model.label_texts),
        "score_type": score_kind(model), **reads, "opset": OPSET,
    }  # fmt: skip


def _write_int8(model: Any, folder: Path, k: int, inline_bytes: int) -> None:
    """Writes the graph with weights in 8 bits beside that of the model."""
    if isinstance(model, LinearClassifier):
        write_graph(graph_of(in_8_bits(model), k), folder / INT8, inline_bytes)
    else:
        quantize(folder / GRAPH, folder / INT8, inline_bytes)


def _tried(model: Any, graph: OnnxModel, k: int) -> float:
    """The largest difference of scores on some label names and an empty text; SettingError where it is large."""
    rows = np.linspace(0, len(model.label_texts) - 1, min(PROBES, len(model.label_texts))).astype(np.int64)
    texts = ["", *(str(model.label_texts[int(row)]) for row in rows)]
    expected = model.topk(texts, k)
    largest, _ = difference(graph.topk(texts), expected)
    scores = expected.numpy()[1]
    bound = TOLERANCE * max(1.0, float(np.abs(scores[np.isfinite(scores)]).max(initial=0.0)))
    if not largest <= bound:
        raise SettingError(
            f"scores of the graph that differ by {largest:.2g} from those of the model",
            wanted=f"a difference of at most {bound:.2g}",
            next_step="export with other versions of torch and onnxruntime, and report this as a bug",
            where="run",
        )
    return largest


def _checked(model: Any, folder: Path, k: int, int8: bool, texts: list[str], truth: Any) -> dict[str, Any]:
    """The precision of the model and of each graph on labeled texts."""
    expected = model.topk(texts, k)
    found = {"texts": len(texts), "model": precision(expected, truth)}
    for file in (GRAPH, INT8) if int8 else (GRAPH,):
        found[file] = compared(OnnxModel(folder, file), texts, expected, truth)
    return found
