"""Weights of an encoder from a file of tensors, such as the `state_dict.pt` of NGAME.

NGAME (Dahiya et al., WSDM 2023) trains an encoder on a data set, from which the published runs of Renée start. Its
file names the tensors of a Hugging Face model with a prefix such as
`embedding_labels.encoder.transformer.0.auto_model.`, beside others that belong to its own modules.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megalabel.errors import FormatError, SettingError
from megalabel.storage.files import atomic_folder
from megalabel.storage.tensors import load_tensors

DAMAGED = (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which checkpoints hold the tensors
LABELS = "embedding_labels."  # NGAME's encoder of labels, which Renée takes where documents have one too
SAVE = "correct the path, or save the tensors alone by torch.save(model.state_dict(), FILE)"
FILE = "a file of torch.save or .safetensors that holds tensors by name"


def load_weights(model: nn.Module, file: str | Path) -> str:
    """Replaces all tensors of a model by those of a file whose names end like the model's; says what was taken.

    The file is read without running any code that it may contain. A prefix that the names have is stripped; among
    several copies of the model, that of NGAME's label encoder is taken, else the first.

    Args:
        model: a Hugging Face model.
        file: a state dict of `torch.save` (.pt, .bin, …) or a .safetensors file.

    Returns:
        A line such as "encoder weights: 100 tensors of state_dict.pt (prefix …), 3 others left".

    Raises:
        FormatError: the file is missing, damaged, or holds something else than tensors.
        SettingError: tensors are missing or have other shapes than those of the model.
    """
    file = Path(file)
    tensors, own = read_state(file), model.state_dict()
    prefix = _prefix(tensors, own)
    missing = [name for name in own if f"{prefix}{name}" not in tensors]
    if missing:
        shown = f"{missing[0]!r}" + (f" and {len(missing) - 1} others" if len(missing) > 1 else "")
        raise SettingError(
            f"{file} lacks {len(missing)} of the {len(own)} tensors of this encoder: {shown}; it holds "
            f"{len(tensors)}, such as {next(iter(tensors), 'none')!r}",
            wanted="the weights of this very architecture",
            next_step="name by `encoder` the model that the weights are of",
            where="encoder_weights",
        )
    for name, tensor in own.items():
        given = tensors[f"{prefix}{name}"]
        if given.shape != tensor.shape:
            raise SettingError(
                f"{name} of {file} has the shape {tuple(given.shape)}, that of this encoder {tuple(tensor.shape)}",
                wanted="the weights of this very architecture",
                next_step="name by `encoder` the model that the weights are of",
                where="encoder_weights",
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[f"{prefix}{name}"])
    left = len(tensors) - len(own)
    found = f" (prefix {prefix})" if prefix else ""
    return f"encoder weights: {len(own)} tensors of {file}{found}" + (f", {left} others left" if left else "")


def convert(encoder: str, file: str | Path, folder: str | Path) -> str:
    """Writes a Hugging Face folder with the shape and the tokenizer of an encoder and the weights of a file.

    Args:
        encoder: a folder, an encoder that an installed package holds, or a name on the hub.
        file: see `load_weights`.
        folder: a new folder.

    Returns:
        What `load_weights` says, and what of a folder of sentence-transformers is not written.

    Raises:
        FormatError, SettingError: as `load_weights`; or the folder is not new.
    """
    from transformers import PreTrainedTokenizerFast

    from megalabel.encoders.hugging_face import load_pretrained

    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise SettingError(f"{folder} exists already", wanted="a new folder", where="folder")
    loaded: Any
    loaded, tokenizer, settings = load_pretrained(encoder)
    said = load_weights(loaded, file)
    pad = tokenizer.tokenizer.id_to_token(tokenizer.pad_id)
    with atomic_folder(folder) as new:
        loaded.save_pretrained(new)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer.tokenizer, pad_token=pad).save_pretrained(new)
    if settings.pooling or settings.after or settings.prompts.texts:
        said += "; pooling, prompts and further modules of sentence-transformers are not written"
    return said


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors in a file by name; FormatError for anything else. No code of the file is run."""
    if file.suffix == ".safetensors":
        return load_tensors(file, next_step="correct the path, or copy the file again")
    try:
        with warnings.catch_warnings():  # about files of older pickle protocols
            warnings.simplefilter("ignore")
            found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise FormatError(
            f"cannot be read as tensors ({reason})",
            wanted=FILE,
            next_step=SAVE,
            where=file,
        ) from error
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {k: v for k, v in found.items() if isinstance(v, Tensor)} if isinstance(found, Mapping) else {}
    if not tensors or not all(isinstance(key, str) for key in tensors):
        raise FormatError(
            f"a {type(found).__name__} without named tensors", wanted=FILE, next_step=SAVE, where=file
        )
    return tensors


def _prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What the names of the file have before those of the model, by the most tensors."""
    counts: Counter[str] = Counter()
    names = sorted(own, key=len)
    for key in tensors:
        for name in names:
            if key == name or key.endswith(f".{name}"):
                counts[key[: len(key) - len(name)]] += 1
    if not counts:
        return ""
    most = max(counts.values())
    best = [prefix for prefix in counts if counts[prefix] == most]
    return next((prefix for prefix in best if prefix.startswith(LABELS)), best[0])
