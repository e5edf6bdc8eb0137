"""An index in a neural classifier: ranks labels by it, builds, saves and loads it."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import RESTORE_FOLDER, SettingError
from megalabel.heads.abilities import Searchable
from megalabel.heads.base import Head
from megalabel.index import files
from megalabel.index.base import DEPTH, LabelIndex
from megalabel.index.build import RECALL, Built, build_index, check_request
from megalabel.models.text_list import as_texts
from megalabel.storage.files import atomic_folder, sha256
from megalabel.storage.manifest import DIGEST, NAME, check_listed, read_manifest, write_manifest
from megalabel.types import Positives, TopK

WEIGHTS = "head.safetensors"
MOST = 4000  # texts on which an index is measured
_FACTS = ("encoder", "head")


class Indexed(Protocol):
    """What is read of a `NeuralClassifier`, which imports this module."""

    head: Head
    index: LabelIndex | None

    @property
    def label_texts(self) -> Sequence[str]:
        """The names of the labels."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def encode(self, texts: Iterable[str], *, progress: str = "") -> np.ndarray:
        """The views (N, V, D) of texts."""


Model = TypeVar("Model", bound=Indexed)


def topk(head: Head, index: LabelIndex | None, views: Tensor, k: int, exclude: Positives | None) -> TopK:
    """The k best labels of a head, by its index if it has one and runs on the CPU."""
    if index is None or not isinstance(head, Searchable) or not views.is_cpu:
        return head.topk(views, k, exclude=exclude)
    return index.topk(head.label_table(), head.queries(views), k, exclude)


def with_index(
    model: Model,
    kind: str = "auto",
    texts: Iterable[str] = (),
    *,
    recall: float = RECALL,
    k: int = DEPTH,
    seed: int = 0,
    say: Callable[[str], Any] = warnings.warn,
) -> Model:
    """The same model with an index, by which `topk` and `predict` rank labels on the CPU.

    Scores stay those of the head. The index is saved with the model. What was measured is in `model.index.report`.

    Args:
        model: a classifier with a dense head or a dual encoder.
        kind: "int8", "tree", "hnsw", "auto" for the fastest of int8, tree and none, or "exact" for none.
        texts: held-out texts like those that will be classified, on which recall and time are measured; of more
            than 4,000, this many are drawn.
        recall: the fraction of the k best labels to keep.
        k: labels per text up to which the index is used; if more are asked for, every label is scored.
        seed: of the clusters and of the draw of texts.
        say: receives warnings; by default they are Python warnings.

    Raises:
        SettingError: the head has no label vectors to search, texts are missing, or a number is out of range.
        MissingExtra: hnsw without the package faiss-cpu.
    """
    return built(model, kind, texts, recall=recall, k=k, seed=seed, say=say, progress="")[0]


def built(
    model: Model,
    kind: str,
    texts: Iterable[str],
    *,
    recall: float = RECALL,
    k: int = DEPTH,
    seed: int = 0,
    say: Callable[[str], Any] = warnings.warn,
    progress: str = "encoding texts",
) -> tuple[Model, Built]:
    """The result of `with_index`, and what was measured; `progress` is the title of a bar."""
    head = searchable(model)
    check_request(kind, recall, k, len(model.label_texts))
    if seed < 0:
        raise SettingError.range("seed", seed, 0, integer=True)
    texts = as_texts(texts)
    if len(texts) < 2:
        raise SettingError(
            f"{len(texts)} texts",
            wanted="2 or more, held out of training, to measure recall and time on",
            next_step="pass some hundred texts like those that will be classified",
            where="texts",
        )
    if len(texts) > MOST:
        rows = np.sort(np.random.default_rng(seed).permutation(len(texts))[:MOST])
        texts = [texts[int(row)] for row in rows]
    with torch.no_grad():
        x = head.queries(torch.from_numpy(model.encode(texts, progress=progress))).float()
    found = build_index(kind, head.label_table(), x, recall=recall, k=k, seed=seed, say=say)
    return replaced(model, found.index), found


def replaced(model: Model, index: LabelIndex | None) -> Model:
    """The same model with another index, or with none."""
    other = copy.copy(model)
    other.index = index
    return other


def searchable(model: Any) -> Searchable:
    """The head of a model; SettingError where it has no label vectors on the CPU that could be searched."""
    head = getattr(model, "head", None)
    if not isinstance(head, Searchable):
        kind = type(model).__name__ if head is None else type(head).__name__
        inside = isinstance(getattr(getattr(model, "base_model", None), "head", None), Searchable)
        around = inside and not hasattr(model, "word_trees")  # of a hybrid
        raise SettingError(
            f"a {kind}, which has no vector for each label",
            wanted="a model with a dense head or a dual encoder (renee, dexml, ngame)",
            next_step="build it for the model inside, whose labels were changed or whose texts are cut"
            if around
            else "linear and cascadexml search their label trees already; the others score every label",
        )
    if model.device.type != "cpu":
        raise SettingError(
            f"a model on {model.device}", wanted="a model on the CPU", next_step="load it with device='cpu'"
        )
    return head


def save(folder: Path, index: LabelIndex | None) -> None:
    """Writes the index, if there is one, into a model folder that holds the weights."""
    if index is not None:
        files.save_index(folder / files.FOLDER, index, sha256(folder / WEIGHTS))


def load(folder: Path, manifest: Mapping[str, Any], head: Head) -> LabelIndex | None:
    """The index of a model folder whose manifest was checked; None if it has none, or one of other weights."""
    hashes = manifest["sha256"]
    if f"{files.FOLDER}/{NAME}" not in hashes or not isinstance(head, Searchable):
        return None
    n, dim = head.label_table().weight.shape
    found = files.load_index(folder / files.FOLDER, str(hashes[WEIGHTS]), (n, dim))
    if found is None:
        warnings.warn(
            f"{folder / files.FOLDER} was built from other weights and is not used; build it with megalabel index",
            stacklevel=2,
        )
    return found


def put_index(folder: Path, index: LabelIndex | None) -> None:
    """Replaces the index of a saved model, or removes it; the other files stay as they are.

    Raises:
        FormatError: the folder holds no neural classifier, or is damaged.
    """
    manifest = read_manifest(
        folder, "model", 2, oldest=1, facts=_FACTS, files=(WEIGHTS,), next_step=RESTORE_FOLDER
    )
    check_listed(manifest, "model", folder, next_step=RESTORE_FOLDER)
    facts = {key: manifest[key] for key in manifest if key not in ("format", "version", "sha256", DIGEST)}
    with atomic_folder(folder) as new:
        for name in manifest["sha256"]:
            inner = name.removesuffix(f"/{NAME}")
            if inner == name:
                _linked(str(folder / name), str(new / name))
            elif inner != files.FOLDER:
                shutil.copytree(folder / inner, new / inner, copy_function=_linked)
        save(new, index)
        write_manifest(new, int(manifest["format"]), facts)


def _linked(source: str, target: str) -> None:
    """A second name of the same file, where the file system has that, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
