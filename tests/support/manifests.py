"""Edits the manifest of a folder and updates its hashes, as an attacker who knows the format would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalabel.storage import manifest as stored
from megalabel.storage.files import sha256


@contextmanager
def edited(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the manifest to change; afterwards the folder is valid, with changed values and matching hashes."""
    path = folder / stored.NAME
    content = json.loads(path.read_text())
    yield content
    if isinstance(content.get("sha256"), dict):
        for name in content["sha256"]:
            if (folder / name).is_file():
                content["sha256"][name] = sha256(folder / name)
    if stored.DIGEST in content:
        content[stored.DIGEST] = stored._digest(content)
    path.write_text(json.dumps(content))
