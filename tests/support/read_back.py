"""Writes small data files, and returns what megalabel reads from them."""

from megalabel.data.corpus import Corpus


def put(folder, **files):
    """Writes files by name, `__` for the dot; returns the folder."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def labels_of(corpus, side="train"):
    """The label names of each text, in the order of columns."""
    labels = getattr(corpus, side).labels
    return [[corpus.label_texts[i] for i in labels[row].indices.tolist()] for row in range(labels.shape[0])]


def read(folder, **options):
    """The texts and the labels of a data set, and its notable findings."""
    corpus = Corpus.open(folder, **options)
    return list(corpus.train.texts), labels_of(corpus), [f.message for f in corpus.findings if f.notable]
