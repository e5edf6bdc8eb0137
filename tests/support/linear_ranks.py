"""Label trees that several processes fit together."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from planted import planted

from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.linear import level_blocks
from megalabel.linear.forest import solve_trees
from megalabel.linear.over_ranks import check_same_rows
from megalabel.linear.sample import Sample
from megalabel.linear.trial import Setting, Trial
from megalabel.recipes import get
from megalabel.training.run import train

N, V, L = 300, 80, 97


def problem(seed: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Texts (300, 80) and their labels (300, 97), of which one has no text."""
    rng = np.random.default_rng(seed)
    labels = sp.random(N, L, 0.05, format="csr", dtype=np.float32, random_state=rng)
    labels.data[:] = 1
    labels = (labels @ sp.diags_array((np.arange(L) != 7).astype(np.float32))).tocsr().astype(np.float32)
    words = labels @ sp.random(L, V, 0.1, format="csr", dtype=np.float32, random_state=rng)
    noise = sp.random(N, V, 0.05, format="csr", dtype=np.float32, random_state=rng)
    return (words + noise).tocsr().astype(np.float32), labels


def hashes(beam: SparseBeam) -> dict[str, str]:
    """A hash of each array of a tree."""
    arrays = {f"{i}-{name}": array for i, level in enumerate(beam.levels) for name, array in level.arrays.items()}
    arrays["order"] = beam.order
    return {name: f"{a.dtype} {hashlib.sha256(np.ascontiguousarray(a)).hexdigest()}" for name, a in arrays.items()}


def solved(world: World, block: int | None) -> dict[str, Any]:
    """Hashes of the trees that the processes fit together, and the scores of a trial.

    block: feature values that are solved in one call, None for the usual number.
    """
    x, labels = problem(1)
    before = level_blocks.BLOCK
    level_blocks.BLOCK = block or before
    try:
        weights = np.linspace(0.5, 2, N)
        trees = solve_trees(
            x, labels, trees=2, depths=(2, 4), cluster_features=50, seed=3, say=lambda line: None, world=world,
            weights=weights, stored="int8",
        )  # fmt: skip
        sample = Sample(np.arange(0, 200), np.arange(200, N), np.arange(60))
        trial = Trial(x, labels, [], None, sample, 0, weights, world)
        return {"trees": [hashes(tree) for tree in trees], "scores": trial.measure(Setting())}
    finally:
        level_blocks.BLOCK = before


def recipe_run(world: World, out: str, recipe: str = "linear") -> dict[str, str]:
    """Trains a recipe into a folder; hashes of the files of the model, and its answers."""
    made = get(recipe)(planted(n_texts=300), trees=2, seed=1, char_ngrams="no", bigrams="yes")
    model = train(made, out, device="cpu", quiet=False)
    files = sorted(path for path in (Path(out) / "model").rglob("*") if path.is_file())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return found | {"answers": str(model.topk(["w1a w2b", "w5a noise3"], 3).ids.tolist())}


def refused(world: World, out: str) -> str:
    """The error of a recipe that one process solves."""
    try:
        train(get("retrieval")(planted(n_texts=50)), out, device="cpu", quiet=True)
    except SettingError as error:
        return str(error)
    return ""


def with_other_data(world: World) -> str:
    """The error of processes that read different texts."""
    x, labels = problem(world.rank)
    try:
        check_same_rows(x, labels, world)
    except SettingError as error:
        return str(error)
    return ""


def warm_up() -> None:
    """Loads the compiled code."""
    solved(World(), None)
