"""What the training texts tell of a label, for the answer that explains it."""

from __future__ import annotations

from typing import Any

import numpy as np

from megalabel.data.texts import Texts
from megalabel.models.trained_on import TrainedOn

TOGETHER = 5  # labels that occur beside one


def statistics(trained_on: TrainedOn | None, names: Texts, label: int) -> dict[str, Any]:
    """How frequent a label is, and what it occurs with.

    Args:
        trained_on: what the model keeps of its training set; None where it keeps nothing.
        names: those of the L labels.
        label: the id.

    Returns:
        `share`, of the training texts that have the label, from 0 to 1, and `together`, up to five labels that
        most of these texts have as well, with the number of texts; None where it is not known.
    """
    if trained_on is None:
        return {"share": None, "together": None}
    share = float(trained_on.counts[label]) / max(1, trained_on.n_texts)
    if trained_on.pairs is None:
        return {"share": share, "together": None}
    first, last = trained_on.pairs.indptr[label : label + 2]
    ids, texts = trained_on.pairs.indices[first:last], trained_on.pairs.data[first:last]
    most = np.lexsort((ids, -texts))[:TOGETHER]
    found = zip(ids[most].tolist(), texts[most].tolist(), strict=True)
    together = [{"id": i, "label": names[i], "texts": int(n)} for i, n in found]
    return {"share": share, "together": together}
