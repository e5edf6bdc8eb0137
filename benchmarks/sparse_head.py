"""Time and memory of a training step of the sparse head, compared with a lower bound and with the dense head.

python benchmarks/sparse_head.py [--labels 670091] [--rounds N] [--no-obvious] [--no-record]

A step computes the gradient of the loss with respect to embeddings (B, D), and updates weights (L, F). The head is
`SparseHead` with `kernels/fan_in/fixed_fan_in.py`, without the value of the loss; B = 64, D = 768, F = 32, two
threads.

The lower bound ("floor"): 6·B·L·F operations (logits, both gradients), 8.2 GFLOP at L = 670,091, at 80 GFLOP/s, a
rate assumed for gathered inputs on two cores with AVX2: 0.103 s, on any machine. Two more bounds are measured in
the same run, of which the larger one applies: "arithmetic", the same operations at the rate of a large torch.mm,
and "traffic": weights, biases and optimizer state read and written once and inputs read once, at the rate of a
large copy or in-place multiplication.

"trained": small weights and biases of -1.2, so that under the squared hinge loss about one pair of text and label
in 3,000 has a gradient, and 98% of the labels need no backward pass. "dense head": `DenseHead`, momentum 0.9, BCE.
"obvious": straightforward PyTorch with a few thousand labels at a time, (x[:, inputs] * weight).sum(-1) + bias,
BCE on dense float targets, backward pass, then torch.optim.SGD(momentum=0.9); a single step in a separate process,
as it takes very long. "of ours" is the time relative to "SGD with momentum, BCE".

Expected before the first run, on two cores with AVX-512 and after a preliminary measurement (0.08 s, 0.05 s for
groups of 32, 0.80 s for the dense head): 0.8 of the floor with and without momentum; AdamW up to 1.1, for its
divisions, roots and twice the traffic; squared hinge a tenth less; trained 0.5; "obvious" about a hundred times
slower, as the backward pass of its gather adds numbers one by one. Memory within 5% of the formula in
`kernels/fan_in/fixed_fan_in.py`.

All implementations take turns within each round, so that other load on the machine slows all of them equally;
ratios are those of medians. Memory is the peak resident size of a separate process, minus its size after imports
and a step on a few labels.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import record  # first, as it decides how threads wait
import torch
from dense_head import Step, batch, peak_of_this_process, taking_turns
from torch import Tensor, nn

from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.fan_in.connections import input_dtype
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

TEXTS, FAN_IN, DIM = 64, 32, 768
STATED_RATE = 80e9  # operations a second of two AVX2 cores on gathered inputs
LR = 1e-5  # so that the weights stay what they are called: those at the start, or trained ones
REFERENCE = "SGD with momentum, BCE"


def sparse(n_labels: int, rule: str, loss: str, group: int = 1, trained: bool = False) -> Step:
    x, positives = batch(TEXTS, n_labels, DIM)
    scale = 0.1 if trained else 1.0
    head = SparseHead(n_labels, DIM, fan_in=FAN_IN, group=group, loss=loss, init_scale=scale, loss_every=10**9)
    if trained:
        head.bias.data.fill_(-1.2)
    head.update_rule = RULES[rule]()
    return step_of(head, x, positives)


def dense(n_labels: int) -> Step:
    x, positives = batch(TEXTS, n_labels, DIM)
    head = DenseHead(n_labels, DIM, loss_every=10**9)
    head.update_rule = RULES["SGD with momentum"]()
    return step_of(head, x, positives)


def step_of(head: SparseHead | DenseHead, x: Tensor, positives: Positives) -> Step:
    def step() -> None:
        x.grad = None
        head.loss(x[:, None], positives).backward()
        head.after_step(0, None)  # as the training loop does: the next step is number 1

    return step


def obvious(n_labels: int, chunk: int = 4096) -> Step:
    x, positives = batch(TEXTS, n_labels, DIM)
    sizes = [min(chunk, n_labels - start) for start in range(0, n_labels, chunk)]
    # Parameters of a chunk each: the gradient of a slice would be as large as the whole.
    weights = [nn.Parameter(torch.randn(size, FAN_IN) * 0.1) for size in sizes]
    biases = [nn.Parameter(torch.zeros(size)) for size in sizes]
    inputs = [torch.randint(0, DIM, (size, FAN_IN), dtype=input_dtype(DIM)) for size in sizes]
    bce = nn.BCEWithLogitsLoss(reduction="sum")
    sgd = torch.optim.SGD([*weights, *biases], lr=LR, momentum=0.9)

    def step() -> None:
        x.grad = None
        sgd.zero_grad()
        for i, (w, b, idx) in enumerate(zip(weights, biases, inputs, strict=True)):
            z = (x[:, idx.long()] * w).sum(-1) + b
            y, labels = torch.zeros_like(z), positives.labels - i * chunk
            here = (labels >= 0) & (labels < len(w))
            y[positives.rows[here], labels[here]] = 1
            bce(z, y).backward()
        sgd.step()

    return step


RULES: dict[str, Callable[[], UpdateRule]] = {
    "SGD": lambda: SGDRule(lr=LR),
    "SGD with momentum": lambda: SGDRule(lr=LR, momentum=0.9),
    "AdamW": lambda: AdamRule(lr=LR),
}

# A way's step, its group, and how many numbers its rule keeps beside each weight.
OURS: dict[str, tuple[Callable[[int], Step], int, int]] = {
    "SGD, BCE": (lambda n: sparse(n, "SGD", "bce"), 1, 0),
    REFERENCE: (lambda n: sparse(n, "SGD with momentum", "bce"), 1, 1),
    "AdamW, BCE": (lambda n: sparse(n, "AdamW", "bce"), 1, 2),
    "AdamW, squared hinge": (lambda n: sparse(n, "AdamW", "squared_hinge"), 1, 2),
    "AdamW, squared hinge, trained": (lambda n: sparse(n, "AdamW", "squared_hinge", trained=True), 1, 2),
    f"{REFERENCE}, G=32": (lambda n: sparse(n, "SGD with momentum", "bce", 32), 32, 1),
    "AdamW, squared hinge, G=32": (lambda n: sparse(n, "AdamW", "squared_hinge", 32), 32, 2),
}
WAYS = {**{name: way[0] for name, way in OURS.items()}, "dense head": dense, "obvious": obvious}


def inputs_bytes(n_labels: int, group: int) -> int:
    return input_dtype(DIM).itemsize * -(-n_labels // group) * FAN_IN


def stated(n_labels: int, group: int, kept: int) -> float:
    """MB of a step by the formula in `kernels/fan_in/fixed_fan_in.py`."""
    numbers = (1 + kept) * n_labels * (FAN_IN + 1) + (torch.get_num_threads() + 5) * DIM * TEXTS
    return (4 * numbers + inputs_bytes(n_labels, group)) / 1e6


def best(step: Step, rounds: int = 7) -> float:
    """Seconds of the fastest round, as the measurement of a lower bound."""
    step()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return min(taken)


def machine_rates() -> tuple[float, float]:
    """Operations per second of a large matrix product, and bytes read and written per second."""
    n = 2048
    a, b, c = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
    product = best(lambda: torch.mm(a, b, out=c))
    here, there = torch.ones(1 << 26), torch.ones(1 << 26)
    pass_ = min(best(lambda: there.copy_(here)), best(lambda: here.mul_(1.0)))
    return 2 * n**3 / product, 2 * 4 * len(here) / pass_


def times(n_labels: int, rounds: int) -> dict[str, float]:
    """Median seconds of a step of each implementation except "obvious", measured in alternation."""
    steps = {name: make(n_labels) for name, make in WAYS.items() if name != "obvious"}
    return taking_turns(steps, rounds)


def memory_here(name: str, n_labels: int) -> None:
    """Prints the peak of a few steps above a baseline and the time of the last; runs in a separate process."""
    WAYS[name](512)()
    before = peak_of_this_process()
    step, taken = WAYS[name](n_labels), 0.0
    for _ in range(1 if name == "obvious" else 3):
        start = time.perf_counter()
        step()
        taken = time.perf_counter() - start
    print(peak_of_this_process() - before, taken)


def memory(name: str, n_labels: int) -> tuple[float, float]:
    threads = str(torch.get_num_threads())
    command = [sys.executable, __file__, "--memory-of", name, "--labels", str(n_labels), "--threads", threads]
    peak, taken = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(peak), float(taken)


def size_of(n_labels: int) -> str:
    return f"L={n_labels} F={FAN_IN} D={DIM} B={TEXTS} threads={torch.get_num_threads()}"


def report(n_labels: int, rounds: int, with_obvious: bool, recording: bool) -> None:
    alone = {name: memory(name, n_labels) for name in WAYS if with_obvious or name != "obvious"}
    operations, traffic = machine_rates()
    taken = times(n_labels, rounds)
    if with_obvious:
        taken["obvious"] = alone["obvious"][1]
    work = 6 * TEXTS * n_labels * FAN_IN
    floor, arithmetic = work / STATED_RATE, work / operations
    print(f"{size_of(n_labels)}; torch.mm {operations / 1e9:.0f} GFLOP/s, memory {traffic / 1e9:.1f} GB/s")
    print(f"floor {floor * 1e3:.1f} ms, arithmetic of torch.mm {arithmetic * 1e3:.1f} ms")
    print(f"{'':34}  ms/step  of floor  of ours  traffic ms  of measured      MB  of stated")
    for name, seconds in taken.items():
        rows = [
            ("step", seconds * 1e3, "ms"),
            ("of the floor", seconds / floor, f"of {floor * 1e3:.0f} ms"),
            ("of ours", seconds / taken[REFERENCE], f"over {REFERENCE}"),
            ("peak memory", alone[name][0], "MB"),
        ]
        line = f"{name:34} {seconds * 1e3:8.1f} {rows[1][1]:9.2f} {rows[2][1]:8.2f}"
        if name in OURS:
            _, group, kept = OURS[name]
            moved = 8 * (1 + kept) * n_labels * (FAN_IN + 1) + inputs_bytes(n_labels, group)
            measured = max(moved / traffic, arithmetic)
            share = alone[name][0] / stated(n_labels, group, kept)
            rows += [
                ("peak of stated", share, "of the formula"),
                ("traffic floor", moved / traffic * 1e3, "ms"),
                ("arithmetic floor", arithmetic * 1e3, "ms"),
                ("of the measured floor", seconds / measured, "of the larger of both"),
            ]
            line += (
                f" {moved / traffic * 1e3:11.1f} {seconds / measured:12.2f} {alone[name][0]:7.0f} {share:10.0%}"
            )
        else:
            line += f" {'':24} {alone[name][0]:7.0f}"
        print(line)
        for metric, value, unit in rows if recording else []:
            record.row("sparse_head", size_of(n_labels), f"{name}: {metric}", value, unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=670_091)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-obvious", action="store_true", help="leave out the way that takes a minute")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        memory_here(options.memory_of, options.labels)
    else:
        report(options.labels, options.rounds, not options.no_obvious, not options.no_record)


if __name__ == "__main__":
    main()
