"""An ensemble of trained classifiers, whose rankings are merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from megalabel.errors import RESTORE_FOLDER, FormatError, SettingError, of_type
from megalabel.models.base import Advance, Classifier, read_model_manifest
from megalabel.models.composed import ComposedClassifier, inner_model
from megalabel.models.mixture import DEPTH, Mixture
from megalabel.storage.manifest import NAME
from megalabel.types import TopK

if TYPE_CHECKING:
    import scipy.sparse as sp
    import torch


class Ensemble(ComposedClassifier):
    """Merges the rankings of several classifiers.

    Args:
        parts: two or more classifiers of any kind over the same labels in the same order.
        mixture: the calibrations and weights of the classifiers; default: scores as they are, with equal weights.

    Raises:
        SettingError: fewer than two classifiers, other objects, different labels, some classifiers read texts and
            some bags of words, or the mixture has another number of weights.
    """

    loss_name = "mixture"

    def __init__(self, parts: Sequence[Classifier], mixture: Mixture | None = None) -> None:
        _check_alike(parts)
        self.parts = tuple(parts)
        self.mixture = Mixture.from_weights([1.0] * len(parts)) if mixture is None else mixture
        if not isinstance(self.mixture, Mixture):
            raise SettingError(
                f"a {type(self.mixture).__name__} as mixture",
                wanted="a Mixture",
                next_step="pass megalabel.models.mixture.Mixture.from_weights([1, 2]), or leave it out",
                where="mixture",
            )
        if len(self.mixture.weights) != len(parts):
            raise SettingError(
                f"{len(self.mixture.weights)} weights for {len(parts)} models",
                wanted="one weight per model, in their order",
                where="weights",
            )
        self.label_texts, self.n_features = parts[0].label_texts, parts[0].n_features
        known = [part.trained_on for part in parts if part.trained_on is not None]
        self.metadata = next((part.metadata for part in parts if part.metadata), None)
        self.trained_on = next((one for one in known if one.pairs is not None), known[0] if known else None)

    def rankings(
        self,
        texts: Sequence[str] | sp.csr_matrix,
        k: int,
        exclude: np.ndarray | None = None,
        batch_size: int = 256,
    ) -> list[TopK]:
        """The k best labels by each classifier, in their order."""
        return [part.topk(texts, k, exclude=exclude, batch_size=batch_size) for part in self.parts]

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, scores from 0 to 1.

        The best max(k, 50) labels of each classifier are merged.
        """
        found = self.rankings(texts, max(k, DEPTH), exclude, batch_size)
        merged = self.mixture.merge(found, [part.score_type for part in self.parts], k)
        advance(len(merged))
        return merged

    def restricted(self, labels: np.ndarray) -> Ensemble | None:
        """The same mixture of its parts over some labels, (n,) int64 ascending; None where a part has none."""
        parts = [part.restricted(labels) for part in self.parts]
        return None if any(part is None for part in parts) else Ensemble(parts, self.mixture)

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """Those of all parts."""
        return [space for part in self.parts for space in part.label_spaces(texts)]

    def inner_models(self) -> dict[str, Classifier]:
        """The classifiers."""
        return {f"part{i}": part for i, part in enumerate(self.parts)}

    def _write(self, folder: Path) -> dict[str, Any]:
        return {"parts": len(self.parts), "mixture": self.mixture.config()}

    @classmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        manifest = read_model_manifest(folder, "ensemble", facts=("parts", "mixture"))
        n_parts = manifest["parts"]
        mixture = Mixture.from_config(manifest["mixture"])
        if n_parts != len(mixture.weights):
            raise FormatError(
                f"{n_parts!r:.80} parts and {len(mixture.weights)} weights",
                wanted="as many parts as weights",
                next_step=RESTORE_FOLDER,
                where=folder / NAME,
            )
        return cls([inner_model(folder, f"part{i}", device, trust) for i in range(n_parts)], mixture)


def _check_alike(parts: Sequence[Classifier]) -> None:
    listed = isinstance(parts, (list, tuple))
    wrong = next((part for part in parts if not isinstance(part, Classifier)), None) if listed else parts
    if wrong is not None:
        raise SettingError(
            f"{of_type(wrong)} " + ("among the models" if listed else "instead of a list of models"),
            wanted="a list of loaded models",
            next_step="load each run first, as megalabel.Ensemble([megalabel.load(run), …])",
            where="parts",
        )
    if len(parts) < 2:
        raise SettingError(
            f"{len(parts)} model{'' if len(parts) == 1 else 's'}",
            wanted="at least two models over the same labels",
            where="parts",
        )
    first = parts[0]
    for i, part in enumerate(parts[1:], 1):
        if part.label_texts is not first.label_texts and part.label_texts != first.label_texts:
            raise SettingError(
                _difference(first, part, i),
                wanted="the same labels in the same order",
                next_step="train both on the same data set",
                where="parts",
            )
        if part.n_features != first.n_features:
            raise SettingError(
                f"model 0 reads {_read_by(first)}, model {i} {_read_by(part)}",
                wanted="models with the same kind of input",
                next_step="train both on texts, or both on the same bags of words",
                where="parts",
            )


def _difference(first: Classifier, part: Classifier, i: int) -> str:
    ours, theirs = first.label_texts, part.label_texts
    if len(ours) != len(theirs):
        return f"model 0 has {len(ours):,} labels, model {i} {len(theirs):,}"
    at = next(j for j, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return f"label {at} is {ours[at]!r} for model 0, {theirs[at]!r} for model {i}"


def _read_by(part: Classifier) -> str:
    return "texts" if part.n_features is None else f"bags of {part.n_features:,} words"
