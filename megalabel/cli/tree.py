"""`megalabel tree`: building, showing and exporting label trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from megalabel.errors import SettingError
from megalabel.labels.build import build_tree, check_fits
from megalabel.labels.describe import describe
from megalabel.labels.tree import LabelTree, new_folder
from megalabel.training.knobs import checked

Say = Callable[[str], Any]


def build(data: Any, out: Path, depths: str | None, threads: int | None, values: dict[str, Any], say: Say) -> None:
    """Builds the tree of a data set into the new folder `out`; `values` are arguments of `build_tree`."""
    new_folder(out)  # before the work, not after it
    chosen = None if depths is None else checked("depths", depths, "tuple[int, ...]")
    if threads is not None:
        import torch

        if threads < 1:
            raise SettingError(f"threads = {threads}", wanted="1 or more", next_step="leave --threads out for all")
        torch.set_num_threads(threads)
    tree = build_tree(data, depths=chosen, say=say, **values)
    tree.save(out)
    say(f"the tree is in {out}; next: megalabel tree show {out} --data DATA")


def show(folder: Path, data: Any, examples: int, say: Say) -> None:
    """Says what a tree is like; with a data set, what some leaves hold."""
    tree = LabelTree.load(folder)
    if data is not None:
        check_fits(tree, data)
    for line in describe(tree, None if data is None else data.label_texts, examples=examples):
        say(line)


def export(folder: Path, out: Path, say: Say) -> None:
    """Writes a tree as PECOS's cluster chain."""
    tree = LabelTree.load(folder)
    tree.export_npz(out)
    say(f"{out}: {tree.depth + 1} matrices for pecos.utils.cluster_util.ClusterChain.load")
