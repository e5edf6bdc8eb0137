"""The manifest of a folder: format, metadata and a hash of every file, which are checked before reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError, MegalabelError
from megalabel.storage.files import read_json, sha256, write_json
from megalabel.version import __version__

NAME = "manifest.json"


def write_manifest(folder: Path, format: int, facts: dict[str, Any]) -> None:
    """Writes `manifest.json` with the hashes of all files that are in `folder`."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    hashes = {path.name: sha256(path) for path in files}
    write_json(folder / NAME, {"format": format, "version": __version__, **facts, "sha256": hashes})


def read_manifest(
    folder: Path, what: str, format: int, *, facts: Iterable[str] = (), files: Iterable[str] = (), next_step: str
) -> dict[str, Any]:
    """Reads and checks the manifest of a folder.

    Args:
        folder: the folder.
        what: the kind of folder, for messages.
        format: the supported format.
        facts: keys that the manifest must contain.
        files: files that the manifest must list.
        next_step: the next step for all messages.

    Raises:
        FormatError: no folder or manifest, another format, a missing key or file, or a changed file.
    """
    for path in (folder, *folder.parents):
        if path.is_file():
            raise FormatError(
                "a file", wanted=f"the folder of a {what}", next_step="pass the folder, not a file", where=path
            )
    manifest = read_json(folder / NAME, next_step=next_step)
    found = manifest.get("format")
    if found != format:
        newer = isinstance(found, int) and found > format
        raise FormatError(
            f"{what} of format {found} (written by megalabel {manifest.get('version')})",
            wanted=f"format {format}",
            next_step=f"install megalabel {manifest.get('version')} or later" if newer else next_step,
            where=folder,
        )
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or not {*facts} <= manifest.keys() or not {*files} <= hashes.keys():
        raise FormatError(
            f"the manifest is not one of a {what}",
            wanted=", ".join(["sha256", *facts, *files]),
            next_step=next_step,
            where=folder / NAME,
        )
    for name, digest in hashes.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise FormatError(
                "the file is missing or differs from the manifest",
                wanted=f"SHA-256 {digest[:12]}…",
                next_step=next_step,
                where=folder / name,
            )
    return manifest


@contextmanager
def reading(folder: Path, *, wanted: str, next_step: str) -> Iterator[None]:
    """Turns errors that occur while reading a folder's content into a FormatError about the folder.

    Hashes have been checked before, so such folders were assembled incorrectly or edited.

    Args:
        folder: the folder.
        wanted: the expected content.
        next_step: the next step for the message.
    """
    try:
        yield
    except FormatError:
        raise
    except (MegalabelError, OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        found = error.found if isinstance(error, MegalabelError) else repr(error)
        raise FormatError(
            f"the folder is damaged ({found})", wanted=wanted, next_step=next_step, where=folder
        ) from error
