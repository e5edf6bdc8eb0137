"""An encoder and a head: texts to labels, saved and loaded as one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts, check_list
from megalabel.device import pick
from megalabel.encoders.base import Encoder
from megalabel.errors import RESTORE_FOLDER
from megalabel.heads.base import Head
from megalabel.inputs.batches import pad
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.models.base import (
    NAMES,
    Ranker,
    at_least_one,
    check_room,
    class_name,
    load_names,
    model_folder,
    named_class,
    save_names,
)
from megalabel.progress import Progress
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.storage.tensors import fill, save_tensors
from megalabel.types import TopK

if TYPE_CHECKING:
    import scipy.sparse as sp

FORMAT = 1
BLOCK = 8192  # texts that are tokenised and sorted by length together
FILES = ("encoder.safetensors", "head.safetensors", "tokenizer.json", NAMES)


class Model(Ranker):
    """A trained classifier.

    Args:
        encoder: texts to views.
        head: views to labels.
        label_texts: L names.
        max_length: tokens of a text that are read.
    """

    def __init__(self, encoder: Encoder, head: Head, label_texts: Texts, max_length: int) -> None:
        self.encoder, self.head, self.label_texts, self.max_length = encoder, head, label_texts, max_length
        self.gives = head.gives

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.head.parameters()).device

    def to(self, device: str | torch.device) -> Model:
        """Moves the weights; returns itself."""
        self.encoder.to(device)
        self.head.to(device)
        return self

    @torch.no_grad()
    def encode(self, texts: Sequence[str], *, batch_size: int = 256) -> np.ndarray:
        """The views of each text: (N, V, D) float32."""
        check_list(texts)
        out = np.zeros((len(texts), self.encoder.n_views, self.encoder.dim), np.float32)
        for rows, views in self._views(texts, batch_size):
            out[rows] = views.float().cpu().numpy()
        return out

    @torch.no_grad()
    def topk(
        self,
        texts: Sequence[str] | sp.csr_matrix,
        k: int = 10,
        *,
        exclude: np.ndarray | None = None,
        batch_size: int = 256,
        progress: str = "",
        embedding: np.ndarray | None = None,
    ) -> TopK:
        """The best k labels of each text by score, as numpy arrays (N, k); arguments as `Ranker` has them.

        embedding: (N, D) float32 that is filled with the last view of each text, for who needs both.
        """
        check_list(texts)
        at_least_one("k", k)
        labels = np.full((len(texts), k), -1, np.int64)
        scores = np.full((len(texts), k), -np.inf, np.float32)
        forbidden = FilterPairs(exclude, len(texts))
        with Progress(progress, len(texts)) as shown:
            for rows, views in self._views(texts, batch_size):
                top = self.head.topk(views.float(), k, forbidden.for_rows(rows, self.device))
                labels[rows], scores[rows] = top.numpy()
                if embedding is not None:
                    embedding[rows] = views[:, -1].float().cpu().numpy()
                shown.advance(len(rows))
        return TopK(labels, scores)

    def _views(self, texts: Sequence[str], batch_size: int) -> Iterable[tuple[np.ndarray, torch.Tensor]]:
        """Row numbers (B,) and views (B, V, D), in batches of texts of like length; the modules' modes kept."""
        at_least_one("batch_size", batch_size)
        modes = self.encoder.training, self.head.training
        self.encoder.eval()
        self.head.eval()
        try:
            for start in range(0, len(texts), BLOCK):
                tokens = self.encoder.tokenizer.encode(texts[start : start + BLOCK], self.max_length)
                order = np.argsort([len(ids) for ids in tokens], kind="stable")
                for i in range(0, len(order), batch_size):
                    rows = order[i : i + batch_size]
                    ids, mask = pad([np.asarray(tokens[r]) for r in rows], self.encoder.tokenizer.pad_id)
                    yield start + rows, self.encoder(ids.to(self.device), mask.to(self.device))
        finally:
            self.encoder.train(modes[0])
            self.head.train(modes[1])

    def save(self, folder: str | Path) -> None:
        """Writes the model as a folder that explains itself; an older model there is replaced whole.

        Of the head it keeps what serves: a loaded model has no parts for training alone. SettingError if anything
        else is there.
        """
        folder = Path(folder)
        check_room(folder)
        with atomic_folder(folder) as new:
            save_tensors(new / "encoder.safetensors", self.encoder.state_dict())
            head = self.head.served()
            save_tensors(new / "head.safetensors", head.state_dict())
            self.encoder.tokenizer.save(new)
            save_names(new, self.label_texts)
            facts = {
                "n_labels": len(self.label_texts),
                "max_length": self.max_length,
                "encoder": {"class": class_name(self.encoder), "settings": self.encoder.settings()},
                "head": {"class": class_name(head), "settings": head.settings()},
            }
            write_manifest(new, FORMAT, facts)

    def restore(self, folder: str | Path) -> Model:
        """Takes back the weights that `save` wrote of this very model, in place; returns itself."""
        with torch.no_grad():
            fill(self.encoder, Path(folder) / "encoder.safetensors", next_step=RESTORE_FOLDER)
            fill(self.head.served(), Path(folder) / "head.safetensors", next_step=RESTORE_FOLDER)
        self.encoder.eval()
        self.head.eval()
        return self

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Model:
        """The model in `folder`, or in a run folder's `model/`; its hashes are checked first.

        `device` None is the first GPU, or the CPU where there is none. `trust` names modules outside megalabel
        that the folder's encoder or head may come from.
        """
        folder, device = model_folder(folder), pick(device)
        manifest = read_manifest(
            folder,
            "model",
            FORMAT,
            facts=("encoder", "head", "max_length"),
            files=FILES,
            next_step="give a run folder or its model folder, copied whole from where it was made",
        )
        names = load_names(folder)
        encoder_class = named_class(manifest["encoder"]["class"], Encoder, trust, folder)
        head_class = named_class(manifest["head"]["class"], Head, trust, folder)
        tokenizer = TextTokenizer.load(folder)
        encoder = encoder_class.from_settings(manifest["encoder"]["settings"], tokenizer, folder)
        head = head_class.from_settings(manifest["head"]["settings"])
        model = cls(encoder, head, names, int(manifest["max_length"]))
        return model.restore(folder).to(device)
