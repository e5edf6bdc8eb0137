"""Makes the parts of a saved neural model: its encoder, its head and the encoder of its label texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from megalabel.encoders.base import Encoder
from megalabel.encoders.labels import LabelTexts
from megalabel.errors import RESTORE_FOLDER
from megalabel.heads.base import Head
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.models.base import named_class


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
    tokenizer = TextTokenizer.load(folder)

    def encoder_of(described: dict[str, Any]) -> Encoder:
        kind = named_class(described["class"], Encoder, trust, folder)
        made: Encoder = kind.from_config(described["config"], tokenizer, folder)
        return made

    encoder = encoder_of(manifest["encoder"])
    head_class = named_class(manifest["head"]["class"], Head, trust, folder)
    head = head_class.from_config(manifest["head"]["config"], folder)
    if manifest.get("labels") is None:
        return encoder, head, None
    store, own = LabelTexts.load_store(folder, next_step=RESTORE_FOLDER), manifest["labels"]["encoder"]
    return encoder, head, LabelTexts(store, encoder_of(own) if own else encoder, shared=not own)


def with_n_labels(head: Head, n_labels: int) -> Head:
    """A copy of a head on the CPU for another number of labels, with those of its tensors whose shapes match."""
    new = type(head).from_config({**head.config(), "n_labels": n_labels})
    with torch.no_grad():
        state = head.state_dict()
        for name, tensor in new.state_dict().items():
            if name in state and state[name].shape == tensor.shape:
                tensor.copy_(state[name])
    return new
