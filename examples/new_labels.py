"""Labels that are added after training by their texts, without training again.

    python examples/new_labels.py [RUN_FOLDER]

Trains `dexml` for one epoch on the bundled WordNet data set without 200 of its labels, adds these by their names
alone, and counts the test texts that find them.
"""

from __future__ import annotations

import sys

import numpy as np

import megalabel
from megalabel.recipes import from_preset

N_NEW = 200


def without(corpus: megalabel.Corpus, new: np.ndarray) -> megalabel.Corpus:
    """The training side of a corpus without some labels, and without the texts that have no other label."""
    known = np.setdiff1d(np.arange(corpus.n_labels), new)
    labels = corpus.train.labels.tocsr()[:, known]
    rows = np.flatnonzero(np.diff(labels.indptr))
    return megalabel.Corpus.of(
        [corpus.train.texts[row] for row in rows],
        labels[rows],
        [corpus.label_texts[label] for label in known],
        name=corpus.name,
    )


def main(out: str) -> None:
    corpus = megalabel.Corpus.bundled("wordnet-4k")
    new = np.sort(np.random.default_rng(0).choice(corpus.n_labels, N_NEW, replace=False))
    part = without(corpus, new)
    print(f"{len(part.train):,} training texts, {part.n_labels:,} labels")

    # Drawn negatives in place of all labels: less exact, but enough for an example, and quick.
    recipe = from_preset("dexml", part, encoder="bag", epochs=1, negatives=256)
    model = megalabel.train(recipe, out=out)
    names = [corpus.label_texts[label] for label in new]
    larger = model.with_labels(names)
    print(f"{len(larger.label_texts):,} labels with those that were added")

    added = set(names)
    truth = [added & {corpus.label_texts[label] for label in row.indices} for row in corpus.test.labels.tocsr()]
    asked = [row for row, labels in enumerate(truth) if labels]
    found = 0
    for row, best in zip(asked, larger.predict([corpus.test.texts[row] for row in asked], k=10), strict=True):
        labels = [label for label, _ in best]
        if truth[row] & set(labels):
            found += 1
            if found <= 3:
                print(
                    f"\n{corpus.test.texts[row]}\n  added: {', '.join(truth[row])}; best: {', '.join(labels[:5])}"
                )
    print(f"\n{found} of {len(asked)} test texts with an added label have it among their best ten")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/new-labels")
