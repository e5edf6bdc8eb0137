"""Loads models from a hub: one commit of a repository, downloaded once, and checked as any model folder is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from megalabel.errors import ResourceError, SettingError
from megalabel.hub.names import check_name, hub_errors, is_name
from megalabel.hub.parts import join_parts
from megalabel.models.base import Classifier, load
from megalabel.models.find import model_folder
from megalabel.storage.files import write_text

_COMMIT = re.compile(r"[0-9a-f]{40}")
COMPLETE = ".complete"  # a file in the folder of a commit whose files are all there


def from_pretrained(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = "cpu",
    trust: Sequence[str] = (),
    mapped: bool = False,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Classifier:
    """Loads a model by its name on the Hugging Face Hub, or from a folder.

    Files are downloaded once per commit. Their hashes are checked, and no code of the repository is executed.

    Args:
        name: "user/model", or the folder of a run or a model.
        revision: a commit, tag or branch; None for the newest commit of the main branch. Give a commit to always
            get the same model.
        device, trust, mapped: as in `megalabel.load`.
        cache_dir: where downloads are kept; by default in the cache of huggingface_hub.
        token: a token of the hub; None for the one of `hf auth login`.
        endpoint: the address of another hub.

    Raises:
        SettingError: there is no such model or revision, or it may not be read.
        ResourceError: the hub cannot be reached, and the commit was not downloaded before.
        FormatError: the repository or folder holds no model, or it is damaged.
    """
    if isinstance(name, Path) or not is_name(name) or Path(name).exists():
        if revision is not None:
            raise SettingError(
                f"revision {revision!r} of a folder", wanted="a name such as user/model", where=str(name)
            )
        return load(name, device=device, trust=trust, mapped=mapped)
    try:
        folder = download(str(name), revision=revision, cache_dir=cache_dir, token=token, endpoint=endpoint)
    except (SettingError, ResourceError) as error:  # of "runs/linaer" too
        if revision is not None:
            raise
        found = f"no folder has this name, and {error.found}"
        raise type(error)(found, wanted=error.wanted, next_step=error.next_step, where=error.where) from error
    return load(folder, device=device, trust=trust, mapped=mapped)


def download(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Path:
    """The folder of a commit of a model, which is named by the commit; downloads it if it is not there.

    If the hub cannot be reached, the commit that `revision` was when it was downloaded last is taken.
    """
    name = check_name(name)
    place, wanted = _place(name, cache_dir), revision or "main"
    reference = place / "refs" / re.sub(r"[^\w.-]", "_", wanted)
    if _COMMIT.fullmatch(wanted) and (place / wanted / COMPLETE).is_file():
        return place / wanted
    try:
        commit = _commit(name, wanted, token, endpoint)
    except ResourceError:
        known = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
        if known and (place / known / COMPLETE).is_file():
            return place / known
        raise
    folder = place / commit
    if not (folder / COMPLETE).is_file():
        _fetch(name, commit, folder, token, endpoint)
    reference.parent.mkdir(parents=True, exist_ok=True)
    write_text(reference, commit + "\n")
    return folder


def copy_to(name: str, out: Path, *, revision: str | None = None) -> str:
    """Downloads a model into a new folder; returns the commit.

    Raises:
        SettingError: the folder exists and is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"{out} is there already", wanted="a new folder", where="out")
    folder = model_folder(download(name, revision=revision))
    shutil.copytree(folder, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(COMPLETE))
    return folder.name


def _place(name: str, cache_dir: str | Path | None) -> Path:
    from huggingface_hub import constants

    root = Path(cache_dir) if cache_dir is not None else Path(constants.HF_HOME) / "megalabel"
    return root / name.replace("/", "--")


def _commit(name: str, revision: str, token: str | bool | None, endpoint: str | None) -> str:
    from huggingface_hub import HfApi

    with hub_errors(name):
        return str(HfApi(endpoint=endpoint, token=token).model_info(name, revision=revision).sha)


def _fetch(name: str, commit: str, folder: Path, token: str | bool | None, endpoint: str | None) -> None:
    """Downloads the files of a commit as files, since models refuse links that lead out of their folder."""
    from huggingface_hub import snapshot_download

    with hub_errors(name):
        snapshot_download(name, revision=commit, local_dir=folder, token=token, endpoint=endpoint)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # what the client keeps to resume a download
    join_parts(folder)
    model_folder(folder)  # an error, unless it holds a model
    write_text(folder / COMPLETE, commit + "\n")
