"""Time of a step with narrow weights, as a ratio to float32 in the same run, and memory of very many labels.

python benchmarks/narrow_weights.py [--labels 145716] [--dim 256] [--texts 512 64] [--rounds N] [--no-record]
python benchmarks/narrow_weights.py --cascade [--labels 100000] [--dim 256] [--texts 64]
python benchmarks/narrow_weights.py --sparse [--labels 200000] [--dim 768] [--texts 64] [--fan-in 32]
python benchmarks/narrow_weights.py --large [--labels 8600000] [--dim 384] [--texts 64] [--weights float8]

A step computes the gradient of the loss with respect to embeddings (B, D), and updates weights (L, D) by SGD. A
step with narrow weights also reads them as float32 and rounds them, once per weight: independent of B, while the
products grow with B, so that the ratio falls with B.

Expected before the first run: reading and rounding take 2 to 5 ns per weight and core, the products at B=64 about
12, so a ratio of at most 1.4 at B=64 and 1.1 at B=512.

`--cascade` is a step of a cascade, whose rows are read and rounded where a batch reaches them; with float32
weights by SGD, row-wise Adagrad and AdamW, with narrow ones by the first two. "rows first" reads all rows that a
batch reaches into a float32 table before it scores and moves them, as the head did at first.

Expected before the first run of it: a row is scored for few texts, so that reading its codes, writing it as
float32, and rounding it weigh more than in a head that scores every label; a ratio of 1.5 to 2.

`--sparse` is a step of a head with few inputs per label, with BCE, and with the squared hinge of a trained head
(biases of -1.2, so that 98% of the labels have no gradient); without and with weight decay and momentum.

Expected before the first run of it: six operations per weight and text on gathered inputs, about 10 ns per weight
at B=64, beside 2 ns for reading and rounding: 1.2 to 1.3; where few labels have a gradient, half the time of a
step, so that decay, which moves and rounds all of them, costs 1.5; without decay 1.1.

All ways take turns within each round, so that other load on the machine slows all of them equally; ratios are
those of medians. `--large` is the head alone in a fresh process: its peak resident size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import record
import torch
from cascade_ways import batches, ours, tree_of
from dense_head import batch, peak_of_this_process, taking_turns

from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.candidates import candidate_scores, row_adagrad, row_step
from megalabel.training.optim.fused import FusedAdagrad, FusedSGD

WAYS: dict[str, dict[str, object]] = {
    "float32": {},
    "bfloat16": {"weights": "bfloat16"},
    "float8": {"weights": "float8"},
    "float32, momentum": {"momentum": 0.9},
    "float8, momentum": {"weights": "float8", "momentum": 0.9},
    "float8, momentum in bfloat16": {"weights": "float8", "momentum": 0.9, "momentum_dtype": "bfloat16"},
}
# Labels, width and texts.
DEFAULTS = {
    "large": (8_600_000, 384, [64]),
    "cascade": (100_000, 256, [64]),
    "sparse": (200_000, 768, [64]),
    "dense": (145_716, 256, [512, 64]),
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


def rows_first(step: Callable[[], object]) -> Callable[[], object]:
    """A step that reads all touched rows into a float32 table before it scores and moves them."""

    def slower() -> None:
        with ExitStack() as stack:
            for operation in (candidate_scores._NARROW, row_step._NARROW, row_adagrad._COMPILED):
                stack.enter_context(patch.object(operation, "for_device", lambda device: None))
            step()

    return slower


def cascade(options: argparse.Namespace) -> None:
    """Steps of a cascade with three optimizers and three types."""
    n, n_labels, dim = options.texts[0], options.labels, options.dim
    depths = (8, 14) if n_labels >= 10**6 else (9,)
    first = " rows first"  # as before the compiled bodies read narrow rows
    data = batches(n, 1 + len(depths), n_labels, dim)
    steps = {}
    for name in ("float32 sgd", "float32 adagrad", "float32 adamw", "bfloat16 sgd", "bfloat16 adagrad",
                 "float8 sgd", "float8 adagrad", "bfloat16 sgd rows first", "bfloat16 adagrad rows first",
                 "float8 sgd rows first", "float8 adagrad rows first"):  # fmt: skip
        weights, optimizer = name.removesuffix(first).split()
        head = CascadeHead(tree_of(n_labels, depths), dim, beams=[64] * len(depths), weights=weights)
        step = ours(head, data, optimizer)
        steps[name] = rows_first(step) if name.endswith(first) else step
    taken = taking_turns(steps, options.rounds or 20)
    size = f"cascade B={n} L={n_labels} D={dim} beams=64 threads={torch.get_num_threads()}"
    print(f"\n{size}\n{'':30}  ms/step  of float32, the same optimizer")
    for name, seconds in taken.items():
        same = f"float32 {name.split()[1]}"
        print(f"{name:36} {seconds * 1e3:8.1f} {seconds / taken[same]:11.2f}")
        if not options.no_record:
            record.row("narrow_weights", size, f"{name}: step", seconds * 1e3, "ms")
            record.row("narrow_weights", size, f"{name}: ratio", seconds / taken[same], "of float32")


SPARSE: dict[str, dict[str, object]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "momentum in bfloat16": {"momentum": 0.9, "momentum_dtype": "bfloat16"},
    "adagrad": {"adagrad": True},
    "hinge, sgd": {"trained": True},
    "hinge, sgd with decay": {"trained": True, "weight_decay": 0.1},
}


def sparse_step(options: argparse.Namespace, weights: str, **way: object) -> Callable[[], object]:
    """A step of a sparse head, without the value of the loss."""
    x, positives = batch(options.texts[0], options.labels, options.dim)
    trained, adagrad = bool(way.pop("trained", False)), bool(way.pop("adagrad", False))
    head = SparseHead(
        options.labels, options.dim, fan_in=options.fan_in, loss="squared_hinge" if trained else "bce",
        init_scale=0.1 if trained else 1.0, loss_every=10**9, weights=weights,
    )  # fmt: skip
    if trained:
        head.bias.data.fill_(-1.2)
    FusedAdagrad(head, 1e-4) if adagrad else FusedSGD(head, 1e-4, **way)  # type: ignore[arg-type]
    head.after_step(0, None)

    def step() -> None:
        x.grad = None
        head.loss(x[:, None], positives).backward()

    return step


def sparse(options: argparse.Namespace) -> None:
    """Steps of a sparse head with several rules and three types."""
    size = (
        f"sparse B={options.texts[0]} L={options.labels} D={options.dim} F={options.fan_in} "
        f"threads={torch.get_num_threads()}"
    )
    print(f"\n{size}\n{'':40}  ms/step  of float32, the same rule")
    for name, way in SPARSE.items():
        steps = {kind: sparse_step(options, kind, **way) for kind in ("float32", "bfloat16", "float8")}
        taken = taking_turns(steps, options.rounds or 15)
        for kind, seconds in taken.items():
            ratio = seconds / taken["float32"]
            print(f"{kind + ', ' + name:40} {seconds * 1e3:8.1f} {ratio:11.2f}")
            if not options.no_record:
                record.row("narrow_weights", size, f"{kind} {name}: step", seconds * 1e3, "ms")
                record.row("narrow_weights", size, f"{kind} {name}: ratio", ratio, "of float32")


def report(n: int, options: argparse.Namespace) -> None:
    steps = {name: step_of(n, options.labels, options.dim, **way) for name, way in WAYS.items()}  # type: ignore[arg-type]
    taken = taking_turns(steps, options.rounds or max(6, 1000 // n))
    size = f"B={n} L={options.labels} D={options.dim} threads={torch.get_num_threads()}"
    print(f"\n{size}\n{'':30}  ms/step  of float32")
    for name, seconds in taken.items():
        same = "float32, momentum" if "momentum" in name else "float32"
        print(f"{name:36} {seconds * 1e3:8.1f} {seconds / taken[same]:11.2f}")
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
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--fan-in", type=int, default=32)
    parser.add_argument("--labels", type=int)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--texts", type=int, nargs="+")
    parser.add_argument("--weights", choices=["float32", "bfloat16", "float8"], default="float8")
    parser.add_argument("--rounds", type=int, help="default: 6, more for small B")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    kind = next((name for name in DEFAULTS if getattr(options, name, False)), "dense")
    labels, dim, texts = DEFAULTS[kind]
    options.labels, options.dim = options.labels or labels, options.dim or dim
    options.texts = options.texts or texts
    if options.sparse:
        sparse(options)
        return
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
