"""What a hybrid with a search has in its folder: the index, and the boosted trees that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from megalabel.errors import RESTORE_FOLDER
from megalabel.models.boosted_merge import BoostedMerge, SearchedRanking
from megalabel.models.mixture import Mixture
from megalabel.retrieval.index import RetrievalIndex
from megalabel.storage.manifest import check_listed, inner_folder

MERGE, SEARCHED = "merge.npz", "searched.npz"


def save_search(
    folder: Path,
    index: RetrievalIndex | None,
    learned: BoostedMerge | None,
    searched: SearchedRanking | None,
) -> dict[str, Any]:
    """Writes the parts that there are; returns facts for the manifest."""
    if index is None:
        return {}
    facts: dict[str, Any] = {"index": "index"}
    index.save(folder / "index")
    if learned is not None:
        learned.save(folder / MERGE)
        facts["merge"] = MERGE
    if searched is not None:
        searched.learned.save(folder / SEARCHED)
        facts["searched"] = searched.calibration.config()
    return facts


def load_search(
    folder: Path, manifest: dict[str, Any]
) -> tuple[RetrievalIndex | None, BoostedMerge | None, SearchedRanking | None]:
    """Index, learned merge and searched ranking in the folder of a hybrid; models of 0.1.0 have none."""
    if "index" not in manifest:
        return None, None, None
    index = RetrievalIndex.load(inner_folder(folder, manifest["index"], next_step=RESTORE_FOLDER))
    wanted = [name for name, fact in ((MERGE, "merge"), (SEARCHED, "searched")) if fact in manifest]
    check_listed(manifest, "hybrid model", folder, files=wanted, next_step=RESTORE_FOLDER)
    learned = BoostedMerge.load(folder / MERGE) if MERGE in wanted else None
    searched = None
    if "searched" in manifest:
        searched = SearchedRanking(Mixture.from_config(manifest["searched"]), BoostedMerge.load(folder / SEARCHED))
    return index, learned, searched
