"""MiniLM tuned on (text, label text) with in-batch negatives, and exact search.

python minilm.py FOLDER minilm MODEL
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from shared import DEPTH, arguments, finish, read

EPOCHS, BATCH, MOST_PAIRS = 1, 64, 60_000
SEED = 0


def main() -> None:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from sentence_transformers.training_args import BatchSamplers

    where, who = arguments()
    data = read(where)
    model = SentenceTransformer(sys.argv[3])
    model.max_seq_length = 64
    rows, labels = data.labels.nonzero()
    some = np.random.default_rng(SEED).permutation(len(rows))[:MOST_PAIRS]
    pairs = Dataset.from_dict(
        {"anchor": [data.train[rows[i]] for i in some], "positive": [data.names[labels[i]] for i in some]}
    )
    arguments_ = SentenceTransformerTrainingArguments(
        str(where / "minilm"), num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, learning_rate=5e-5,
        warmup_ratio=0.1, batch_sampler=BatchSamplers.NO_DUPLICATES, save_strategy="no", report_to=[], seed=SEED,
    )  # fmt: skip
    SentenceTransformerTrainer(model, arguments_, pairs, loss=MultipleNegativesRankingLoss(model)).train()
    encode = {"batch_size": 256, "convert_to_tensor": True, "normalize_embeddings": True}
    names, test = model.encode(data.names, **encode), model.encode(data.test, **encode)
    scores, ids = torch.topk(test @ names.T, min(DEPTH, len(data.names)), dim=1)
    finish(where, who, (ids.numpy(), scores.numpy()))


if __name__ == "__main__":
    main()
