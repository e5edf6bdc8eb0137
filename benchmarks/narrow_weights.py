"""Time of a step with narrow weights, as a ratio to float32 in the same run, and memory of very many labels.

python benchmarks/narrow_weights.py [--labels 145716] [--dim 256] [--texts 512 64] [--rounds N] [--no-record]
python benchmarks/narrow_weights.py --cascade [--labels 100000] [--dim 256] [--texts 64]
python benchmarks/narrow_weights.py --large [--labels 8600000] [--dim 384] [--texts 64] [--weights float8]

A step computes the gradient of the loss with respect to embeddings (B, D), and updates weights (L, D) by SGD. A
step with narrow weights also reads them as float32 and rounds them, once per weight: independent of B, while the
products grow with B, so that the ratio falls with B.

Expected before the first run: reading and rounding take 2 to 5 ns per weight and core, the products at B=64 about
12, so a ratio of at most 1.4 at B=64 and 1.1 at B=512.

`--cascade` is a step of a cascade, whose rows are read and rounded where a batch reaches them; with float32
weights by SGD, row-wise Adagrad and AdamW, with narrow ones by the first two.

Expected before the first run of it: a row is scored for few texts, so that reading its codes, writing it as
float32, and rounding it weigh more than in a head that scores every label; a ratio of 1.5 to 2.

All ways take turns within each round, so that other load on the machine slows all of them equally; ratios are
those of medians. `--large` is the head alone in a fresh process: its peak resident size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import record
import torch
from cascade_ways import batches, ours, tree_of
from dense_head import batch, peak_of_this_process, taking_turns

from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.training.optim.fused import FusedSGD

WAYS: dict[str, dict[str, object]] = {
    "float32": {},
    "bfloat16": {"weights": "bfloat16"},
    "float8": {"weights": "float8"},
    "float32, momentum": {"momentum": 0.9},
    "float8, momentum": {"weights": "float8", "momentum": 0.9},
    "float8, momentum in bfloat16": {"weights": "float8", "momentum": 0.9, "momentum_dtype": "bfloat16"},
}


def step_of(
    n: int,
    n_labels: int,
    dim: int,
    weights: str = "float32",
    momentum: float = 0.0,
    momentum_dtype: str = "float32",
) -> Callable[[], object]:
    """A step of a head, without the value of the loss."""
    x, positives = batch(n, n_labels, dim)
    head = DenseHead(n_labels, dim, loss_every=10**9, weights=weights)
    optimizer = FusedSGD(head, 1e-4, momentum, momentum_dtype=momentum_dtype)
    head.after_step(0, None)  # as the training loop does: the next step is number 1

    def step() -> None:
        x.grad = None
        head.loss(x[:, None], positives).backward()
        optimizer.step()

    return step


def cascade(options: argparse.Namespace) -> None:
    """Steps of a cascade with three optimizers and three types."""
    n, n_labels, dim = options.texts[0], options.labels, options.dim
    depths = (8, 14) if n_labels >= 10**6 else (9,)
    data = batches(n, 1 + len(depths), n_labels, dim)
    steps = {}
    for name in ("float32 sgd", "float32 adagrad", "float32 adamw", "bfloat16 sgd", "bfloat16 adagrad",
                 "float8 sgd", "float8 adagrad"):  # fmt: skip
        weights, optimizer = name.split()
        head = CascadeHead(tree_of(n_labels, depths), dim, beams=[64] * len(depths), weights=weights)
        steps[name] = ours(head, data, optimizer)
    taken = taking_turns(steps, options.rounds or 20)
    size = f"cascade B={n} L={n_labels} D={dim} beams=64 threads={torch.get_num_threads()}"
    print(f"\n{size}\n{'':30}  ms/step  of float32, the same optimizer")
    for name, seconds in taken.items():
        same = f"float32 {name.split()[1]}"
        print(f"{name:30} {seconds * 1e3:8.1f} {seconds / taken[same]:11.2f}")
        if not options.no_record:
            record.row("narrow_weights", size, f"{name}: step", seconds * 1e3, "ms")
            record.row("narrow_weights", size, f"{name}: ratio", seconds / taken[same], "of float32")


def report(n: int, options: argparse.Namespace) -> None:
    steps = {name: step_of(n, options.labels, options.dim, **way) for name, way in WAYS.items()}  # type: ignore[arg-type]
    taken = taking_turns(steps, options.rounds or max(6, 1000 // n))
    size = f"B={n} L={options.labels} D={options.dim} threads={torch.get_num_threads()}"
    print(f"\n{size}\n{'':30}  ms/step  of float32")
    for name, seconds in taken.items():
        same = "float32, momentum" if "momentum" in name else "float32"
        print(f"{name:30} {seconds * 1e3:8.1f} {seconds / taken[same]:11.2f}")
        if not options.no_record:
            record.row("narrow_weights", size, f"{name}: step", seconds * 1e3, "ms")
            record.row("narrow_weights", size, f"{name}: ratio", seconds / taken[same], "of float32")


def large(options: argparse.Namespace) -> None:
    """Trains ten steps, and compares the peak of the process with the weights."""
    n, n_labels, dim = options.texts[0], options.labels, options.dim
    begun = time.perf_counter()
    step = step_of(n, n_labels, dim, options.weights)
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(10):
        step()
    taken = (time.perf_counter() - begun) / 10
    per_weight = {"float32": 4, "bfloat16": 2, "float8": 1 + 1 / dim}[options.weights]
    weights, peak = n_labels * dim * per_weight / 1e6, peak_of_this_process()
    size = f"B={n} L={n_labels} D={dim} {options.weights} threads={torch.get_num_threads()}"
    found = {
        "weights": (weights, "MB"),
        "peak memory of the process": (peak, "MB"),
        "peak beyond 1.15 times the weights": (peak - 1.15 * weights, "MB"),
        "initialization": (made, "s"),
        "seconds per step": (taken, "s"),
    }
    print(size)
    for name, (value, unit) in found.items():
        print(f"{name:36} {value:10.1f} {unit}")
        if not options.no_record:
            record.row("narrow_weights", size, name, value, unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--cascade", action="store_true")
    parser.add_argument("--labels", type=int)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--texts", type=int, nargs="+")
    parser.add_argument("--weights", choices=["float32", "bfloat16", "float8"], default="float8")
    parser.add_argument("--rounds", type=int, help="default: 6, more for small B")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    options.labels = options.labels or (8_600_000 if options.large else 100_000 if options.cascade else 145_716)
    options.dim = options.dim or (384 if options.large else 256)
    options.texts = options.texts or ([64] if options.large or options.cascade else [512, 64])
    if options.cascade:
        cascade(options)
        return
    if options.large:
        large(options)
        return
    for n in options.texts:
        report(n, options)


if __name__ == "__main__":
    main()
