"""What a notebook shows of a data set: the sizes of its splits, and the first training texts with their labels."""

from __future__ import annotations

from megalabel.data.types import CorpusData, Split
from megalabel.display import NAME, ROWS, cut, html_table

LABELS = 5  # of a text


def corpus_html(data: CorpusData) -> str:
    """Two tables: the splits, and the first training texts, if the data set has texts."""
    splits = [("training", data.train), ("test", data.test)]
    sizes = [
        (name, len(split), int(split.labels.nnz), f"{split.labels.nnz / max(len(split), 1):.2f}")
        for name, split in splits
        if split is not None
    ]
    header = ("split", "texts", "pairs of a text and a label", "labels per text")
    shown = html_table(f"{data.name}: {data.n_labels:,} labels", header, sizes)
    if not len(data.train.texts):
        return shown
    rows = [(data.train.texts[row], _labels(data, data.train, row)) for row in range(min(ROWS, len(data.train)))]
    return shown + html_table("First training texts", ("text", "labels"), rows)


def _labels(data: CorpusData, split: Split, row: int) -> str:
    """The first labels of a text, by name."""
    labels = split.labels
    ids = labels.indices[labels.indptr[row] : labels.indptr[row + 1]].tolist()
    names = [cut(data.label_texts[i], NAME) for i in ids[:LABELS]]
    return ", ".join(names) + (", …" if len(ids) > LABELS else "")
