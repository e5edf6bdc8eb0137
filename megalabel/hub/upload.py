"""Uploads a run or a model to a hub, with a model card, as one commit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.hub.card import model_card
from megalabel.hub.names import check_name, hub_errors
from megalabel.hub.parts import PART_BYTES, divided
from megalabel.models.find import model_folder
from megalabel.storage.files import read_json
from megalabel.storage.paths import as_path

CARD = "README.md"
ABOUT = ("recipe.json", "metrics.json")  # of the run folder, beside the model


def push_to_hub(
    run: str | Path,
    name: str,
    *,
    license: str | None = None,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    card: str | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
    part_bytes: int = PART_BYTES,
) -> str:
    """Uploads the model of a run, its settings, metrics and a model card; returns the new commit.

    The files of the repository that the new model does not have are removed, in the same commit. Files above 5 GB
    are stored as parts, which `from_pretrained` joins. Paths of this machine are left out.

    Args:
        run: a run folder or a model folder.
        name: "user/model"; the repository is created if it does not exist.
        license: the license of the model, as an SPDX identifier, for the card.
        private: whether a new repository is private.
        revision: the branch; None for main.
        message: the message of the commit.
        card: the text of README.md; by default `model_card` writes it.
        token: a token of the hub; None for the one of `hf auth login`.
        endpoint: the address of another hub.
        part_bytes: the size above which a file is stored as parts.

    Raises:
        FormatError: there is no model, or the run is not finished.
        SettingError: the name is no name, or this token may not write to the repository.
        ResourceError: the hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    run, name = as_path(run, "run"), check_name(name)
    folder = model_folder(run)
    text = model_card(run, name, license=license) if card is None else card
    with tempfile.TemporaryDirectory(prefix="megalabel-") as temporary, hub_errors(name):
        contents = _contents(run, folder, text, Path(temporary), part_bytes)
        operations: list[Any] = [CommitOperationAdd(path, content) for path, content in contents]
        api = HfApi(endpoint=endpoint, token=token)
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        kept = {operation.path_in_repo for operation in operations} | {".gitattributes"}
        for old in api.list_repo_files(name, revision=revision):
            if old not in kept:
                operations.append(CommitOperationDelete(old))
        done = api.create_commit(name, operations, commit_message=message or "Upload a model", revision=revision)
    return str(done.oid)


def _contents(
    run: Path, folder: Path, card: str, temporary: Path, part_bytes: int
) -> Iterator[tuple[str, Path | bytes]]:
    """What a repository holds, by path: the files of the model or their parts, the card, and facts of the run."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    for number, file in enumerate(files):
        scratch = temporary / str(number)
        scratch.mkdir()
        for part in divided(file, scratch, part_bytes):
            yield (file.relative_to(folder).parent / part.name).as_posix(), part
    yield CARD, card.encode()
    for about in ABOUT:
        if folder != run and (run / about).is_file():
            facts = _without_paths(read_json(run / about, next_step=None))
            yield about, (json.dumps(facts, indent=2) + "\n").encode()


def _without_paths(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of a run in which absolute paths of this machine are cut to their last part."""

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cut(part) for key, part in value.items()}
        if isinstance(value, list):
            return [cut(part) for part in value]
        if isinstance(value, str) and Path(value).is_absolute():
            return Path(value).name
        return value

    found: dict[str, Any] = cut(facts)
    return found
