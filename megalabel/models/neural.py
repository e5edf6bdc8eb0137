"""`NeuralClassifier`: an encoder and a head, saved and loaded as one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts
from megalabel.device import pick
from megalabel.encoders.base import Encoder
from megalabel.encoders.labels import LabelTexts
from megalabel.errors import RESTORE_FOLDER
from megalabel.heads.abilities import BindsLabels, having
from megalabel.heads.base import Head
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.restricted import restricted_head
from megalabel.heads.wrappers.whole_state import is_main, send
from megalabel.index.base import LabelIndex
from megalabel.inputs.batches import pad
from megalabel.models import indexed, neural_parts
from megalabel.models.base import BLOCK, Advance, Classifier, check_room, class_name, read_model_manifest
from megalabel.models.depth import at_least_one
from megalabel.models.evaluation import Evaluation
from megalabel.models.facts import load_facts, save_facts
from megalabel.models.label_names import NAMES, load_names, save_names
from megalabel.models.reading import read_model
from megalabel.models.text_list import as_texts
from megalabel.progress import Progress
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import write_manifest
from megalabel.storage.tensors import fill
from megalabel.types import TopK

FILES = ("encoder.safetensors", "head.safetensors", "tokenizer.json", NAMES)


class NeuralClassifier(Classifier):
    """An encoder and a head that were trained together.

    Args:
        encoder: maps texts to views.
        head: maps views to labels.
        label_names: the names of the L labels.
        max_length: maximum number of tokens read per text.
        label_side: the encoder of the label texts, for a head with `BindsLabels`, which is bound to it here.

    Raises:
        SettingError: the head needs label texts and there are none, or they are of other labels.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        label_names: Texts,
        max_length: int,
        label_side: LabelTexts | None = None,
    ) -> None:
        self.encoder, self.head, self.label_texts, self.max_length = encoder, head, label_names, max_length
        self.label_side, self.score_type, self.loss_name = label_side, head.score_type, head.loss_name
        self.index: LabelIndex | None = None
        self._evaluation = Evaluation()
        if label_side is not None:
            for part in having(head, BindsLabels):
                part.bind(label_side)

    @property
    def device(self) -> torch.device:
        """The device of the weights; the CPU if there are none."""
        tensors = (t for part in self.modules() for t in (*part.parameters(), *part.buffers()))
        return next((t.device for t in tensors), torch.device("cpu"))

    def evaluation(self) -> AbstractContextManager[None]:
        """A block in which all parts are in evaluation mode."""
        return self._evaluation.of(self.modules())

    def modules(self) -> list[nn.Module]:
        """Head, encoder, and the label side if there is one."""
        return [self.head, self.encoder, *([] if self.label_side is None else [self.label_side])]

    def to(self, device: str | torch.device) -> NeuralClassifier:
        """Moves the weights; returns the model itself."""
        for part in self.modules():
            part.to(device)
        return self

    def eval(self) -> NeuralClassifier:
        """Switches every part to evaluation mode; returns the model itself."""
        for part in self.modules():
            part.eval()
        return self

    @torch.no_grad()
    def settle(self) -> NeuralClassifier:
        """Lets the head prepare prediction, for example encode its label vectors; returns the model itself."""
        with self.evaluation():
            self.head.settle()
        return self

    @torch.no_grad()
    def encode(self, texts: Iterable[str], *, batch_size: int = 256, progress: str = "") -> np.ndarray:
        """The views of each text: (N, V, D) float32; arguments and errors as those of `topk`."""
        texts = as_texts(texts)
        at_least_one("batch_size", batch_size)
        out = np.zeros((len(texts), self.encoder.n_views, self.encoder.dim), np.float32)
        with Progress(progress, len(texts)) as shown:
            for start in range(0, len(texts), BLOCK):
                for rows, views in self._views(texts[start : start + BLOCK], batch_size):
                    out[start + rows] = views.float().cpu().numpy()
                    shown.advance(len(rows))
        return out

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, by score."""
        return self._rank(texts, k, exclude, batch_size, advance, None)

    def topk_and_embedding(
        self, texts: Iterable[str], k: int, *, exclude: np.ndarray | None = None, batch_size: int = 256
    ) -> tuple[TopK, np.ndarray]:
        """The result of `topk`, and the last view of each text, (N, D) float32."""

        def rank(texts: Any, rows: slice, exclude: np.ndarray | None, advance: Advance) -> TopK:
            return self._rank(texts, self.reach(k), exclude, batch_size, advance, embedding[rows])

        at_least_one("batch_size", batch_size)
        texts = as_texts(texts)
        embedding = np.zeros((len(texts), self.encoder.dim), np.float32)
        return self.in_blocks(texts, k, rank, exclude=exclude), embedding

    @torch.no_grad()
    def _rank(
        self,
        texts: Any,
        k: int,
        exclude: np.ndarray | None,
        batch_size: int,
        advance: Advance,
        embedding: np.ndarray | None,
    ) -> TopK:
        ids, scores = np.full((len(texts), k), -1, np.int64), np.full((len(texts), k), -np.inf, np.float32)
        forbidden = FilterPairs(exclude, len(texts))
        for rows, views in self._views(texts, batch_size):
            excluded = forbidden.for_rows(rows, self.device)
            top = indexed.topk(self.head, self.index, views.float(), k, excluded)
            ids[rows], scores[rows] = top.numpy()
            if embedding is not None:
                embedding[rows] = views[:, -1].float().cpu().numpy()
            advance(len(rows))
        return TopK(ids, scores)

    def _views(self, texts: Sequence[str], batch_size: int) -> Iterable[tuple[np.ndarray, torch.Tensor]]:
        """Yields row numbers (B,) and views (B, V, D) in batches of texts of similar length."""
        with self.evaluation():
            tokens = self.encoder.tokenizer.encode(texts, self.max_length)
            order = np.argsort([len(ids) for ids in tokens], kind="stable")
            for i in range(0, len(order), batch_size):
                rows = order[i : i + batch_size]
                ids, mask = pad([np.asarray(tokens[r]) for r in rows], self.encoder.tokenizer.pad_id)
                yield rows, self.encoder(ids.to(self.device), mask.to(self.device))

    def restricted(self, labels: np.ndarray) -> NeuralClassifier | None:
        """The same encoder and the head over some labels, (n,) int64 ascending; None for heads that cannot."""
        head = restricted_head(self.head, torch.from_numpy(labels).to(self.device))
        names = self.label_texts[labels]
        return None if head is None else NeuralClassifier(self.encoder, head, names, self.max_length).eval()

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """The last view of each text: (N, D) float32; SettingError if labels have an encoder of their own."""
        neural_parts.check_one_encoder(self.label_side)
        return [self.encode(texts)[:, -1]]

    def label_scale(self) -> tuple[float, float] | None:
        """That of a dual encoder, whose scores are cosines divided by its temperature."""
        return (1 / self.head.temperature, 0.0) if isinstance(self.head, DualEncoderHead) else None

    def with_label_set(self, names: Sequence[str]) -> NeuralClassifier:
        """The same model over other labels in place of its own, by their texts: only for dual encoders."""
        if self.label_side is None or not isinstance(self.head, BindsLabels):
            raise neural_parts.no_dual_encoder(self.head)
        texts = Texts.from_strings(names)
        side = self.label_side.of_texts(texts, self.encoder.tokenizer, self.max_length)
        head = neural_parts.with_n_labels(self.head, len(texts)).to(self.device)
        return NeuralClassifier(self.encoder, head, texts, self.max_length, side).eval().settle()

    def with_index(self, kind: str, texts: Iterable[str] = (), **options: Any) -> NeuralClassifier:
        """The same model, which ranks labels by an index: see `megalabel.models.indexed.with_index`."""
        return indexed.with_index(self, kind, texts, **options)

    def save(self, folder: str | Path) -> None:
        """Writes the model as a folder; an older model there is replaced. Of several processes, rank 0 writes it.

        Raises:
            SettingError: the folder contains something that is not a model.
        """
        if not is_main(self.head):
            return send(self.head)
        folder = check_room(folder)
        with atomic_folder(folder) as new:
            facts = neural_parts.save_parts(new, self.encoder, self.head, self.label_side)
            facts |= {"model": class_name(self), "n_labels": len(self.label_texts), "max_length": self.max_length}
            save_names(new, self.label_texts)
            save_facts(new, self)
            indexed.save(new, self.index)
            write_manifest(new, neural_parts.format_of(self.modules()), facts)

    def restore(self, folder: str | Path) -> NeuralClassifier:
        """Reads the weights that `save` wrote of this model, in place; returns the model itself."""
        with torch.no_grad():
            fill(self.encoder, Path(folder) / "encoder.safetensors", next_step=RESTORE_FOLDER)
            fill(neural_parts.to_fill(self.head), Path(folder) / "head.safetensors", next_step=RESTORE_FOLDER)
            if self.label_side is not None:
                fill(self.label_side, Path(folder) / "labels.safetensors", next_step=RESTORE_FOLDER)
        neural_parts.check_weights(self.modules(), Path(folder))
        return self.eval().settle()

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> NeuralClassifier:
        """Loads the model in `folder`, or in `model/` of a run folder; see `megalabel.models.base.load`."""
        device = pick(device)
        return read_model(folder, lambda place: cls._read(place, device, trust))

    @classmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> NeuralClassifier:
        manifest = read_model_manifest(
            folder,
            "model",
            facts=("encoder", "head", "max_length"),
            files=FILES,
            next_step="pass a run folder or its model folder, copied completely",
        )
        names = load_names(folder)
        encoder, head, side = neural_parts.load_parts(folder, manifest, trust)
        neural_parts.check_parts_fit(encoder, head, side, len(names), folder)
        model = cls(encoder, head, names, neural_parts.checked_length(manifest["max_length"], folder), side)
        load_facts(folder, model)
        model.index = indexed.load(folder, manifest, head)
        return model.to(device).restore(folder)
