"""A reverse dictionary: describe a thing, get the words for it.

    python examples/reverse_dictionary.py [RUN_FOLDER]

Trains linear label trees on the bundled WordNet data set, evaluates them, prints a prediction that is wrong, and
answers a few descriptions.
"""

from __future__ import annotations

import sys

import megalabel
from megalabel.recipes import from_preset

DESCRIPTIONS = [
    "a person who repairs water pipes",
    "a large boat that carries people for hire",
    "the scientific study of birds",
]


def main(out: str) -> None:
    corpus = megalabel.Corpus.bundled("wordnet-4k")
    print(f"{len(corpus.train):,} training texts, {len(corpus.test):,} test texts, {corpus.n_labels:,} labels")

    model = megalabel.train(from_preset("linear", corpus), out=out)
    metrics = megalabel.evaluate(model, corpus)
    print("  ".join(f"{name} {metrics[name]:.1f}%" for name in ("P@1", "P@5", "PSP@5")))

    texts, truth = corpus.test.texts[:200], corpus.test.labels[:200]
    predicted = model.predict(texts, k=1)
    for row, ((label, score),) in enumerate(predicted):
        correct = {corpus.label_texts[i] for i in truth[row].indices}
        if label not in correct:
            print(f"\nA wrong prediction: {texts[row]!r}")
            print(f"  predicted {label!r} with score {score:.2f}; correct: {', '.join(sorted(correct))}")
            break

    for text, labels in zip(DESCRIPTIONS, model.predict(DESCRIPTIONS, k=3), strict=True):
        print(f"\n{text}")
        for label, score in labels:
            print(f"  {score:.2f}  {label}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/reverse-dictionary")
