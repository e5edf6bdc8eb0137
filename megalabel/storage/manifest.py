"""The manifest of a folder: format, metadata and a hash of every file, which are checked before reading."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError
from megalabel.storage.files import read_json, sha256, write_json
from megalabel.storage.reading import refused
from megalabel.version import __version__

NAME = "manifest.json"
DIGEST = "manifest_sha256"  # of the manifest's own facts and hashes; version 0.1.0 wrote none
LONGEST = 64 << 20  # bytes of a manifest
_PLAIN = re.compile(r"[^/\\:\0]+")
_HEX = re.compile(r"[0-9a-f]{64}")


def write_manifest(folder: Path, format: int, facts: dict[str, Any], *, hashed: bool = True) -> None:
    """Writes `manifest.json` with the hashes of all files in `folder`, and of the manifests of its folders.

    hashed: False where `facts` hold hashes of their own, so that the files are not read again.
    """
    files = sorted(path for path in folder.iterdir() if hashed and path.is_file())
    hashes = {path.name: sha256(path) for path in files}
    inside = sorted(path for path in folder.iterdir() if (path / NAME).is_file())
    hashes |= {f"{path.name}/{NAME}": sha256(path / NAME) for path in inside}
    content = {"format": format, "version": __version__, **facts, "sha256": hashes}
    write_json(folder / NAME, {**content, DIGEST: _digest(content)})


@contextlib.contextmanager
def listing_again(folder: Path, name: str) -> Iterator[None]:
    """Lets a file in a folder be written or replaced within the block; the manifest does not list it meanwhile.

    Whoever is interrupted leaves a folder without the file, or with one that is not listed.

    Raises:
        FormatError: there is no manifest.
    """

    def write(hashes: dict[str, Any], content: dict[str, Any]) -> None:
        content = {key: value for key, value in content.items() if key != DIGEST} | {"sha256": hashes}
        write_json(folder / NAME, {**content, DIGEST: _digest(content)})

    content = read_json(folder / NAME, next_step=None)
    hashes = {file: digest for file, digest in content.get("sha256", {}).items() if file != name}
    if name in content.get("sha256", {}):
        write(hashes, content)
    yield
    write(dict(sorted({**hashes, name: sha256(folder / name)}.items())), content)


def read_manifest(
    folder: Path,
    what: str,
    format: int,
    *,
    oldest: int | None = None,
    facts: Iterable[str] = (),
    files: Iterable[str] = (),
    next_step: str,
) -> dict[str, Any]:
    """Reads and checks the manifest of a folder.

    Args:
        folder: the folder.
        what: the kind of folder, for messages.
        format: the newest supported format.
        oldest: the oldest supported format; None for the newest alone.
        facts: keys that the manifest must contain.
        files: files that the manifest must list.
        next_step: the next step for all messages.

    Raises:
        FormatError: no folder or manifest, another format, a missing key or file, or a file that was changed or is
            a link to outside of the folder.
    """
    for path in (folder, *folder.parents):
        if path.is_file():
            raise FormatError(
                "a file", wanted=f"the folder of a {what}", next_step="pass the folder, not a file", where=path
            )
    manifest = read_json(folder / NAME, next_step=next_step, limit=LONGEST)
    found, oldest = manifest.get("format"), format if oldest is None else oldest
    if not isinstance(found, int) or isinstance(found, bool) or not oldest <= found <= format:
        newer = isinstance(found, int) and found > format
        raise FormatError(
            f"{what} of format {found!r:.80} (written by megalabel {manifest.get('version')!s:.80})",
            wanted=f"format {format}" if oldest == format else f"formats {oldest} to {format}",
            next_step=_newer(manifest.get("version")) if newer else next_step,
            where=folder,
        )
    check_listed(manifest, what, folder, facts=facts, files=files, next_step=next_step)
    if DIGEST in manifest and manifest[DIGEST] != _digest(manifest):
        raise FormatError(
            "the manifest was changed",
            wanted="the facts and hashes that megalabel wrote",
            next_step=next_step,
            where=folder / NAME,
        )
    for name, digest in manifest["sha256"].items():
        _check_file(folder, name, digest, next_step)
    return manifest


def _newer(version: object) -> str:
    """The next step for a folder of a newer format, by the version that wrote it."""
    if version == __version__:  # a development version, which has the number of the release before it
        return "install a newer release of megalabel: this one has the same number, but not the format"
    return f"install megalabel {version!s:.80} or later"


def check_listed(
    manifest: dict[str, Any],
    what: str,
    folder: Path,
    *,
    facts: Iterable[str] = (),
    files: Iterable[str] = (),
    next_step: str,
) -> None:
    """FormatError unless a manifest holds these facts, and the hashes of these files."""
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or not {*facts} <= manifest.keys() or not {*files} <= hashes.keys():
        raise FormatError(
            f"the manifest is not one of a {what}",
            wanted=", ".join(["sha256", *facts, *files]),
            next_step=next_step,
            where=folder / NAME,
        )


def plain_name(name: Any, folder: Path, *, next_step: str) -> str:
    """The name of a file or folder directly inside `folder`; FormatError for anything else, such as a path."""
    if isinstance(name, str) and _PLAIN.fullmatch(name) and name not in (".", ".."):
        return name
    raise FormatError(
        f"the manifest names {name!r:.80}",
        wanted="the name of something inside the folder",
        next_step=next_step,
        where=folder / NAME,
    )


def inner_folder(folder: Path, name: Any, *, next_step: str) -> Path:
    """A folder directly inside `folder`; FormatError for a path, and for a link that leads out of it."""
    inside = folder / plain_name(name, folder, next_step=next_step)
    if not inside.resolve().is_relative_to(folder.resolve()):
        raise _elsewhere(inside)
    return inside


def _elsewhere(path: Path) -> FormatError:
    return FormatError(
        "a link to outside of the folder",
        wanted="what is in the folder itself",
        next_step="copy the folder with the files that its links name (cp -rL)",
        where=path,
    )


def _check_file(folder: Path, name: Any, digest: Any, next_step: str) -> None:
    """FormatError unless a file lies in the folder, or is the manifest of a folder in it, and has this hash."""
    plain_name(name.removesuffix(f"/{NAME}"), folder, next_step=next_step)
    path = folder / name
    found = ""
    try:
        if path.exists() and not path.resolve().is_relative_to(folder.resolve()):
            raise _elsewhere(path)
        if path.is_file() and isinstance(digest, str) and _HEX.fullmatch(digest):
            found = sha256(path)
    except OSError as error:
        raise refused(
            error, wanted="a file that can be read", next_step=next_step, where=path, what="it cannot be read"
        ) from error
    if not found or found != digest:
        raise FormatError(
            "the file is missing or differs from the manifest",
            wanted=f"SHA-256 {digest!s:.12}…",
            next_step=next_step,
            where=path,
        )


def _digest(manifest: dict[str, Any]) -> str:
    """The SHA-256 of all that a manifest says but for this, independent of the order and layout of the JSON."""
    content = json.loads(json.dumps({key: value for key, value in manifest.items() if key != DIGEST}))
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
