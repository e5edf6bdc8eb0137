"""How far the encoder of Spartex moves at 670,091 labels with the eps of its AdamW: published, and of Renée.

python benchmarks/encoder_eps.py [--labels 670091] [--steps 20] [--no-record]

A BERT of two layers of 128 reads 64 texts of 16 tokens; a sparse head of fan-in 128 has the mean squared hinge
over all labels, all of which are right but the texts' own (3 each), as after a few epochs. The head stays as it
is. The value is the distance that the matrices of the layers travel, in percent of what PyTorch's default eps
of 1e-8 (that of the authors) gives. Expected: 100 with 1e-8, hardly anything with the 1e-6 of megalabel 0.1.0.
"""

from __future__ import annotations

import argparse
import copy

import record  # first, as it decides how threads wait
import torch

from megalabel.heads.sparse import SparseHead
from megalabel.training.optim.groups import adamw
from megalabel.types import Positives

TEXTS, TOKENS, DIM, FAN_IN, RATE = 64, 16, 128, 128, 1e-4


def distance(eps: float, n_labels: int, steps: int) -> float:
    """How far the encoder's matrices move in some steps, in all."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    shape = {"hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    shape |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = BertModel(BertConfig(vocab_size=2000, **shape), add_pooling_layer=False)
    start = copy.deepcopy(encoder.state_dict())
    head = SparseHead(n_labels, DIM, fan_in=FAN_IN, distinct_inputs=False)
    head.requires_grad_(False)
    with torch.no_grad():
        head.weight.normal_(0, 0.01)
        head.bias.fill_(-1.3)
    optimizer = adamw(encoder, RATE, eps=eps)
    assert optimizer is not None
    for _ in range(steps):
        tokens = torch.randint(4, 2000, (TEXTS, TOKENS))
        positives = Positives.from_pairs(
            torch.arange(TEXTS).repeat_interleave(3), torch.randint(0, n_labels, (3 * TEXTS,))
        )
        head.loss(encoder(tokens).last_hidden_state[:, :1], positives).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = [
        (tensor - start[name]).square().sum()
        for name, tensor in encoder.named_parameters()
        if ".layer." in name and tensor.ndim > 1
    ]
    return float(torch.stack(moved).sum().sqrt().detach())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=670_091)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-record", action="store_true")
    given = parser.parse_args()
    found = {eps: distance(eps, given.labels, given.steps) for eps in (1e-8, 1e-6)}
    for eps, value in found.items():
        percent = 100 * value / found[1e-8]
        print(f"eps {eps:g}: {percent:.3g} % of the published distance")
        if not given.no_record:
            size = f"L={given.labels} F={FAN_IN} B={TEXTS} steps={given.steps}"
            record.row("encoder_eps", size, f"distance with eps {eps:g}", percent, "%")


if __name__ == "__main__":
    main()
