"""The encoder of a finished run as a model folder describes it: read without torch, for `--encoder RUN`."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from megalabel.errors import MegalabelError, SettingError
from megalabel.storage import migrate
from megalabel.storage.files import latest, read_json
from megalabel.storage.reading import open_regular
from megalabel.storage.tensor_header import read_header

WANTED = "a finished run whose encoder is a bag or a transformer"
NEXT_STEP = "give such a run, or the name of an encoder: bag, small, minilm"


def is_model(folder: Path) -> bool:
    """Whether a folder is that of a run or of a saved model."""
    return any((folder / name).is_file() for name in ("recipe.json", "manifest.json"))


def described(folder: Path) -> tuple[str, dict[str, Any]]:
    """The class of the encoder without its module, and its arguments.

    Args:
        folder: the folder of a run, or of a model.

    Raises:
        SettingError: the run is not finished, or its model has no single encoder that training can go on with.
    """
    try:
        if not (folder / "manifest.json").is_file():
            if not read_json(folder / "recipe.json", next_step=None).get("finished", True):
                raise refused(folder, "the run is not finished", "wait for its end, or resume it")
            folder = latest(folder / "model")
        encoder = migrate.model_manifest(read_json(folder / "manifest.json", next_step=None)).get("encoder")
    except SettingError:
        raise
    except MegalabelError as error:
        raise refused(folder, error.found, error.next_step) from error
    kind = str(encoder.get("class")).rpartition(":")[2] if isinstance(encoder, dict) else ""
    if not isinstance(encoder, dict) or kind not in ("Bag", "Transformer"):
        raise refused(folder, f"an encoder of the class {kind}" if kind else "a model without a single encoder")
    if not isinstance(encoder.get("config"), dict):
        raise refused(folder, "a manifest without the shape of the encoder")
    return kind, encoder["config"]


def bag_shape(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The fields of `EncoderShape` of a bag, whose vectors are those of the tokens and of the bigrams."""
    folder = folder if (folder / "manifest.json").is_file() else latest(folder / "model")
    try:
        with open_regular(folder / "encoder.safetensors") as file:
            rows, dim = read_header(file)[0]["table.weight"]["shape"]
        inner = config["hidden_dim"]
        if any(type(number) is not int or number < 0 for number in (rows, dim, inner)):
            raise ValueError(f"a table of {rows!r:.40} x {dim!r:.40}, a block of {inner!r:.40}")
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise refused(folder, f"the shape of the bag cannot be read ({error})") from error
    return {
        "type": "bag", "layers": 0, "hidden": dim, "inner": inner, "heads": 0, "vocabulary": rows, "positions": 0,
        "types": 0, "sparse": True,
    }  # fmt: skip


def refused(folder: Path, found: str, step: str | None = NEXT_STEP) -> SettingError:
    """The error for a folder that is no run to start from."""
    return SettingError(f"{folder}: {found}", wanted=WANTED, next_step=step or NEXT_STEP, where="encoder")
