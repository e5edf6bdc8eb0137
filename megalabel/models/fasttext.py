"""Supervised models of fastText: the mean of the vectors of words and n-grams, and a linear layer over labels.

Joulin, Grave, Bojanowski and Mikolov, "Bag of tricks for efficient text classification", EACL 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts
from megalabel.errors import RESTORE_FOLDER, SettingError
from megalabel.inputs.fasttext_words import FastTextWords, NgramOptions
from megalabel.models.base import FORMAT, Advance, Classifier, check_room, class_name, read_model_manifest
from megalabel.models.facts import load_facts, save_facts
from megalabel.models.fasttext_scores import LOSSES, best_labels
from megalabel.models.label_names import NAMES, load_names, save_names
from megalabel.models.reading import read_model
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import check_listed, write_manifest
from megalabel.types import TopK

if TYPE_CHECKING:
    import torch

WORDS, INPUT, OUTPUT, COUNTS = "words.bin", "input.npy", "output.npy", "counts.npy"


class FastTextClassifier(Classifier):
    """Predicts the probabilities that fastText's loss gives to labels.

    Args:
        words: maps texts to V features.
        inputs: (V, D) float32, the vectors of features.
        outputs: (L, D) float32; for the loss "hs" the vectors of the L − 1 inner nodes, and one that is unused.
        loss: "softmax", "hs" (hierarchical softmax), "ova" or "ns", whose scores are independent of each other.
        counts: (L,) int64, how many training texts had each label, which defines the tree of "hs"; falling.
        label_texts: the L label names.

    Raises:
        SettingError: an unknown loss, or arrays that do not fit each other.
    """

    score_type = "probability"

    def __init__(
        self,
        words: FastTextWords,
        inputs: np.ndarray,
        outputs: np.ndarray,
        loss: str,
        counts: np.ndarray,
        label_texts: Texts,
    ) -> None:
        sizes = words.size, len(label_texts), inputs.shape[1] if inputs.ndim == 2 else 0
        fits = inputs.shape == (sizes[0], sizes[2]) and outputs.shape == sizes[1:] and counts.shape == sizes[1:2]
        if not fits or loss not in LOSSES or not min(sizes):
            raise SettingError(
                f"vectors {inputs.shape} and {outputs.shape}, the loss {loss!r} and {len(counts)} counts",
                wanted=f"vectors of {sizes[0]:,} features and {sizes[1]:,} labels, and one of {', '.join(LOSSES)}",
                where="model",
            )
        self.words, self.inputs, self.outputs = words, inputs, outputs
        self.loss, self.counts, self.label_texts = loss, counts, label_texts

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, and their probabilities; none for a text without features."""
        pairs, found = FilterPairs(exclude, len(texts)), []
        for start in range(0, len(texts), batch_size):
            stop = min(start + batch_size, len(texts))
            x = self.words.transform(texts[start:stop])
            used, at = np.unique(x.indices, return_inverse=True)
            x.indices, n_features = at.astype(x.indices.dtype), np.asarray(x.sum(axis=1)).ravel()
            x.resize(x.shape[0], len(used))
            hidden = (x @ np.asarray(self.inputs[used])) / np.maximum(n_features, 1)[:, None]
            excluded = pairs.for_rows(np.arange(start, stop), "cpu")
            ids, scores = best_labels(hidden, self.outputs, self.loss, self.counts, k, excluded).numpy()
            ids[n_features == 0], scores[n_features == 0] = -1, -np.inf
            found.append((ids, scores))
            advance(stop - start)
        return TopK(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def save(self, folder: str | Path) -> None:
        """Writes words, vectors and names; an older model there is replaced. SettingError otherwise."""
        folder = check_room(folder)
        with atomic_folder(folder) as new:
            (new / WORDS).write_bytes(b"\n".join(self.words.words))  # a word has no blanks
            for name, array in ((INPUT, self.inputs), (OUTPUT, self.outputs), (COUNTS, self.counts)):
                np.save(new / name, array)
            save_names(new, self.label_texts)
            save_facts(new, self)
            facts = {"n_labels": len(self.label_texts), "loss": self.loss, "ngrams": asdict(self.words.options)}
            write_manifest(new, FORMAT, {"model": class_name(self), **facts})

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Reads what `save` wrote, with memory-mapped vectors; it runs on the CPU, whatever `device` is."""
        return read_model(folder, cls._read)

    @classmethod
    def _read(cls, folder: Path) -> Self:
        manifest: Any = read_model_manifest(folder, "fastText model", facts=("loss", "ngrams"), files=(NAMES,))
        files = (WORDS, INPUT, OUTPUT, COUNTS)
        check_listed(manifest, "fastText model", folder, files=files, next_step=RESTORE_FOLDER)
        content = (folder / WORDS).read_bytes()
        words = FastTextWords(content.split(b"\n") if content else [], NgramOptions(**manifest["ngrams"]))
        inputs, outputs = (np.load(folder / name, mmap_mode="c", allow_pickle=False) for name in (INPUT, OUTPUT))
        counts = np.load(folder / COUNTS, allow_pickle=False)
        model = cls(words, inputs, outputs, manifest["loss"], counts, load_names(folder))
        load_facts(folder, model)
        return model
