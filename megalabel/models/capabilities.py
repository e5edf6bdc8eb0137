"""What every classifier can do beside ranking: explain a label, and learn further texts and pairs of labels."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from megalabel.data.types import CorpusData
from megalabel.errors import SettingError
from megalabel.models.trained_on import TrainedOn, learned_pairs

if TYPE_CHECKING:
    import scipy.sparse as sp

    from megalabel.kernels.linear.post_processor import PostProcessor
    from megalabel.models.explanation import Explanation

FURTHER = 8192  # texts that are learned together


class Capabilities:
    """The part of `Classifier` that is implemented in modules which import the kinds of models."""

    label_texts: Sequence[str]
    trained_on: TrainedOn | None

    def explain(self, text: str | sp.csr_matrix, label: str | int | None = None) -> Explanation:
        """Why this model gives a text a label, or does not: what each word adds to the score.

        See `megalabel.models.explanation` for what is returned: words whose contributions sum to the score, the
        nodes of label trees, the shares of the parts of a hybrid, the nearest training texts of models that have
        them, and where the label dropped out.

        Args:
            text: one text; for a model over bags of words one row (1, V).
            label: the name or the id of a label; by default the best label of the text.

        Raises:
            SettingError: no label has this name or id, or several have the name; more or less than one text; a
                head or an encoder from outside megalabel, or a model around another one, such as one with chunks.
            DataError: as `topk`.
        """
        found: Explanation = module("explain_kinds").explain(self, text, label)
        return found

    def learn_pairs(self, data: CorpusData | sp.csr_matrix) -> Self:
        """Counts which labels occur together in the training texts of a corpus, or in labels (N, L), for `given`.

        Models of the recipes `linear`, `retrieval` and `hybrid` know it from training. Labels of a corpus are
        matched by name. Returns the model itself.
        """
        known, labels = learned_pairs(data, self.label_texts)
        self.trained_on = (self.trained_on or known).with_pairs(labels)
        return self

    def prepack(self) -> Self:
        """Copies the weights of linear trees into an arrangement that answers one text or a few in less time.

        Answers keep every bit. The copy takes some seconds and 1.3 times the memory of float32 weights; weights in
        other types stay as they are, and so do models without linear trees. Trees that `partial_fit` changes are
        as before. Returns the model itself.
        """
        module("prepacking").prepack(self)
        return self

    def partial_fit(
        self,
        texts: CorpusData | Iterable[Any] | sp.csr_matrix,
        labels: Sequence[Sequence[str | int]] | sp.csr_matrix | None = None,
        *,
        rejected: Sequence[Sequence[str | int]] | sp.csr_matrix | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
        batch_size: int = FURTHER,
    ) -> Self:
        """Learns further texts of the labels that it has, in place; earlier texts are not needed.

        Linear trees take the step of their solver that these texts ask for, and the label weights of a neural
        model some steps of its loss; vocabulary, label trees, encoder and biases stay. Search indexes of training
        texts get the texts as rows; an index of label vectors (`with_index`) is removed. Label counts follow, the
        calibration stays as it is. Memory does not grow with the number of texts. See docs/choosing.md.

        Args:
            texts: texts as `topk` takes them; or a Corpus, whose training texts are learned, with labels by name;
                or, without `labels`, a stream of records with the keys "text", "labels" and perhaps "rejected" and
                "weight".
            labels: for each text a list of names or ids; or CSR (N, L). Texts without labels are left out.
            rejected: labels that the texts do not have, as `labels`, such as predictions that somebody found
                wrong. Linear trees learn them; see `models/rejecting.py` for other models.
            weights: (N,) numbers of 0 or more, the factor of the loss of each text.
            batch_size: texts that are learned together: the more, the less time all of them take.

        Returns:
            The model itself.

        Raises:
            SettingError: a model that cannot learn further texts, such as a dual encoder.
            DataError: labels that the model does not have, for which there is `with_labels`; values of other
                types; a label that a text has and that is rejected. Texts of earlier batches are learned.
        """
        module("learning").partial_fit(
            self, texts, labels, rejected=rejected, weights=weights, batch_size=batch_size
        )
        return self

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """The vectors by which added labels are compared with N texts: (N, D_i) arrays or CSR, float32.

        Raises:
            SettingError: the model has none, so that it cannot take further labels.
        """
        raise SettingError(
            f"with_labels of a {type(self).__name__}, which offers no vectors of texts",
            wanted="a model over words or with an encoder",
            next_step="train on the new labels as well",
            where="labels",
        )

    def label_solver(self) -> tuple[PostProcessor, float] | None:
        """How the classifiers of a linear model become probabilities, and their C; None for other models.

        Labels that are added to a linear model get linear classifiers, those of other models are compared.
        """
        return None

    def label_scale(self) -> tuple[float, float] | None:
        """Slope and offset from the cosine of added labels to scores; None where they have to be estimated."""
        return None


def module(name: str) -> Any:
    """A module of models by its name, since it imports the classes that inherit from `Classifier`."""
    return importlib.import_module(f"megalabel.models.{name}")
