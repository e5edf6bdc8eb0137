"""What the levels of a cascade rank: clusters by themselves, as the search passes them on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from megalabel.heads.cascade import CascadeHead
from megalabel.kernels.candidates.beam import BeamSearch, PathScore
from megalabel.types import Positives, TopK


class CascadeLevels:
    """Searches down to any level of a cascade.

    Args:
        head: a trained cascade of K cluster levels; later changes of its weights are seen.
    """

    def __init__(self, head: CascadeHead) -> None:
        self.head, self.n_levels = head, len(head.sizes)
        self.order = head.get_buffer("label_to_row").argsort()

    @torch.no_grad()
    def topk(
        self, views: Tensor, level: int, k: int, path_score: PathScore, exclude: Positives | None = None
    ) -> TopK:
        """The k best nodes of a level among those that the beams above it reach, (B, k) ids and probabilities.

        Ids of the last level are labels, those of the others numbers of clusters. -1 fills short rows.

        Args:
            views: (B, V, D).
            level: 0 to K.
            k: 1 or more.
            path_score: how nodes are scored.
            exclude: pairs of text and label that are not given; for the last level alone.
        """
        head, last = self.head, level == self.n_levels - 1
        if level == 0:
            weight, bias = head.tables()[0]
            logits = views[:, 0].float() @ weight.float().detach().T + bias.detach()
            best = logits.topk(min(k, head.sizes[0]))  # by logits, which do not saturate
            missing = (0, k - best.values.shape[1])
            scores = pad(best.values.sigmoid(), missing, value=-torch.inf)
            return TopK(pad(best.indices, missing, value=-1), scores)
        shown = views if views.shape[1] == 1 else views[:, : level + 1]
        order = self.order if last else torch.arange(head.sizes[level], device=views.device)
        weights, biases = zip(*head.tables()[: level + 1], strict=True)
        search = BeamSearch(weights, biases, head.offsets[:level], order, head.beams[:level], path_score)
        return search(shown, k, exclude)

    def kept(self, views: Tensor, level: int) -> Tensor:
        """The clusters of a level that the search passes on, ascending, (B, beam) int64 with -1 for none."""
        score = self.head.path_score
        ranked: PathScore = score if score in ("path", "decayed") else "label"
        ids: Tensor = self.topk(views, level, self.head.beams[level], ranked).ids
        return ids[:, : self.head.sizes[level]].sort(1).values
