"""The base class of all trained classifiers: texts in, the top k labels out, saved as a folder."""

from __future__ import annotations

import importlib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts, check_list
from megalabel.device import pick
from megalabel.errors import RESTORE_FOLDER, FormatError, SettingError
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.models.reading import read_model
from megalabel.progress import Progress
from megalabel.storage import migrate
from megalabel.storage.files import read_json
from megalabel.storage.manifest import NAME, check_listed, read_manifest
from megalabel.storage.reading import brief
from megalabel.types import ScoreType, TopK

if TYPE_CHECKING:
    import scipy.sparse as sp
    import torch

BLOCK = 8192  # texts that are ranked together
DEFAULT = "megalabel.models.neural:NeuralClassifier"  # the class of a folder that names none
FORMAT = 1
PACKAGES = ("megalabel.models.", "megalabel.heads.", "megalabel.encoders.")  # that hold the classes of models
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")  # a module's name

Advance = Callable[[int], None]  # called with the number of texts that are done
# Ranks a block: its texts, which of all they are, pairs (row, label) to leave out, and Advance.
Rank = Callable[[Any, slice, "np.ndarray | None", Advance], TopK]


class Classifier(ABC):
    """A trained classifier: an encoder and a head (`NeuralClassifier`), or another with the same methods.

    Attributes:
        label_texts: the names of the L labels.
        n_features: V of one that reads bags of words, scipy sparse rows (N, V), in place of texts; else None.
        score_type: whether its scores are probabilities or logits.
        block_size: texts that are ranked together.
    """

    label_texts: Texts
    n_features: int | None = None
    score_type: ScoreType = "probability"
    block_size: int = BLOCK

    def topk(
        self,
        texts: Sequence[str] | sp.csr_matrix,
        k: int = 10,
        *,
        exclude: np.ndarray | None = None,
        batch_size: int = 256,
        progress: str = "",
    ) -> TopK:
        """The best k labels of each text, best first, as numpy arrays (N, k); ties go to the lower label.

        Args:
            texts: N texts; one text is [text]. Rows (N, V) where `n_features` is a number.
            k: labels per text. Where it exceeds L, the rest is -1 with score -inf.
            exclude: (F, 2) pairs (row, label) that must not be among the answers.
            batch_size: texts that are scored together.
            progress: the title of a progress bar; "" for none.

        Raises:
            SettingError: k or batch_size below 1, pairs of rows that there are not.
            DataError: texts where it reads rows and the other way round, rows of another width, NaN or inf.
        """

        def rank(texts: Any, rows: slice, exclude: np.ndarray | None, advance: Advance) -> TopK:
            return self.rank(texts, k, exclude=exclude, batch_size=batch_size, advance=advance)

        at_least_one("batch_size", batch_size)
        return self.in_blocks(texts, k, rank, exclude=exclude, progress=progress)

    def in_blocks(
        self, texts: Any, k: int, rank: Rank, *, exclude: np.ndarray | None = None, progress: str = ""
    ) -> TopK:
        """Checks the arguments of `topk` and calls `rank` block by block."""
        at_least_one("k", k)
        texts = self.check_texts(texts)
        n = len(texts) if self.n_features is None else texts.shape[0]
        forbidden = FilterPairs(exclude, n)
        ids, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
        with Progress(progress, n) as shown:
            for start in range(0, n, self.block_size):
                rows = slice(start, min(start + self.block_size, n))
                never = forbidden.block(rows.start, rows.stop)
                ids[rows], scores[rows] = rank(texts[rows], rows, never, shown.advance).numpy()
        return TopK(ids, scores)

    @abstractmethod
    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """What `topk` returns, for a block of checked texts; calls `advance` as texts are done."""

    def check_texts(self, texts: Any) -> Any:
        """The texts, or rows, in the form that `rank` takes; DataError if they are not what the model reads."""
        if self.n_features is not None:
            return BagOfWords(self.n_features).check(texts)
        check_list(texts)
        return texts

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Writes the model as a folder; an older model there is replaced whole.

        Raises:
            SettingError: the folder holds something that is not a model.
        """

    @classmethod
    @abstractmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """What `save` wrote, checked first."""

    def predict(self, texts: Sequence[str] | sp.csr_matrix, k: int = 10) -> list[list[tuple[str, float]]]:
        """The best k labels of each text by name, with their scores."""
        ids, scores = self.topk(texts, k).numpy()
        return [
            [(self.label_texts[int(i)], float(s)) for i, s in zip(row, values, strict=True) if i >= 0]
            for row, values in zip(ids, scores, strict=True)
        ]


def load(
    folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
) -> Classifier:
    """The model in `folder`, or in a run folder's `model/`, of whatever kind; its hashes are checked first.

    Args:
        folder: where it lies.
        device: None for the first GPU, or the CPU where there is none.
        trust: modules outside megalabel that the folder's parts may come from.

    Raises:
        FormatError: no model, or one that is damaged.
        ResourceError: too little memory, too few open files.
    """
    device = pick(device)
    return read_model(folder, lambda place: _load(place, device, trust))


def _load(folder: Path, device: torch.device, trust: Sequence[str]) -> Classifier:
    manifest = read_json(folder / NAME, next_step=RESTORE_FOLDER) if (folder / NAME).is_file() else {}
    kind = migrate.model_manifest(manifest).get("model", DEFAULT)
    found: type[Classifier] = named_class(kind, Classifier, trust, folder)
    return found.load(folder, device=device, trust=trust)


def read_model_manifest(
    folder: Path,
    what: str,
    *,
    facts: Iterable[str] = (),
    files: Iterable[str] = (),
    next_step: str = RESTORE_FOLDER,
) -> dict[str, Any]:
    """The manifest of a model with the names of today, hashes checked; FormatError as of `read_manifest`."""
    manifest = migrate.model_manifest(read_manifest(folder, what, FORMAT, files=files, next_step=next_step))
    check_listed(manifest, what, folder, facts=facts, next_step=next_step)
    return manifest


def at_least_one(name: str, value: int) -> None:
    """SettingError unless the value is a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise SettingError(f"{name} = {value!r}", wanted="a whole number from 1 up", next_step=f"correct {name}")


def check_room(folder: Path) -> None:
    """SettingError where a model cannot be saved: a file, a folder with something else in it."""
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / NAME).is_file():
        raise SettingError(
            f"{folder} holds something that is not a model",
            wanted="a new folder, or one with an older model",
            next_step="give another folder",
        )


def class_name(part: object) -> str:
    """How `named_class` finds the class of a part again."""
    return f"{type(part).__module__}:{type(part).__qualname__}"


def named_class(name: Any, kind: type, trust: Sequence[str], folder: Path) -> Any:
    """The class "module:name", which must be a `kind` of megalabel or of a module in `trust`.

    Raises:
        FormatError: no name of a class, one of a module that is not trusted, or not there; an abstract class.
    """
    module, _, qualified = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not _DOTTED.fullmatch(module):
        raise _no_class(f"{name!r:.80} in place of a class", kind, folder)
    if module.startswith("megalabel.") and not module.startswith(PACKAGES):  # `megalabel.__main__` would run
        raise _no_class(f"{name} is no {kind.__name__}", kind, folder)
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
        raise _no_class(f"{name} is not there ({brief(error)})", kind, folder) from error
    if not (isinstance(found, type) and issubclass(found, kind)) or inspect.isabstract(found):
        raise _no_class(f"{name} is no {kind.__name__}", kind, folder)
    return found


def _no_class(found: str, kind: type, folder: Path) -> FormatError:
    return FormatError(found, wanted=f"a {kind.__name__}", next_step=RESTORE_FOLDER, where=folder)
