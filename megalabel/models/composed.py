"""`ComposedClassifier`, a classifier that is made of others, which are saved in folders inside its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from megalabel.device import pick
from megalabel.errors import RESTORE_FOLDER
from megalabel.models.base import FORMAT, Classifier, check_room, class_name, load
from megalabel.models.facts import load_facts, save_facts
from megalabel.models.reading import read_model
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import inner_folder, write_manifest

if TYPE_CHECKING:
    import torch

    from megalabel.kernels.linear.post_processor import PostProcessor

BASE = "base"  # the folder of the model that another one changes


class ComposedClassifier(Classifier):
    """A classifier that is made of others; a subclass says which, and writes and reads what else there is."""

    @property
    def _format(self) -> int:
        """The format of the folder."""
        return FORMAT

    @abstractmethod
    def inner_models(self) -> dict[str, Classifier]:
        """The models of which it is made, by the names of their folders."""

    @abstractmethod
    def _write(self, folder: Path) -> dict[str, Any]:
        """Writes the files beside these models; returns the facts that `_read` needs, for the manifest."""

    @classmethod
    @abstractmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        """Makes the model of its folder, without the facts that every model has."""

    def save(self, folder: str | Path) -> None:
        """Writes all models and files; an older model there is replaced. SettingError for anything else there."""
        folder = check_room(folder)
        with atomic_folder(folder) as new:
            inner = self.inner_models()
            for name, model in inner.items():
                model.save(new / name)
            facts = {"model": class_name(self), "n_labels": len(self.label_texts), **self._write(new)}
            save_facts(new, self, list(inner.values()))
            write_manifest(new, self._format, facts)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Reads what `save` wrote; `device` and `trust` apply to the models of which it is made."""
        device = pick(device)
        return read_model(folder, lambda place: cls._read_all(place, device, trust))

    @classmethod
    def _read_all(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        model = cls._read(folder, device, trust)
        load_facts(folder, model)
        return model


class ChangedClassifier(ComposedClassifier):
    """A classifier that changes what another one reads or answers.

    Attributes:
        base_model: the other one.
    """

    base_model: Classifier

    def inner_models(self) -> dict[str, Classifier]:
        """The base model."""
        return {BASE: self.base_model}

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """Those of the base model, for whole texts."""
        return self.base_model.label_spaces(texts)

    def label_scale(self) -> tuple[float, float] | None:
        """That of the base model."""
        return self.base_model.label_scale()

    def label_solver(self) -> tuple[PostProcessor, float] | None:
        """That of the base model."""
        return self.base_model.label_solver()


def inner_model(folder: Path, name: str, device: torch.device, trust: Sequence[str]) -> Classifier:
    """A model in the folder of another one; errors as `load`."""
    return load(inner_folder(folder, name, next_step=RESTORE_FOLDER), device=device, trust=trust)
