"""Time and memory of 50 steps of a sparse head with three million labels, including rewirings.

python benchmarks/sparse_head_large.py [--labels 3000000] [--threads 2] [--no-record]

AdamW with the squared hinge loss, F = 32, D = 768, new embeddings and positives of 64 texts (labels by Zipf's law)
in each step; a fifth of the connections is replaced after steps 10, 20 and 30. Expected: five times the time of a
step at 670,091 labels (`sparse_head.py`), and 7% more memory than the formula of `fan_in/fixed_fan_in.py`, as
pruning takes one byte for each of L·F connections.
"""

from __future__ import annotations

import argparse
import statistics
import time

import record  # first, as it decides how threads wait
import torch
from dense_head import peak_of_this_process
from sparse_head import DIM, FAN_IN, TEXTS, size_of, stated

from megalabel.heads.rewiring import Rewiring
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.updates.rule import ONLY_PART
from megalabel.training.optim.fused import FusedAdam
from megalabel.types import Positives

STEPS = 50
WAY = f"{STEPS} steps, AdamW, squared hinge, rewired"


def train(n_labels: int) -> list[float]:
    """Seconds of each of 50 steps, including rewirings but not the generation of the data."""
    rewiring = Rewiring(every=10, until=33, prune="fraction", prune_fraction=0.2)
    head = SparseHead(n_labels, DIM, fan_in=FAN_IN, rewiring=rewiring, loss_every=10**9)
    optimizer = FusedAdam(head, lr=1e-3)
    generator, taken = torch.Generator().manual_seed(0), []
    for i in range(STEPS):
        x = torch.randn(TEXTS, DIM, generator=generator).requires_grad_()
        labels = (n_labels ** torch.rand(3 * TEXTS, generator=generator, dtype=torch.float64)).long() - 1
        positives = Positives.from_pairs(torch.arange(TEXTS).repeat_interleave(3), labels)
        start = time.perf_counter()
        optimizer.begin(ONLY_PART)
        head.loss(x[:, None], positives).backward()
        optimizer.step()
        head.after_step(i, optimizer)
        taken.append(time.perf_counter() - start)
    return taken


def large(n_labels: int, recording: bool) -> None:
    train(512)
    before, start = peak_of_this_process(), time.perf_counter()
    taken = train(n_labels)
    whole = time.perf_counter() - start
    peak = peak_of_this_process()
    share, step = (peak - before) / stated(n_labels, 1, 2), statistics.median(taken)
    rewired = statistics.median(taken[i] for i in (9, 19, 29))
    print(f"{size_of(n_labels)} {WAY}: {whole:.1f} s in all, first weights and data included")
    print(f"median step {step * 1e3:.0f} ms, one with a rewiring {rewired * 1e3:.0f} ms")
    print(f"peak {peak:.0f} MB, {peak - before:.0f} MB over the baseline, {share:.0%} of the formula")
    for metric, value, unit in (
        ("step", step * 1e3, "ms"),
        ("step with a rewiring", rewired * 1e3, "ms"),
        ("in all", whole, "s"),
        ("peak memory", peak - before, "MB"),
        ("peak of stated", share, "of the formula"),
    ):
        if recording:
            record.row("sparse_head", size_of(n_labels), f"{WAY}: {metric}", value, unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=3_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    large(options.labels, not options.no_record)


if __name__ == "__main__":
    main()
