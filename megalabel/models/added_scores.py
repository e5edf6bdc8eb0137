"""How labels that were added to a trained model are scored: by their similarity, or by linear classifiers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from megalabel.errors import RESTORE_FOLDER, DataError
from megalabel.kernels.linear.post_processor import PostProcessor, check_post_processor, log_score
from megalabel.kernels.sparse.sparse_rows import as_rows
from megalabel.linear.added import PRUNE_BELOW, updated_classifiers
from megalabel.linear.rejected import rejecting_classifiers
from megalabel.models.added_scale import Rows, cosines, lengths, unit
from megalabel.storage.manifest import check_listed
from megalabel.types import ScoreType

CSR = ("data", "indices", "indptr", "shape")
WHAT = "model with added labels"


class AddedLabels(ABC):
    """The scores of n added labels. `spaces` are what `Classifier.label_spaces` of the base model returns."""

    kind: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int:
        """n."""

    @abstractmethod
    def scores(self, spaces: Sequence[Rows], score_type: ScoreType) -> np.ndarray:
        """The scores of N texts, of the type of those of the base model: (N, n) float32."""

    @abstractmethod
    def joined(self, more: Self) -> Self:
        """These labels and further ones behind them."""

    @abstractmethod
    def learned(self, spaces: Sequence[Rows], labels: sp.csr_matrix, weights: np.ndarray | None) -> Self:
        """The same after N further texts with labels (N, n) CSR of ones and weights (N,)."""

    def rejecting(self, spaces: Sequence[Rows], rejected: sp.csr_matrix, weights: np.ndarray | None) -> Self:
        """The same after N texts that do not have some labels, (N, n) CSR of ones; similarities learn nothing."""
        return self

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Any]:
        """Writes the arrays; what the manifest has to say besides."""


class SimilarLabels(AddedLabels):
    """Labels that are scored by slope · similarity + offset.

    Args:
        prototypes: for each space of the base model, the unit vectors of the labels: (n, D_i) float32, CSR or
            arrays.
        slope, offset: from the mean of the cosines to the score.
        norms: (spaces, n) float32, the lengths of the sums of unit vectors that the prototypes were; None for 1.
    """

    kind = "similar"

    def __init__(
        self, prototypes: Sequence[Rows], slope: float, offset: float, norms: np.ndarray | None = None
    ) -> None:
        self.prototypes, self.slope, self.offset = list(prototypes), float(slope), float(offset)
        shape = (len(self.prototypes), len(self))
        self.norms = np.ones(shape, np.float32) if norms is None else norms
        if not np.isfinite([self.slope, self.offset]).all() or self.norms.shape != shape:
            raise ValueError(f"a slope of {slope}, an offset of {offset}, lengths {self.norms.shape} of {shape}")

    @classmethod
    def of_sums(cls, sums: Sequence[Rows], slope: float, offset: float) -> Self:
        """From the sums of unit vectors, one matrix (n, D_i) per space."""
        norms = np.stack([lengths(rows) for rows in sums]).astype(np.float32)
        return cls([unit(rows) for rows in sums], slope, offset, norms)

    def __len__(self) -> int:
        return int(self.prototypes[0].shape[0])

    def scores(self, spaces: Sequence[Rows], score_type: ScoreType) -> np.ndarray:
        """See the base class."""
        value = self.slope * cosines([unit(space) for space in spaces], self.prototypes) + self.offset
        return np.asarray(expit(value) if score_type == "probability" else value, np.float32)

    def joined(self, more: Self) -> Self:
        """On the scale of these labels, which keep their scores."""
        both = [_stacked(pair) for pair in zip(self.prototypes, more.prototypes, strict=True)]
        return type(self)(both, self.slope, self.offset, np.concatenate([self.norms, more.norms], axis=1))

    def learned(self, spaces: Sequence[Rows], labels: sp.csr_matrix, weights: np.ndarray | None) -> Self:
        """The prototypes move towards the texts."""
        of_labels = labels.T.tocsr() if weights is None else (labels.T @ sp.diags_array(weights)).tocsr()
        sums = []
        for prototypes, norms, space in zip(self.prototypes, self.norms, spaces, strict=True):
            old = sp.diags_array(norms) @ prototypes if sp.issparse(prototypes) else norms[:, None] * prototypes
            sums.append(old + of_labels.astype(np.float32) @ unit(space))
        return self.of_sums(
            [rows.tocsr() if sp.issparse(rows) else rows for rows in sums], self.slope, self.offset
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """See the base class."""
        for i, rows in enumerate(self.prototypes):
            save_rows(folder, f"space{i}", rows)
        np.save(folder / "norms.npy", self.norms)
        return {"spaces": len(self.prototypes), "slope": self.slope, "offset": self.offset}

    @classmethod
    def load(cls, folder: Path, manifest: dict[str, Any], n: int, like: Sequence[Rows]) -> Self:
        """What `save` wrote; like: the spaces of any text. ValueError or DataError where they do not fit."""
        if manifest["spaces"] != len(like):
            raise ValueError(f"{manifest['spaces']!r:.40} spaces in place of {len(like)}")
        rows = [
            load_rows(folder, f"space{i}", manifest, (n, own.shape[1]), sp.issparse(own))
            for i, own in enumerate(like)
        ]
        norms = load_array(folder, "norms.npy", manifest) if "norms.npy" in manifest["sha256"] else None
        return cls(rows, float(manifest["slope"]), float(manifest["offset"]), norms)


class LinearLabels(AddedLabels):
    """Labels that are scored by linear classifiers over the features of a linear model.

    Args:
        weights: (n, V + 1) CSR float32, the bias last.
        post_processor: turns the score of a classifier into its probability, as in the trees of the model.
        c: C of the training of the model.
    """

    kind = "linear"

    def __init__(self, weights: sp.csr_matrix, post_processor: PostProcessor, c: float) -> None:
        check_post_processor(post_processor)
        self.weights, self.post_processor, self.c = weights, post_processor, float(c)
        self._columns = weights[:, :-1].T.tocsr()
        self._bias = weights[:, [-1]].toarray().ravel()

    def __len__(self) -> int:
        return int(self.weights.shape[0])

    def scores(self, spaces: Sequence[Rows], score_type: ScoreType) -> np.ndarray:
        """See the base class."""
        margins = (spaces[0] @ self._columns).toarray() + self._bias
        found: np.ndarray = np.exp(log_score(margins, self.post_processor)).astype(np.float32)
        return found

    def joined(self, more: Self) -> Self:
        """See the base class."""
        return type(self)(_stacked((self.weights, more.weights)), self.post_processor, self.c)

    def learned(self, spaces: Sequence[Rows], labels: sp.csr_matrix, weights: np.ndarray | None) -> Self:
        """The classifiers take the step that the texts ask for."""
        found = updated_classifiers(self.weights, spaces[0], labels, weights, self.c)
        return type(self)(found, self.post_processor, self.c)

    def rejecting(self, spaces: Sequence[Rows], rejected: sp.csr_matrix, weights: np.ndarray | None) -> Self:
        """See the base class."""
        texts = rejected.T.tocsr()
        found, _ = rejecting_classifiers(
            self.weights, spaces[0], texts, c=self.c, prune_below=PRUNE_BELOW, factors=weights
        )
        return type(self)(found, self.post_processor, self.c)

    def save(self, folder: Path) -> dict[str, Any]:
        """See the base class."""
        save_rows(folder, "weights", self.weights)
        return {"added": self.kind, "post_processor": self.post_processor, "c": self.c}

    @classmethod
    def load(cls, folder: Path, manifest: dict[str, Any], n: int, like: Sequence[Rows]) -> Self:
        """What `save` wrote; like: the spaces of any text. ValueError or DataError where they do not fit."""
        if len(like) != 1 or not sp.issparse(like[0]):
            raise ValueError("linear classifiers of added labels for another model than a linear one")
        weights = load_rows(folder, "weights", manifest, (n, like[0].shape[1] + 1), sparse=True)
        return cls(weights, manifest["post_processor"], float(manifest["c"]))


def _stacked(pair: Sequence[Rows]) -> Rows:
    return sp.vstack(pair, format="csr") if sp.issparse(pair[0]) else np.concatenate(pair)


def save_rows(folder: Path, name: str, rows: Rows) -> None:
    """Writes rows as NAME.npy, or as one file for each array of a CSR matrix."""
    if not sp.issparse(rows):
        np.save(folder / f"{name}.npy", rows)
        return
    for part in CSR:
        np.save(folder / f"{name}-{part}.npy", np.asarray(getattr(rows, part)))


def load_rows(folder: Path, name: str, manifest: dict[str, Any], shape: tuple[int, int], sparse: bool) -> Rows:
    """What `save_rows` wrote; ValueError for another shape, DataError for what is damaged."""
    rows: Rows
    if sparse:
        data, indices, indptr, size = (load_array(folder, f"{name}-{part}.npy", manifest) for part in CSR)
        rows = as_rows(sp.csr_matrix((data, indices, indptr), shape=tuple(size.tolist())), "added labels")
    else:
        rows = load_array(folder, f"{name}.npy", manifest)
        if rows.dtype != np.float32 or not np.isfinite(rows).all():
            raise DataError(
                "vectors that are not finite", wanted="float32", next_step=RESTORE_FOLDER, where=folder
            )
    if rows.shape != shape:
        raise ValueError(f"vectors {rows.shape} in place of {shape}")
    return rows


def load_array(folder: Path, file: str, manifest: dict[str, Any]) -> np.ndarray:
    """An array of a model folder."""
    check_listed(manifest, WHAT, folder, files=(file,), next_step=RESTORE_FOLDER)
    found: np.ndarray = np.load(folder / file, allow_pickle=False)
    return found
