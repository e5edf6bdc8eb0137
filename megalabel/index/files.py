"""Saves an index as a folder inside of that of its model, and loads it if it belongs to the weights there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from megalabel.errors import RESTORE_FOLDER, FormatError
from megalabel.index.base import LabelIndex
from megalabel.index.build import CLASSES
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.storage.reading import reading

FOLDER = "index"  # in the folder of a model
FORMAT = 1
_FACTS = ("kind", "shape", "depth", "facts", "weights_sha256", "report")


def save_index(folder: Path, index: LabelIndex, weights_sha256: str) -> None:
    """Writes an index into a new folder.

    weights_sha256: the hash of the file with the weights that it was built from.
    """
    folder.mkdir()
    facts = index.save_files(folder)
    write_manifest(
        folder,
        FORMAT,
        {
            "kind": index.kind,
            "shape": list(index.shape),
            "depth": index.depth,
            "facts": facts,
            "weights_sha256": weights_sha256,
            "report": index.report,
        },
    )


def load_index(folder: Path, weights_sha256: str, shape: tuple[int, int]) -> LabelIndex | None:
    """Reads the index of a model, memory-mapped; None if it was built from other weights.

    Raises:
        FormatError: it is damaged, or of a kind that this version does not know.
        MissingExtra: it needs a package that is not installed.
    """
    manifest = read_manifest(folder, "index of a model", FORMAT, facts=_FACTS, next_step=RESTORE_FOLDER)
    if manifest["weights_sha256"] != weights_sha256:
        return None
    kind: Any = manifest["kind"]
    if not isinstance(kind, str) or kind not in CLASSES or manifest["shape"] != list(shape):
        raise FormatError(
            f"an index of the kind {kind!r:.40} for weights {manifest['shape']!r:.40}",
            wanted=f"{' or '.join(CLASSES)} for {list(shape)}",
            next_step=RESTORE_FOLDER,
            where=folder,
        )
    with reading(folder, wanted="an index that megalabel wrote", next_step=RESTORE_FOLDER):
        index = CLASSES[kind].load_files(folder, manifest["facts"], shape, int(manifest["depth"]))
    index.report = manifest["report"]
    return index
