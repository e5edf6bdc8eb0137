"""Calibrates linear models that learn all texts, by trees that leave some texts out and rank them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.data.filters import filter_of
from megalabel.distributed.world import World
from megalabel.linear.forest import solve_trees
from megalabel.models.calibrated import DEPTH, Calibration
from megalabel.models.given_strength import chosen_strength
from megalabel.models.label_pairs import STRENGTH
from megalabel.models.linear import rank_rows
from megalabel.models.mixture import log_odds
from megalabel.models.trained_on import TrainedOn
from megalabel.phases import phase

SHARE, FEWEST, MOST = 0.1, 100, 5000  # of the texts, which are left out
PASSES = 4  # of the solver: scores are close to those of all passes, in about half of the time


@phase("calibrating")
def calibration_of(
    x: sp.csr_matrix,
    labels: sp.csr_matrix,
    corpus: Corpus,
    rows: np.ndarray,
    *,
    seed: int,
    say: Callable[[str], Any],
    world: World,
    **solver: Any,
) -> tuple[Calibration | None, float]:
    """What trees of the same kind say about texts that they have not learned, and how much given labels count.

    For fewer than 1,000 texts, None and the usual strength.

    Features and vocabulary are shared with the model, so that only the solver runs again, with fewer passes.

    Args:
        x: (N, V) CSR, the features of the training rows, label texts last.
        labels: (N, L) CSR.
        corpus: the data set.
        rows: (n,) int64, the training texts to which the first n rows of x belong.
        seed: seeds the draw of the texts, and the trees.
        say: a function that takes a line of text.
        world: the processes that divide the work; the main one alone gets a result.
        solver: further arguments of `solve_trees`.
    """
    n = min(int(SHARE * len(rows)), MOST)
    if n < FEWEST:
        say(f"probabilities are not calibrated: {len(rows):,} texts, and it takes {int(FEWEST / SHARE):,}")
        return None, STRENGTH
    asked = np.sort(np.random.default_rng([seed, 4]).permutation(len(rows))[:n])
    kept = np.ones(x.shape[0], np.float32)
    kept[asked] = 0
    learned = (sp.diags_array(kept) @ labels).tocsr()
    learned.eliminate_zeros()
    solver["max_iter"] = min(PASSES, solver["max_iter"])
    shown = {"name": "calibration tree", "say": lambda line: None}
    trees = solve_trees(x, learned, seed=seed, left_out=asked, world=world, **shown, **solver)  # type: ignore[arg-type]
    if not world.is_main:
        return None, STRENGTH
    k = min(DEPTH, labels.shape[1])
    found = rank_rows(trees, x[asked], k, filter_of(corpus.train, rows[asked]))
    true = corpus.train.labels[rows[asked]].tocsr()
    ids, scores = found.numpy()
    odds = log_odds(np.where(ids < 0, 0, scores), "probability")
    others = corpus.train.labels[np.setdiff1d(rows, rows[asked])].tocsr()
    learned = TrainedOn.from_labels(corpus.name, others)
    calibration = Calibration.fit(found, true, "probability", learned=learned)
    say(f"calibrated on {n:,} texts, by trees that leave them out")
    return calibration, chosen_strength(ids, odds, true, others)
