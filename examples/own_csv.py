"""From a CSV file with texts and labels to predictions.

    python examples/own_csv.py [FOLDER]

Writes a small CSV file of support requests, checks it, trains, and writes predictions as JSON lines. Replace
`write_example` to use your own file.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from pathlib import Path

import megalabel
from megalabel.data.check import check
from megalabel.recipes import from_preset

TOPICS = {
    "billing": ["invoice", "refund", "charged twice", "payment failed"],
    "delivery": ["parcel", "courier", "late delivery", "wrong address"],
    "account": ["password", "login", "locked out", "email change"],
    "returns": ["return label", "exchange", "damaged item", "wrong size"],
}


def write_example(path: Path) -> None:
    """Writes 400 requests with one or two topics each, labels separated by `|`."""
    draw = random.Random(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "labels"])
        for _ in range(400):
            topics = draw.sample(sorted(TOPICS), draw.choice([1, 1, 2]))
            words = " and ".join(draw.choice(TOPICS[topic]) for topic in topics)
            rows.writerow([f"I have a question about {words}", "|".join(topics)])


def main(folder: Path) -> None:
    data = folder / "data"
    write_example(data / "train.csv")
    report = check(data)
    print("\n".join(report.lines()))

    corpus = megalabel.Corpus.open(data)
    model = megalabel.train(from_preset("linear", corpus), out=folder / "run", quiet=True)

    questions = ["my parcel was left at the wrong address", "I was charged twice, can I get a refund?"]
    with open(folder / "predictions.jsonl", "w", encoding="utf-8") as file:
        for text, labels in zip(questions, model.predict(questions, k=2), strict=True):
            line = {"text": text, "labels": [{"label": label, "score": score} for label, score in labels]}
            file.write(json.dumps(line) + "\n")
    print((folder / "predictions.jsonl").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own-csv"))
