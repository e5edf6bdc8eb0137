"""What the cascade in one process and its part in one of several have in common: settings, tables, gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from megalabel.heads.abilities import DenseGradient, RowGradients
from megalabel.heads.base import Head
from megalabel.heads.cascade_checks import check_cascade, check_counts, python_numbers
from megalabel.heads.cascade_tables import check_trainable, largest_scale, tables_of
from megalabel.heads.checks import check_labels
from megalabel.kernels.candidates.beam import PathScore
from megalabel.kernels.candidates.candidates import Candidates, TableGradient
from megalabel.kernels.core.dtypes import WeightType
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.types import Positives, Reduction, ScoreType


class CascadeBase(RowGradients, Head):
    """The settings of a cascade over levels of `sizes` nodes, the labels last, and its tables.

    The other arguments are those of `CascadeHead`. A subclass adds the tables (`add_tables`), and the whole tree
    (`add_tree`).

    Attributes:
        own: the rows of each whole table that it has, by default all; children of its clusters are its own.

    Raises:
        SettingError: an argument does not fit the sizes.
    """

    weights: nn.ParameterList
    biases: nn.ParameterList
    score_type: ScoreType = "probability"

    def __init__(
        self,
        sizes: tuple[int, ...],
        dim: int,
        beams: Sequence[int],
        n_views: int | None,
        level_dropout: Sequence[float],
        level_weights: Sequence[float],
        path_score: PathScore,
        reduction: Reduction,
        kind: WeightType,
    ) -> None:
        super().__init__()
        self.sizes, self.n_labels, self.dim = sizes, sizes[-1], dim
        self.n_views, self.reduction, self.path_score = n_views or len(sizes), reduction, path_score
        self.beams: tuple[int, ...] = python_numbers(beams)
        self.level_dropout: tuple[float, ...] = python_numbers(level_dropout) or (0.0,) * len(sizes)
        self.level_weights: tuple[float, ...] = python_numbers(level_weights) or (1.0,) * len(sizes)
        check_cascade(self)
        self.weight_type = kind
        self.own = [range(n) for n in sizes]
        self._found, self._wanted = [0] * len(self.beams), [0] * len(self.beams)
        self._last: list[tuple[Tensor, Candidates, Positives]] = []

    @property
    def offsets(self) -> list[Tensor]:
        """The offset of each cluster's children in the next level, (n_i + 1,) int64 per cluster level."""
        return [self.get_buffer(f"offsets_{i}") for i in range(len(self.beams))]

    def child_offsets(self, level: int) -> Tensor:
        """The offset of the children of each of its own clusters, counted from the first: (n + 1,) int64."""
        own, below = self.own[level], self.own[level + 1]
        offsets = self.get_buffer(f"offsets_{level}")
        return offsets if len(own) == self.sizes[level] else offsets[own.start : own.stop + 1] - below.start

    def tables(self) -> list[tuple[Tensor | NarrowTable, Tensor]]:
        """The weights (n_i, D) and biases (n_i,) of each level, coarse to fine."""
        return tables_of(self)

    def largest_scaled(self) -> float:
        """The largest number of float8 with the largest scale of a row."""
        return largest_scale(self)

    def nodes(self, positives: Positives) -> list[Positives]:
        """The positives of each level, coarse to fine: a cluster is positive if one of its labels is.

        Nodes are counted from the first of its own; the positives of others are left out.
        """
        check_labels(positives, self.n_labels)
        texts, rows = positives.rows, self.get_buffer("label_to_row")[positives.labels]
        if len(self.own[-1]) < self.n_labels:
            rows = rows - self.own[-1].start
            inside = (rows >= 0) & (rows < len(self.own[-1]))
            texts, rows = texts[inside], rows[inside]
        levels = [positives.with_pairs(texts, rows)]
        for i in reversed(range(len(self.beams))):
            below = levels[-1]
            parents = torch.searchsorted(self.child_offsets(i), below.labels, right=True) - 1
            levels.append(below.with_pairs(below.rows, parents))
        return levels[::-1]

    @torch.no_grad()
    def init_prior(self, texts_with: Sequence[Tensor], n_texts: int) -> None:
        """Initializes the biases with log odds of frequencies.

        Below the first level these are the odds of a child among the texts whose shortlist contains its parent: at
        least all texts of the parent, and at least the fraction of the texts that an evenly used beam would give
        it. A node without texts counts as half a text.

        Args:
            texts_with: texts_with[i] (n_i,) is the number of texts with a label below each node of level i.
            n_texts: number of training texts.

        Raises:
            SettingError: counts that do not fit these levels and texts.
        """
        check_counts(texts_with, self.sizes, n_texts)
        for i, (counts, own, bias) in enumerate(zip(texts_with, self.own, self.biases, strict=True)):
            listed = torch.full((1,), float(n_texts), device=counts.device)
            if i:
                above, fans = self.own[i - 1], self.child_offsets(i - 1).diff().to(counts.device)
                parents = texts_with[i - 1][above.start : above.stop].repeat_interleave(fans)
                listed = parents.float().clamp(min=n_texts * self.beams[i - 1] / self.sizes[i - 1])
            bias.copy_(((counts[own.start : own.stop] + 0.5) / (listed + 1)).clamp(max=0.999).logit())

    def metrics(self) -> dict[str, float]:
        """Recall of the shortlists and precision of the levels, in percent.

        The recall of a level is the fraction of positive clusters that its own scores ranked into the beam, since
        the last call. P@1 and P@5 are those among the candidates of some texts of the last batch.
        """
        found: dict[str, float] = {}
        for i, (hits, wanted) in enumerate(zip(self._found, self._wanted, strict=True)):
            if wanted:
                found[f"recall level {i}"] = 100 * hits / wanted
        for i, last in enumerate(self._last):
            found |= {f"P@{k} level {i}": 100 * share for k, share in self._precision(*last).items()}
        self._found, self._wanted, self._last = [0] * len(self.beams), [0] * len(self.beams), []
        return found

    @abstractmethod
    def _precision(self, logits: Tensor, candidates: Candidates, positives: Positives) -> dict[int, float]:
        """P@k as a fraction for each k, among the candidates of some texts."""

    def config(self) -> dict[str, Any]:
        """The shape and the search parameters; the tree itself is stored among the tensors."""
        shape = {"sizes": list(self.sizes), "dim": self.dim, "n_views": self.n_views}
        shape |= {"weights": self.weight_type.name} if self.weight_type.is_narrow else {}
        return {**shape, "beams": list(self.beams), "path_score": self.path_score, "reduction": self.reduction}

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        return f"sizes={self.sizes}, dim={self.dim}, n_views={self.n_views}, beams={self.beams}"

    def _with_gradient(self, value: Tensor, gradient: TableGradient, level: int) -> Tensor:
        """The value of a level's loss; the gradient of its table goes to the row optimizer, or to autograd."""
        if not torch.is_grad_enabled():
            return value
        if self.row_gradients is not None:
            if self.training:  # in evaluation no optimizer would empty the list
                self.row_gradients[level].append(gradient)
            return value
        if self.weight_type.is_narrow:
            check_trainable(self)
            return value
        with_gradient: Tensor = DenseGradient.apply(value, self.weights[level], self.biases[level], gradient)  # type: ignore[no-untyped-call]
        return with_gradient
