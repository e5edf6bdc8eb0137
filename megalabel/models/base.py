"""`Classifier`, the base class of trained classifiers: texts to the top k labels, saved as a folder."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts
from megalabel.device import pick
from megalabel.errors import RESTORE_FOLDER
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.models.answering import Answering
from megalabel.models.capabilities import Capabilities, module
from megalabel.models.classes import class_name as class_name
from megalabel.models.classes import named_class as named_class
from megalabel.models.depth import at_least_one, check_padding, reach
from megalabel.models.folder import FORMAT as FORMAT
from megalabel.models.folder import NARROW_FORMAT as NARROW_FORMAT
from megalabel.models.folder import check_room as check_room
from megalabel.models.folder import read_model_manifest as read_model_manifest
from megalabel.models.predictions import Predictions
from megalabel.models.reading import read_model
from megalabel.models.scores import score_kind
from megalabel.models.shown import Shown
from megalabel.models.text_list import as_texts
from megalabel.progress import Progress
from megalabel.storage import migrate
from megalabel.storage.files import read_json
from megalabel.storage.manifest import NAME
from megalabel.storage.mapped_weights import weights_mapped
from megalabel.types import TopK

if TYPE_CHECKING:
    import scipy.sparse as sp
    import torch


BLOCK = 8192  # default number of texts that are ranked together
DEFAULT = "megalabel.models.neural:NeuralClassifier"  # the class if the manifest of a folder does not name one

Advance = Callable[[int], None]  # called with a number of texts that are done
# Ranks a block, given its texts, their slice of all texts, pairs (row, label) to leave out, and Advance.
Rank = Callable[[Any, slice, "np.ndarray | None", Advance], TopK]


class Classifier(Shown, Capabilities, Answering):
    """A trained classifier, such as an encoder with a head (`NeuralClassifier`) or linear trees.

    Attributes:
        label_texts: the names of the L labels.
        n_features: V of a classifier that reads bags of words, scipy sparse rows (N, V), not texts; else None.
        score_type: whether scores are probabilities or logits.
        loss_name: what logits belong to: the loss of a head, or "mixture"; see `megalabel.models.scores`.
        block_size: number of texts that are ranked together.
        few_pages: whether a part of the model lets go of the pages of its files after each use, where parts are
            used one after the other: less memory, and a little more time.
        trained_on: the counts of the labels in the training set; None if they are not known.
        metadata: URIs, further names and broader labels of the labels; None where nothing is known of them.
        calibration: what held-out texts say about scores; None for a model that is not calibrated.
    """

    label_texts: Texts
    block_size: int = BLOCK
    few_pages: bool = False

    def topk(
        self,
        texts: Iterable[str] | sp.csr_matrix,
        k: int = 10,
        *,
        exclude: np.ndarray | None = None,
        given: Sequence[Sequence[str | int]] | sp.csr_matrix | None = None,
        batch_size: int = 256,
        progress: str = "",
    ) -> Predictions:
        """The k best labels of each text, best first, as numpy arrays (N, k); ties go to the lower label id.

        Args:
            texts: N texts, as `as_texts` reads them: a list even for a single text, a column of a table, a
                generator; rows (N, V) if `n_features` is not None.
            k: labels per text. If it exceeds L, the rest is -1 with score -inf; only L are computed.
            exclude: (F, 2) pairs (row, label) that are left out of the rankings.
            given: labels that each text is known to have, names or ids, [] for none; or CSR (N, L). They are never
                returned, and labels that occur beside them rank higher; see `megalabel.models.completion`.
            batch_size: number of texts that are scored together.
            progress: the title of a progress bar; "" for none.

        Raises:
            SettingError: k or batch_size is below 1, the padding of k alone would fill the memory, pairs have
                rows outside 0 to N - 1, or labels are given and `learn_pairs` was not called.
            DataError: a table or a set instead of a list of texts, texts instead of rows or the reverse, rows of
                another width, NaN or inf, or a given label that the model does not have.
        """

        def rank(texts: Any, rows: slice, exclude: np.ndarray | None, advance: Advance) -> TopK:
            return self.rank(texts, self.reach(k), exclude=exclude, batch_size=batch_size, advance=advance)

        at_least_one("batch_size", batch_size)
        if given is not None:
            complete, options = module("completion").completed, {"batch_size": batch_size, "progress": progress}
            found: Predictions = complete(self, texts, k, given, exclude=exclude, **options)
            return found
        return self.in_blocks(texts, k, rank, exclude=exclude, progress=progress)

    def in_blocks(
        self, texts: Any, k: int, rank: Rank, *, exclude: np.ndarray | None = None, progress: str = ""
    ) -> Predictions:
        """Checks the arguments of `topk` and calls `rank` for each block of texts; it may return fewer labels."""
        at_least_one("k", k)
        texts = self.check_texts(texts)
        n = len(texts) if self.n_features is None else texts.shape[0]
        check_padding(k, len(self.label_texts), n)
        forbidden = FilterPairs(exclude, n)
        ids, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
        with Progress(progress, n) as shown:
            for start in range(0, n, self.block_size):
                rows = slice(start, min(start + self.block_size, n))
                excluded = forbidden.block(rows.start, rows.stop)
                found = rank(texts[rows], rows, excluded, shown.advance).numpy()
                width = found[0].shape[1]
                ids[rows, :width], scores[rows, :width] = found
        return Predictions(ids, scores, self.label_texts, score_kind(self), metadata=self.metadata)

    def reach(self, k: int) -> int:
        """The number of labels that are computed where k are asked for: no more than there are."""
        return reach(k, len(self.label_texts))

    @abstractmethod
    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The result of `topk` for a block of checked texts; calls `advance` with the number of texts done."""

    def check_texts(self, texts: Any) -> Any:
        """Returns the texts, or rows, in the form that `rank` takes; DataError if they have another type."""
        if self.n_features is not None:
            return BagOfWords(self.n_features).check(texts)
        return as_texts(texts)

    def with_labels(
        self,
        labels: Sequence[str] | Mapping[str, Sequence[str]],
        *,
        texts: Iterable[str] | None = None,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Classifier:
        """A classifier with further labels, whose ids follow those of this one; its scores stay exactly.

        A linear model gets a linear classifier for each new label. In other models a new label is compared with a
        text by the label's own text and its example texts: by the encoder, the words, or both, whatever the model
        reads, rescaled to the range of the scores of its labels. See `megalabel.models.extended`.

        Args:
            labels: the texts (names) of the new labels; or example texts by name, where a list may be empty.
            texts: some texts of the kind that will be classified, without labels, by which the classifiers or the
                scale are found; by default the example texts and label texts.
            metadata: what is known of new labels, by name; see `data.metadata_records`. Parents may be labels of
                this model.

        Raises:
            SettingError: no labels, names that are blank, there already or given twice, or a model over bags of
            words.
            DataError: metadata with other keys or values, or of labels that are not added.
        """
        found: Classifier = module("added").with_added_labels(self, labels, texts, metadata)
        return found

    def without_labels(self, labels: Sequence[str | int]) -> Classifier:
        """This model without some labels (names, URIs or ids); the other ones keep their scores and their order.

        Raises:
            SettingError: no labels, or all; no label has a name or id, or several have the name.
        """
        found: Classifier = module("relabeled").without(self, labels)
        return found

    def rename_labels(self, labels: Mapping[str | int, str]) -> Classifier:
        """This model with other names for some labels: new names by old names or ids; ids and scores stay.

        Raises:
            SettingError: as `without_labels`; a new name is blank, or another label has it.
        """
        found: Classifier = module("relabeled").renamed(self, labels)
        return found

    def merge_labels(self, labels: Mapping[str, Sequence[str | int]]) -> Classifier:
        """This model with one label, named by the key, in place of each group; it has their best score.

        Raises:
            SettingError: as `rename_labels`; a label is in two groups.
        """
        found: Classifier = module("relabeled").merged(self, labels)
        return found

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Writes the model as a folder; an older model there is replaced.

        Raises:
            SettingError: the folder contains something that is not a model.
        """

    @classmethod
    @abstractmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Reads a model that `save` wrote, after checking it."""


def load(
    folder: str | Path,
    *,
    device: str | torch.device | None = "cpu",
    trust: Sequence[str] = (),
    mapped: bool = False,
) -> Classifier:
    """Loads a model of any kind from its folder, or from `model/` in a run folder; hashes are checked first.

    Args:
        folder: the folder.
        device: None for the first GPU, or the CPU if there is none.
        trust: modules outside megalabel from which parts of the model may come.
        mapped: on the CPU, whether weights stay in their files, so that the processes of a machine share their
            memory; see `storage.mapped_weights`. Linear models always do.

    Raises:
        FormatError: there is no model, it is damaged, or the run is not finished.
        SettingError: the argument is no path.
        ResourceError: there is too little memory, or this process may open no more files.
    """
    device = pick(device)
    with weights_mapped() if mapped else contextlib.nullcontext():
        return read_model(folder, lambda place: _load(place, device, trust))


def _load(folder: Path, device: torch.device, trust: Sequence[str]) -> Classifier:
    manifest = read_json(folder / NAME, next_step=RESTORE_FOLDER) if (folder / NAME).is_file() else {}
    kind = migrate.model_manifest(manifest).get("model", DEFAULT)
    found: type[Classifier] = named_class(kind, Classifier, trust, folder)
    return found.load(folder, device=device, trust=trust)
