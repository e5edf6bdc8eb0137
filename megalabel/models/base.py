"""What every trained classifier is at its door: texts in, the best labels out, saved as a folder."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from megalabel.data.texts import Texts
from megalabel.errors import RESTORE_FOLDER, FormatError, SettingError
from megalabel.progress import Progress
from megalabel.storage.files import json_bytes, read_json, recover
from megalabel.storage.manifest import NAME
from megalabel.types import Gives, TopK

if TYPE_CHECKING:
    import scipy.sparse as sp
    import torch

NAMES = "labels.jsonl"
BLOCK = 8192  # texts that are ranked together
FIRST = "megalabel.models.neural:Model"  # of a folder that does not say whose it is


class Ranker(ABC):
    """A trained classifier: `Model`, an encoder and a head, or another that answers alike.

    Attributes:
        label_texts: L names.
        n_features: V of one that reads bags of words, scipy sparse rows (N, V), in place of texts; else None.
        gives: what its scores are: probabilities, or logits.
    """

    label_texts: Texts
    n_features: int | None = None
    gives: Gives = "probabilities"

    @abstractmethod
    def topk(
        self,
        texts: Sequence[str] | sp.csr_matrix,
        k: int = 10,
        *,
        exclude: np.ndarray | None = None,
        batch_size: int = 256,
        progress: str = "",
    ) -> TopK:
        """The best k labels of each text, as numpy arrays (N, k).

        Args:
            texts: N texts; one text is [text]. Rows (N, V) where `n_features` says so.
            k: labels each. Where it exceeds L, the rest is -1 with score -inf.
            exclude: (F, 2) pairs (row, label) that may not be answered.
            batch_size: texts scored together.
            progress: what to call it on a progress bar, "" for none.
        """

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Writes the model as a folder that explains itself; an older model there is replaced whole."""

    @classmethod
    @abstractmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """What `save` wrote, checked first."""

    def predict(self, texts: Sequence[str] | sp.csr_matrix, k: int = 10) -> list[list[tuple[str, float]]]:
        """The best k labels of each text by name, with their scores."""
        labels, scores = self.topk(texts, k).numpy()
        return [
            [(self.label_texts[int(i)], float(s)) for i, s in zip(ids, row, strict=True) if i >= 0]
            for ids, row in zip(labels, scores, strict=True)
        ]


def load(folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()) -> Ranker:
    """The model in `folder`, or in a run folder's `model/`, of whatever kind; its hashes are checked first.

    `device` None is the first GPU, or the CPU where there is none. `trust` names modules outside megalabel that
    the folder's parts may come from.

    Raises:
        FormatError: no model, or one that is damaged.
    """
    folder = model_folder(folder)
    told = read_json(folder / NAME, next_step=RESTORE_FOLDER) if (folder / NAME).is_file() else {}
    kind = told.get("model", FIRST) if isinstance(told, dict) else FIRST
    found: type[Ranker] = named_class(str(kind), Ranker, trust, folder)
    return found.load(folder, device=device, trust=trust)


def model_folder(folder: str | Path) -> Path:
    """The folder itself or, of a run folder, its model's; what a killed save left half done is put right."""
    folder = Path(folder)
    if not (folder / NAME).exists() and (folder / "recipe.json").exists():
        folder = folder / "model"
    recover(folder)
    return folder


def at_least_one(name: str, value: int) -> None:
    """SettingError unless the value is a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise SettingError(f"{name} = {value!r}", wanted="a whole number from 1 up", next_step="correct it")


def in_blocks(n: int, k: int, answer: Callable[[slice], TopK], *, size: int, progress: str) -> TopK:
    """The best k labels of n texts, `size` of them at a time: `answer` gives those of the rows of a slice."""
    labels = np.full((n, k), -1, np.int64)
    scores = np.full((n, k), -np.inf, np.float32)
    with Progress(progress, n) as shown:
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            labels[rows], scores[rows] = answer(rows).numpy()
            shown.advance(rows.stop - rows.start)
    return TopK(labels, scores)


def check_room(folder: Path) -> None:
    """SettingError where a model cannot be saved: a file, a folder with something else in it."""
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / NAME).is_file():
        raise SettingError(
            f"{folder} holds something that is not a model",
            wanted="a new folder, or one with an older model",
            next_step="give another folder",
        )


def save_names(folder: Path, names: Texts) -> None:
    """Writes the labels' names, a JSON string a line."""
    with open(folder / NAMES, "wb") as file:
        file.writelines(json_bytes(name) + b"\n" for name in names)


def load_names(folder: Path) -> Texts:
    """What `save_names` wrote."""
    lines = (folder / NAMES).read_text(encoding="utf-8").split("\n")
    return Texts.from_strings(json.loads(line) for line in lines if line)


def class_name(part: object) -> str:
    """How `named_class` finds a part's class again."""
    return f"{type(part).__module__}:{type(part).__qualname__}"


def named_class(name: str, kind: type, trust: Sequence[str], folder: Path) -> Any:
    """The class "module:name", which must be a `kind` of megalabel or of a module in `trust`.

    Raises:
        FormatError: of a module that is not trusted, or not there.
    """
    module, _, qualified = name.partition(":")
    if module.split(".")[0] not in ("megalabel", *trust):
        raise FormatError(
            f"the model's {kind.__name__.lower()} comes from {module}, code that is not megalabel's",
            wanted="a module that you trust",
            next_step=f'load it with trust=["{module.split(".")[0]}"] if you do',
            where=folder,
        )
    try:
        found = getattr(importlib.import_module(module), qualified)
    except (ImportError, AttributeError) as error:
        raise FormatError(
            f"{name} is not there ({error})", wanted=f"a {kind.__name__}", next_step=RESTORE_FOLDER, where=folder
        ) from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise FormatError(
            f"{name} is no {kind.__name__}", wanted=f"a {kind.__name__}", next_step=RESTORE_FOLDER, where=folder
        )
    return found
