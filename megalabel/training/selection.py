"""The metric that selects the best epoch: allowed names, and what a validation must compute for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megalabel.errors import SettingError
from megalabel.training.ranges import Matches

if TYPE_CHECKING:
    import numpy as np

    from megalabel.data.corpus import Corpus

METRIC = Matches(r"(P|nDCG|PSP|PSnDCG|R)@[1-9][0-9]{0,3}", "P@k, nDCG@k, PSP@k, PSnDCG@k or R@k, such as nDCG@5")
DEPTHS = (1, 3, 5)  # depths that every validation measures


def check(metric: str, where: str = "selection_metric") -> None:
    """Raises SettingError, about the argument `where`, for a metric that cannot select an epoch."""
    if not isinstance(metric, str) or not METRIC.fits(metric):
        raise SettingError(f"{metric!r} is not {METRIC.meaning}", wanted=METRIC.meaning, where=where)


def depths(metric: str) -> tuple[int, ...]:
    """The depths k at which a validation measures, including that of the metric."""
    return tuple(sorted({*DEPTHS, int(metric.partition("@")[2])}))


def weights(metric: str, corpus: Corpus) -> np.ndarray | None:
    """The inverse propensities of the labels, (L,) float64; None for a metric that does not need them.

    They are computed from all training texts of the corpus, including held-out ones, as in `evaluate`.
    """
    if not metric.startswith("PS"):
        return None
    import numpy as np

    from megalabel.metrics.propensity import inverse_propensity

    counts = np.asarray(corpus.train.labels.sum(axis=0)).ravel()
    return inverse_propensity(counts, len(corpus.train), *corpus.propensity_constants)
