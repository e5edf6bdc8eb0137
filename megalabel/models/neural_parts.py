"""Makes the parts of a saved neural model: its encoder, its head and the encoder of its label texts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.encoders.base import Encoder
from megalabel.encoders.labels import IDS, OFFSETS, LabelTexts
from megalabel.errors import RESTORE_FOLDER, FormatError, SettingError
from megalabel.heads.base import Head
from megalabel.heads.nested import described
from megalabel.heads.wrappers.whole_state import whole_state
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.models.base import FORMAT, NARROW_FORMAT, class_name, named_class
from megalabel.storage.budget import Budget, check_whole_numbers
from megalabel.storage.largest import largest_of
from megalabel.storage.manifest import check_listed
from megalabel.storage.mapped_weights import are_weights_mapped
from megalabel.storage.reading import reading
from megalabel.storage.tensors import Streamed, fill, save_tensors, stored_size

LARGEST = 1 << 20  # whole number in a configuration, where the weights are fewer bytes


def format_of(parts: Iterable[nn.Module]) -> int:
    """The format of a model folder with the weights of these parts."""
    tensors = [tensor for part in parts for tensor in part.state_dict().values()]
    narrow = any(tensor.is_floating_point() and tensor.element_size() < 4 for tensor in tensors)
    return NARROW_FORMAT if narrow else FORMAT


def save_parts(folder: Path, encoder: Encoder, head: Head, label_side: LabelTexts | None) -> dict[str, Any]:
    """Writes the weights of the parts into a folder; what `load_parts` needs to know of them."""
    save_tensors(folder / "encoder.safetensors", encoder.state_dict())
    save_tensors(folder / "head.safetensors", whole_state(head))
    head.save_files(folder)
    encoder.tokenizer.save(folder)
    facts: dict[str, Any] = {
        "encoder": {"class": class_name(encoder), "config": encoder.config()},
        "head": described(head),
    }
    if label_side is not None:
        save_tensors(folder / "labels.safetensors", label_side.state_dict())
        label_side.save_files(folder)
        facts["labels"] = label_side.config()
    return facts


def load_parts(
    folder: Path, manifest: Mapping[str, Any], trust: Sequence[str]
) -> tuple[Encoder, Head, LabelTexts | None]:
    """Makes the parts that a manifest describes; their weights are still to be loaded.

    Args:
        folder: the model folder.
        manifest: what `read_model_manifest` returns.
        trust: the modules outside megalabel from which classes may come.

    Returns:
        The encoder, the head, and the encoder of the label texts or None.
    """
    tokenizer, made = TextTokenizer.load(folder), functools.partial(_made, folder, trust)
    encoder: Encoder = made(manifest["encoder"], Encoder, "encoder.safetensors", tokenizer)
    head: Head = made(manifest["head"], Head, "head.safetensors")
    if manifest.get("labels") is None:
        return encoder, head, None
    files = ("labels.safetensors", IDS, OFFSETS)
    check_listed(dict(manifest), "dual encoder", folder, files=files, next_step=RESTORE_FOLDER)
    store, own = LabelTexts.load_store(folder, next_step=RESTORE_FOLDER), manifest["labels"]["encoder"]
    side = made(own, Encoder, "labels.safetensors", tokenizer) if own else encoder
    return encoder, head, LabelTexts(store, side, shared=not own)


def load_encoder(folder: Path, manifest: Mapping[str, Any], trust: Sequence[str]) -> Encoder:
    """The encoder alone with its weights, on the CPU; arguments as those of `load_parts`."""
    with reading(folder, wanted="the encoder of a model that megalabel saved", next_step=RESTORE_FOLDER):
        tokenizer = TextTokenizer.load(folder)
        encoder: Encoder = _made(folder, trust, manifest["encoder"], Encoder, "encoder.safetensors", tokenizer)
        with torch.no_grad():
            fill(encoder, folder / "encoder.safetensors", next_step=RESTORE_FOLDER)
        check_weights([encoder], folder)
        return encoder


def _made(
    folder: Path, trust: Sequence[str], described: dict[str, Any], kind: type, weights: str, *arguments: Any
) -> Any:
    """The part that a manifest describes, no larger than its file of weights."""
    found = named_class(described["class"], kind, trust, folder)
    n_bytes, n_tensors = stored_size(folder / weights, next_step=RESTORE_FOLDER)
    check_whole_numbers(described["config"], max(n_bytes, LARGEST), folder, RESTORE_FOLDER)
    with Budget(n_bytes, n_tensors):
        return found.from_config(described["config"], *arguments, folder)


def checked_length(max_length: Any, folder: Path) -> int:
    """The tokens that are read of each text; FormatError for what is no such number."""
    if isinstance(max_length, bool) or not isinstance(max_length, int) or not 1 <= max_length < 1 << 31:
        raise FormatError(
            f"max_length = {max_length!r:.80}",
            wanted="a whole number from 1 up",
            next_step=RESTORE_FOLDER,
            where=folder,
        )
    return max_length


def check_parts_fit(encoder: Encoder, head: Head, side: LabelTexts | None, n_labels: int, folder: Path) -> None:
    """FormatError unless encoder, head, label names and label texts are of the same sizes."""
    for what, found, wanted in (
        ("labels of the head", head.n_labels, n_labels),
        ("label texts", n_labels if side is None else len(side), n_labels),
        ("views that the head reads", head.n_views, encoder.n_views),
        ("numbers in a view that the head reads", head.dim, encoder.dim),
    ):
        if found != wanted:
            raise FormatError(f"{found} {what}", wanted=str(wanted), next_step=RESTORE_FOLDER, where=folder)
    if side is not None:
        last = int(np.asarray(side.store.ids).max(initial=0))
        if last >= encoder.tokenizer.vocabulary_size:
            raise FormatError(
                f"token {last} in a label's text",
                wanted=f"tokens below {encoder.tokenizer.vocabulary_size}",
                next_step=RESTORE_FOLDER,
                where=folder,
            )


def to_fill(head: Head) -> Head | dict[str, Tensor | Streamed]:
    """What the weights of a head are read into: the head where they stay in their file, else its tensors."""
    return head if are_weights_mapped() else whole_state(head)


def check_weights(modules: Iterable[nn.Module], folder: Path) -> None:
    """FormatError for weights that are NaN or infinite, and for what a head's `check_state` refuses."""
    for module in modules:
        name = largest_of(module)[1]
        if name:
            raise FormatError(
                f"the tensor {name!r} holds NaN or infinite numbers",
                wanted="finite weights",
                next_step="train the model again with lower learning rates, or copy the folder again",
                where=folder,
            )
        if isinstance(module, Head):
            module.check_state()


def with_n_labels(head: Head, n_labels: int) -> Head:
    """A copy of a head on the CPU for another number of labels, with those of its tensors whose shapes match."""
    new = type(head).from_config({**head.config(), "n_labels": n_labels})
    with torch.no_grad():
        state = head.state_dict()
        for name, tensor in new.state_dict().items():
            if name in state and state[name].shape == tensor.shape:
                tensor.copy_(state[name])
    return new


def no_dual_encoder(head: Head) -> SettingError:
    """The error for a head that cannot take another set of labels."""
    return SettingError(
        f"a {type(head).__name__}, which has learned weights for each label",
        wanted="a head that makes its label vectors from label texts",
        next_step="add labels with with_labels, or train a dual encoder",
    )


def check_one_encoder(side: LabelTexts | None) -> None:
    """SettingError where label texts have another encoder than texts."""
    if side is not None and not side.shared:
        raise SettingError(
            "with_labels of a model whose label texts have an encoder of their own",
            wanted="one encoder for texts and label texts",
            next_step="give all labels to with_label_set",
            where="labels",
        )
