"""`megalabel update`: a trained model learns further labeled texts, and labels that it does not have are added."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from megalabel.cli.arguments import DataSet, Device, Run, Trust, data_path, open_data, parts_of, trusting
from megalabel.cli.learn_feedback import learn_feedback
from megalabel.cli.reading import reads
from megalabel.errors import DataError

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.models.base import Classifier

MOST_TEXTS = 4096  # texts beside the examples by which the scores of added labels are found


class NewLabels(StrEnum):
    """What becomes of labels that the model does not have."""

    add = "add"
    ignore = "ignore"


Out = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder of the updated model.")]
New = Annotated[
    NewLabels, typer.Option(help="Labels that the model lacks: add them by their texts, or ignore them.")
]


@reads
def update(
    run: Run,
    data: DataSet,
    out: Out,
    new_labels: New = NewLabels.add,
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Let a trained model learn further texts: the training side of DATA, with labels matched by name.

    The texts that it was trained on are not needed. RUN stays as it is. DATA may be a file of
    `megalabel serve --feedback`, whose rejected labels are learned too.
    """
    from megalabel.data.feedback import is_feedback
    from megalabel.models.base import check_room, load
    from megalabel.reporting.words import counted

    check_room(out)
    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        before, adds = len(model.label_texts), new_labels is NewLabels.add
        if is_feedback(path := data_path(data)):
            model, told = learn_feedback(model, path, adds)
        else:
            model, told = _learn_data(model, open_data(data, {**parts_of(run), **opened}), adds)
        model.save(out)
    added = len(model.label_texts) - before
    typer.echo(f"{out}: {told}" + (f"; added {counted(added, 'label')}, now {before + added:,}" if added else ""))
    if model.calibration is not None:
        typer.echo(f"probabilities are calibrated as before; next: megalabel calibrate {out} DATA, on other texts")


def _learn_data(model: Classifier, corpus: Corpus, adds: bool) -> tuple[Classifier, str]:
    """The model that has learned a data set, and what it has learned."""
    from megalabel.inputs.bag_of_words import model_inputs
    from megalabel.models.further_texts import columns_of, in_columns
    from megalabel.reporting.words import counted

    inputs = model_inputs(corpus.train, corpus, model.n_features)
    _check_common(model, corpus)
    if adds:
        model = _with_new_labels(model, corpus)
    labels = in_columns(corpus.train.labels, columns_of(model.label_texts, corpus), len(model.label_texts))
    model.partial_fit(inputs, labels, weights=corpus.train.weights)
    learned = int((np.diff(labels.indptr) > 0).sum())
    left = len(corpus.train) - learned
    told = f"learned {counted(learned, 'text')} of {corpus.name}"
    return model, told + (f", left out {counted(left, 'text')} without a label of the model" if left else "")


def _check_common(model: Classifier, corpus: Corpus) -> None:
    """DataError where no text has a label of the model, which would be another task."""
    from megalabel.models.further_texts import columns_of

    used = np.unique(corpus.train.labels.indices)
    if not (columns_of(model.label_texts, corpus)[used] >= 0).any():
        raise DataError(
            f"no text of {corpus.name} has a label of the model, whose first is {model.label_texts[0]!r:.80}",
            wanted="texts with labels that the model knows, and perhaps further ones",
            next_step="compare the names with `megalabel labels RUN`",
            where=corpus.path,
        )


def _with_new_labels(model: Classifier, corpus: Corpus) -> Classifier:
    """The model with the labels of the texts that it lacks, added by these texts."""
    from megalabel.models.further_texts import columns_of

    by_label, texts = corpus.train.labels.tocsc(), corpus.train.texts
    some = np.flatnonzero((columns_of(model.label_texts, corpus) < 0) & (np.diff(by_label.indptr) > 0))
    examples: dict[str, list[str]] = {}
    for label in some.tolist():
        rows = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]].tolist()
        examples.setdefault(corpus.label_texts[label], []).extend(texts[row] for row in rows)
    if not examples:
        return model
    others = np.random.default_rng(0).permutation(len(texts))[:MOST_TEXTS]
    return model.with_labels(examples, texts=[texts[int(row)] for row in others])
