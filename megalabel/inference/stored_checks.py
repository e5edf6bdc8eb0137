"""Whether stored predictions are those of the texts and labels that they are to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from megalabel.data.corpus import Corpus
from megalabel.data.types import Split
from megalabel.errors import DataError
from megalabel.types import TopK

SHOWN = 3  # labels in a message


def check_fits(top: TopK, names: Sequence[str] | None, data: Corpus, split: Split, path: Path) -> None:
    """DataError for predictions for other texts, or of labels of which the data set has none.

    Args:
        top: the predictions, (N, k).
        names: the names and the URIs of the labels that are predicted; None where `top` has ids of the data set's
            labels.
        data: the data set.
        split: the split that is measured.
        path: the file of the predictions, for messages.
    """
    if len(top) != len(split):
        raise DataError(
            f"predictions for {len(top):,} texts",
            wanted=f"{len(split):,}, one for each text of {data.name} that is measured",
            next_step="name the data set that was predicted for, or predict for this one",
            where=path,
        )
    if names is None:
        largest = int(top.ids.max(initial=-1))
        if largest >= data.n_labels:
            raise DataError(
                f"the label id {largest:,}, where {data.name} has {data.n_labels:,} labels",
                wanted="ids of the labels of the data set, counted from 0",
                next_step="name the data set that was predicted for",
                where=path,
            )
        return
    known = {*data.label_texts, *(data.label_uris or ())} | set(() if split.unseen is None else split.unseen.names)
    if names and known.isdisjoint(names):
        raise DataError(
            f"no predicted label ({', '.join(map(repr, names[:SHOWN]))}, …) is a label of {data.name}",
            wanted=f"labels such as {', '.join(map(repr, list(data.label_texts[:SHOWN])))}",
            next_step="name the data set that was predicted for",
            where=path,
        )
