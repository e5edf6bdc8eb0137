"""Exports a trained model as one file for the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from megalabel.exporting.bag import bag_parts, not_exported
from megalabel.exporting.container import check_replaceable, write_container
from megalabel.exporting.linear import linear_parts
from megalabel.exporting.strings import string_arrays
from megalabel.exporting.tokens import same_tokens
from megalabel.models.base import Classifier
from megalabel.models.find import find_model
from megalabel.models.linear import LinearClassifier
from megalabel.models.monotone import RANKS
from megalabel.models.neural import NeuralClassifier
from megalabel.models.reading import read_model
from megalabel.models.scores import score_kind
from megalabel.runtime.folders import EXPORTED
from megalabel.storage.manifest import NAME


def export(model: Classifier, path: str | Path, *, manifest: int | None = None) -> int:
    """Writes a model as one file that `megalabel.runtime.load` maps into memory; returns its bytes.

    The runtime gives the scores of the model, without a further library. An index of the model is left out: it
    searches exactly.

    Args:
        model: a linear model over texts, or a bag with a dense, sparse or cascade head.
        path: the file, which is written completely or not at all.
        manifest: the CRC-32 of the manifest of the model's folder, by which the runtime sees whether the file in a
            run folder is that of the run; None for a file that stands for itself.

    Raises:
        SettingError: another kind of model, or the file is there and was not written by this function.
    """
    check_replaceable(path)
    facts, arrays = parts_of(model)
    size = write_container(path, {**facts, "manifest": manifest}, arrays)
    if isinstance(model, NeuralClassifier) and not same_tokens(model, Path(path)):
        facts, arrays = parts_of(model, tables=False)
        size = write_container(path, {**facts, "manifest": manifest}, arrays)
    return size


def parts_of(model: Classifier, *, tables: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Facts and arrays of the file of a model; SettingError for a kind that the runtime cannot read.

    tables: whether the tokenizer of a bag may become tables; otherwise it stays one of the tokenizers library.
    """
    if type(model) is LinearClassifier:
        facts, arrays = linear_parts(model)
    elif type(model) is NeuralClassifier:
        facts, arrays = bag_parts(model, tables=tables)
    else:
        raise not_exported(f"a model of the kind {type(model).__name__}")
    facts |= {"n_labels": len(model.label_texts), "score_type": score_kind(model)}
    arrays |= string_arrays("labels", model.label_texts)
    if model.calibration is not None:
        facts["calibration_ranks"] = RANKS
        for name in ("scores", "probabilities", "ends"):
            arrays[f"calibration.{name}"] = getattr(model.calibration, name)
    return facts, arrays


def export_run(run: str | Path, path: str | Path | None = None, **options: Any) -> tuple[Path, int]:
    """Exports the model of a run; returns the file and its bytes.

    Args:
        run: a run folder or a model folder.
        path: the file; default: model.mlr in the run folder, where `megalabel.runtime.load` finds it.
        options: those of `megalabel.load`.

    Raises:
        SettingError: as `export`. FormatError: as `megalabel.load`.
    """
    from megalabel.models.base import load

    model = load(run, device="cpu", **options)
    folder = find_model(run)[0]
    parent = folder.parent if folder.name == "model" else folder
    stamp = read_model(folder, lambda place: crc32((place / NAME).read_bytes()))
    file = parent / EXPORTED if path is None else Path(path)
    return file, export(model, file, manifest=stamp if path is None else None)
