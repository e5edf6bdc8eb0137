"""Time and memory of a training step of the dense head, compared with its matrix products and with plain PyTorch.

python benchmarks/dense_head.py [--labels 145716] [--dim 256] [--texts 512 64] [--rounds N] [--no-record]

A step computes the gradient of the loss with respect to embeddings (B, D), and updates weights (L, D) by SGD with
momentum.

The lower bound. Arithmetic: 6·B·L·D operations in three products (logits, gradient of the embedding, gradient of
the weights), 115 GFLOP at B=512 and 14 at B=64. Memory traffic: weights and momentum are read and written once,
16·L·D bytes, 0.6 GB. A core with AVX-512 computes about 150 GFLOP/s and two cores transfer about 30 GB/s, so that
B=512 is bound by arithmetic (0.38 s against 0.02 s), and nearly so B=64 (0.05 s against 0.02 s), where any further
pass is visible.

"products" are the three products as large torch.mm with preallocated outputs: the time of a step if everything
else (sigmoid, targets, momentum, update) took none. "usual" is nn.Linear(bias=False), BCEWithLogitsLoss(sum) on
dense float targets (created in every step, as for a new batch) and torch.optim.SGD(momentum=0.9).

Expected before the first run: 85 to 90% of the speed of the products at B=512 (the sigmoid of 75M elements at
about 2.5 G/s per core takes 4%, the update of cached chunks 3%), 70 to 90% at B=64; at B=512 a quarter of the
memory of "usual". At B=64, weights and momentum alone are about half of the peak of "usual".

All implementations take turns within each round, so that other load on the machine slows all of them equally;
ratios are those of medians. Memory is the peak resident size of a separate process, minus its size after imports
and a step on a few labels.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import record
import torch
from torch import Tensor, nn

from megalabel.heads.dense import DenseHead
from megalabel.kernels.all_labels.all_labels_loss import SGDRule
from megalabel.types import Positives

Step = Callable[[], object]


def batch(n: int, n_labels: int, dim: int) -> tuple[Tensor, Positives]:
    """Embeddings (B, D) that require a gradient, and three labels per text."""
    torch.manual_seed(0)
    x = torch.randn(n, dim).requires_grad_()
    return x, Positives.from_pairs(torch.arange(n).repeat_interleave(3), torch.randint(0, n_labels, (3 * n,)))


def products(n: int, n_labels: int, dim: int) -> Step:
    x, _ = batch(n, n_labels, dim)
    x, w = x.detach(), torch.randn(n_labels, dim) * 0.02
    z, gx, gw = torch.empty(n, n_labels), torch.empty(n, dim), torch.empty(n_labels, dim)

    def step() -> None:
        torch.mm(x, w.t(), out=z)
        torch.mm(z, w, out=gx)
        torch.mm(z.t(), x, out=gw)

    return step


def ours(n: int, n_labels: int, dim: int, momentum: float = 0.9, value: bool = False) -> Step:
    x, positives = batch(n, n_labels, dim)
    head = DenseHead(n_labels, dim, loss_every=1 if value else 10**9)
    head.update_rule = SGDRule(lr=1e-4, momentum=momentum)

    def step() -> None:
        x.grad = None
        head.loss(x[:, None], positives).backward()
        head.after_step(0, None)  # as the training loop does: the next step is number 1

    return step


def usual(n: int, n_labels: int, dim: int, **variant: bool) -> Step:
    x, positives = batch(n, n_labels, dim)
    linear = nn.Linear(dim, n_labels, bias=False)
    bce = nn.BCEWithLogitsLoss(reduction="sum")
    sgd = torch.optim.SGD(linear.parameters(), lr=1e-4, momentum=0.9, **variant)

    def step() -> None:
        x.grad = None
        sgd.zero_grad()
        y = torch.zeros(n, n_labels)
        y[positives.rows, positives.labels] = 1
        bce(linear(x), y).backward()
        sgd.step()

    return step


WAYS: dict[str, Callable[[int, int, int], Step]] = {
    "products": products,
    "ours": ours,
    "ours, with the loss's value": lambda *size: ours(*size, value=True),
    "ours, no momentum": lambda *size: ours(*size, momentum=0.0),
    "usual": usual,
    "usual, fused": lambda *size: usual(*size, fused=True),
}
MEASURED_ALONE = ("ours", "ours, no momentum", "usual", "usual, fused")


def times(n: int, n_labels: int, dim: int, rounds: int) -> dict[str, float]:
    """Median seconds of a step of each implementation, measured in alternation."""
    steps = {name: make(n, n_labels, dim) for name, make in WAYS.items()}
    return taking_turns(steps, rounds)


def taking_turns(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step, each run once per round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def peak_of_this_process() -> float:
    """MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the size of the parent process
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def memory_here(name: str, n: int, n_labels: int, dim: int) -> None:
    """Prints the peak of three steps above a baseline; runs in a separate process."""
    WAYS[name](n, 512, dim)()
    before = peak_of_this_process()
    step = WAYS[name](n, n_labels, dim)
    for _ in range(3):
        step()
    print(peak_of_this_process() - before)


def memory(name: str, n: int, n_labels: int, dim: int) -> float:
    sizes = ["--labels", str(n_labels), "--dim", str(dim), "--texts", str(n)]
    command = [sys.executable, __file__, "--memory-of", name, *sizes]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(n: int, options: argparse.Namespace) -> None:
    n_labels, dim = options.labels, options.dim
    peaks = {name: memory(name, n, n_labels, dim) for name in MEASURED_ALONE}
    taken = times(n, n_labels, dim, options.rounds or max(4, 1000 // n))
    fastest = min(seconds for name, seconds in taken.items() if name.startswith("usual"))
    smallest = min(peak for name, peak in peaks.items() if name.startswith("usual"))
    size = f"B={n} L={n_labels} D={dim} threads={torch.get_num_threads()}"
    print(f"\n{size}; weights {4 * n_labels * dim / 1e6:.0f} MB, with momentum twice that")
    print(f"{'':28}   ms/step  of products  usual/this     MB  of usual")
    for name, seconds in taken.items():
        peak = peaks.get(name)
        held = f"{peak:7.0f} {peak / smallest:8.0%}" if peak is not None else ""
        shares = f"{taken['products'] / seconds:11.0%} {fastest / seconds:11.2f}"
        print(f"{name:28} {seconds * 1e3:9.1f}  {shares}  {held}")
        if not options.no_record:
            record.row("dense_head", size, f"{name}: step", seconds * 1e3, "ms")
            record.row("dense_head", size, f"{name}: speed", taken["products"] / seconds, "of products")
            record.row("dense_head", size, f"{name}: speed-up", fastest / seconds, "over fastest usual")
            if peak is not None:
                record.row("dense_head", size, f"{name}: peak memory", peak, "MB")
                record.row("dense_head", size, f"{name}: memory share", peak / smallest, "of least usual")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=145_716)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--texts", type=int, nargs="+", default=[512, 64])
    parser.add_argument("--rounds", type=int, help="default: 4, more for small B")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--memory-of", choices=MEASURED_ALONE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        memory_here(options.memory_of, options.texts[0], options.labels, options.dim)
        return
    for n in options.texts:
        report(n, options)


if __name__ == "__main__":
    main()
