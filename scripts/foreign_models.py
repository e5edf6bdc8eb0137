"""Writes the small models of other tools that tests import, and what the tools predict with them.

    python scripts/foreign_models.py fasttext|omikuji|pecos tests/data/foreign

Run it in an environment with fasttext-wheel 0.9.2, omikuji 0.5.2, or libpecos 1.2.8 and scikit-learn.
Answers are lists of labels and scores, best first; texts of Omikuji and PECOS are rows of {feature: value}.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

WORDS = {
    "cat": "purr whisker paw mew", "dog": "bark paw leash fetch", "bee": "hive hönig sting buzz",
    "öwl": "hoot night feather wing", "ant": "hill tiny march leaf", "elk": "antler forest herd snow",
}  # fmt: skip
TEXTS = ["purr paw", "hönig hive unknownword", "", "antler snow  mew leash tiny", "ÄÖ hoot", "bark </s> buzz bark"]
FEATURES, LABELS, ROWS, K = 120, 20, 150, 10


def fasttext(folder: Path) -> dict[str, Any]:
    import fasttext as tool

    draw, lines = random.Random(0), []
    for _ in range(120):
        labels = draw.sample(list(WORDS), draw.choice([1, 1, 2]))
        words = [draw.choice(WORDS[label].split()) for label in labels for _ in range(3)]
        lines.append(" ".join([*(f"__label__{label}" for label in labels), *words]) + "\n")
    (folder / "train.txt").write_text("".join(lines), encoding="utf-8")
    answers = {}
    ngrams = {"wordNgrams": 3, "minn": 2, "maxn": 4, "bucket": 60}
    for loss, options in (("softmax", ngrams), ("hs", ngrams), ("ova", ngrams), ("ns", {"bucket": 0})):
        given = {"dim": 5, "epoch": 25, "lr": 0.5, "thread": 1, "verbose": 0, **options}
        model = tool.train_supervised(str(folder / "train.txt"), loss=loss, **given)
        model.save_model(str(folder / f"{loss}.bin"))
        found = [model.f.predict(text + "\n", len(WORDS), 0.0, "strict") for text in TEXTS]
        answers[loss] = [[[label, score] for score, label in row] for row in found]
    (folder / "train.txt").unlink()
    return {"texts": TEXTS, "answers": answers}


def drawn() -> tuple[list[list[int]], list[dict[int, float]], list[dict[int, float]]]:
    """Labels and rows to learn, and rows to predict for; the last labels occur nowhere."""
    draw = random.Random(1)
    labels = [sorted(draw.sample(range(LABELS - 2), 2)) for _ in range(ROWS)]
    rows = [{(7 * label + draw.randrange(6)) % FEATURES: 1.0 for label in own for _ in range(4)} for own in labels]
    asked = [{i: draw.random() for i in sorted(draw.sample(range(FEATURES), n))} for n in (1, 3, 5, 9, 14)]
    return labels, [dict(sorted(row.items())) for row in rows], asked


def omikuji(folder: Path) -> dict[str, Any]:
    import omikuji as tool

    labels, rows, asked = drawn()
    lines = [f"{ROWS} {FEATURES} {LABELS}"] + [
        ",".join(map(str, own)) + " " + " ".join(f"{i}:{v}" for i, v in row.items())
        for own, row in zip(labels, rows, strict=True)
    ]
    (folder / "train.txt").write_text("\n".join(lines) + "\n")
    kinds = {
        "balanced": {"min_branch_size": 3, "linear_loss_type": 1},
        "unbalanced": {
            "cluster_balanced": False,
            "cluster_k": 3,
            "max_depth": 3,
            "min_branch_size": 3,
            "n_trees": 2,
        },
    }
    answers = {}
    for kind, options in kinds.items():
        given = tool.Model.default_hyper_param()
        for name, value in {"n_trees": 1, **options}.items():
            setattr(given, name, value)
        model = tool.Model.train_on_data(str(folder / "train.txt"), given, 1)
        model.save(str(folder / kind))
        answers[kind] = [model.predict(list(row.items()), top_k=K) for row in asked]
    (folder / "train.txt").unlink()
    return {"rows": asked, "answers": answers}


def pecos(folder: Path) -> dict[str, Any]:
    import numpy as np
    import scipy.sparse as sp
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel
    from sklearn.preprocessing import normalize

    labels, rows, asked = drawn()

    def matrix(values: list[dict[int, float]], width: int) -> sp.csr_matrix:
        cells = [(i, column, value) for i, row in enumerate(values) for column, value in row.items()]
        i, columns, data = zip(*cells, strict=True)
        return sp.csr_matrix((np.array(data, np.float32), (i, columns)), shape=(len(values), width))

    x, q = (normalize(matrix(part, FEATURES)).astype(np.float32).tocsr() for part in (rows, asked))
    y = matrix([dict.fromkeys(own, 1.0) for own in labels], LABELS)
    clusters = Indexer.gen(LabelEmbeddingFactory.create(y, x, method="pifa"), nr_splits=3, max_leaf_size=4)
    model = XLinearModel.train(x, y, C=clusters, bias=1.0, threshold=0.05)
    model.save(str(folder / "xlinear"))
    found = model.predict(q, only_topk=K).tocsr()
    answers = [
        sorted(zip(row.indices.tolist(), row.data.tolist(), strict=True), key=lambda pair: -pair[1])
        for row in found
    ]
    return {"rows": asked, "answers": {"xlinear": answers}}


def main() -> None:
    tool, out = sys.argv[1], Path(sys.argv[2]) / sys.argv[1]
    out.mkdir(parents=True, exist_ok=True)
    answers = {"fasttext": fasttext, "omikuji": omikuji, "pecos": pecos}[tool](out)
    (out / "answers.json").write_text(json.dumps(answers, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
