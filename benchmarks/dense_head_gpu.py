"""The dense head on a GPU: results against float64 at millions of labels, then times beside what bounds them.

python benchmarks/dense_head_gpu.py [--labels 1000000 2812281 10000000] [--weights float8 bfloat16] [--record]

First every result of a step and of a search for the best labels is compared with float64, on new random numbers
and with memory that is full of NaN where it was not written: offsets above 31 bits occur only at such sizes. Then
times, medians of several runs:

    step                the backward pass of the loss, with SGD and rounding, without the value of the loss
    chunked PyTorch     the same by the plain pass
    read and write      one pass over the weights in place, the floor of a step that reads and writes them once
    three products      the matrix products of a step by cuBLAS in bfloat16, without anything between them
    torch.compile       the step as a user of PyTorch writes it (plain_step.py), compiled, in chunks of two sizes
    top 10, 1 read      the search for the best labels, and half of "read and write"
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which deterministic products require

import plain_step
import record
import torch
from torch import Tensor

from megalabel.kernels.all_labels.all_labels_loss import all_labels_loss
from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.kernels.core import dispatch
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.types import Positives

EXPONENT = -8  # of every row of float8, so that weights have a deviation of about 2^-5
LR, DECAY = 2.0**-6, 2.0**-4
CHUNK = 1 << 16  # labels that the reference processes at a time


class Case:
    """Embeddings, a table of weights and five positives per text."""

    def __init__(self, labels: int, weights: str, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        self.kind = weight_type(weights)
        self.dtype = torch.float32 if weights == "float32" else torch.bfloat16
        self.x = torch.randn(args.texts, args.dim, device=self.device).to(self.dtype)
        codes = torch.empty(labels, args.dim, dtype=self.kind.dtype, device=self.device)
        exponents = None
        if self.kind.scale == "row":
            exponents = torch.full((labels,), EXPONENT, dtype=torch.int8, device=self.device)
        for rows in codes.split(CHUNK):
            rows.copy_(torch.randn(rows.shape, device=self.device) * (8.0 if exponents is not None else 2.0**-5))
        self.table = NarrowTable(self.kind, codes, exponents) if self.kind.is_narrow else None
        self.weight = codes
        texts = torch.arange(args.texts, device=self.device).repeat_interleave(5)
        picked = torch.randint(labels, texts.shape, device=self.device)
        picked[:3] = labels - 1
        self.positives = Positives.from_pairs(texts, picked)

    def __len__(self) -> int:
        return len(self.weight)

    def rows(self, labels: Tensor | slice) -> Tensor:
        """Some rows of the weights in float64."""
        codes = self.weight.detach()
        own = codes.view(torch.uint8)[labels].view(codes.dtype).double()
        if self.table is None or self.table.exponents is None:
            return own
        return own * torch.exp2(self.table.exponents[labels].double())[:, None]

    def step(self, *, value: bool, chunk: int | None = None) -> tuple[Tensor, Tensor]:
        """The loss and the gradient of the embeddings of a step of SGD."""
        x = self.x.clone().requires_grad_()
        rule = NarrowSGDRule(LR, 0.0, DECAY)
        source = self.table if self.table is not None else self.weight
        self.weight.requires_grad_()
        loss = all_labels_loss(
            x, source, None, self.positives, rule=rule, value=value, chunk=chunk, compute_dtype=self.dtype
        )
        loss.backward()
        self.weight.requires_grad_(False)
        assert x.grad is not None
        return loss.detach(), x.grad

    def plain_form(self, chunk: int, lr: float, decay: float, backend: str) -> Callable[[], Tensor]:
        """A function that makes a step by `torch.compile` of the plain form, and returns the gradient of x."""
        torch.compiler.reset()
        step = torch.compile(plain_step.chunk_step, backend=backend, dynamic=False)
        whole = plain_step.PlainStep(self.positives.rows, self.positives.labels, chunk, step)
        exponents = None if self.table is None else self.table.exponents
        return lambda: whole(self.x, self.weight.detach(), exponents, self.kind, lr, decay)

    def topk(self, k: int) -> tuple[Tensor, Tensor]:
        """Ids and scores of the k best labels."""
        found = streaming_topk(self.x, self.table if self.table is not None else self.weight, None, k)
        return found.ids, found.scores


def reference(case: Case, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, the gradient of the embeddings and the k best scores in float64, a chunk of labels at a time."""
    x, y = case.x.double(), torch.zeros(len(case.x), CHUNK, device=case.device, dtype=torch.float64)
    total, embedding = x.new_zeros(()), torch.zeros_like(x)
    best = x.new_full((len(x), k), -torch.inf)
    for start in range(0, len(case), CHUNK):
        w = case.rows(slice(start, min(start + CHUNK, len(case))))
        z = x @ w.t()
        best = torch.cat([best, z.topk(min(k, len(w)), dim=1).values], dim=1).topk(k, dim=1).values
        own = (case.positives.labels >= start) & (case.positives.labels < start + len(w))
        places = case.positives.rows[own], case.positives.labels[own] - start
        y.zero_()[places] = 1
        total += torch.nn.functional.binary_cross_entropy_with_logits(z, y[:, : len(w)], reduction="sum")
        embedding += (z.sigmoid() - y[:, : len(w)]) @ w
    return total, embedding, best


def moved(case: Case, labels: Tensor) -> Tensor:
    """Weights of some labels after a step, in float64 and before they are rounded."""
    w, x = case.rows(labels), case.x.double()
    y = torch.zeros(len(labels), len(x), device=case.device, dtype=torch.float64)
    places = (labels[:, None] == case.positives.labels[None, :]).nonzero()
    y[places[:, 0], case.positives.rows[places[:, 1]]] = 1
    return w * (1 - LR * DECAY) - LR * (((w @ x.t()).sigmoid() - y) @ x)


def check(case: Case, args: argparse.Namespace) -> Iterator[str]:
    """Compares a step and a search with float64; raises AssertionError where they differ too much."""
    coarse = case.dtype == torch.bfloat16  # gradients of logits are rounded to 8 bits
    total, embedding, best = reference(case, args.k)
    ids, scores = case.topk(args.k)
    torch.testing.assert_close(scores.double(), best, rtol=1e-4, atol=1e-4)
    own = torch.stack([case.x[b].double() @ case.rows(ids[b]).t() for b in range(len(ids))])
    torch.testing.assert_close(scores.double(), own, rtol=1e-4, atol=1e-4)
    yield f"the best labels of {len(ids)} texts, up to {(scores - best).abs().max():.1e}"

    plain = case.plain_form(CHUNK, 0.0, 0.0, args.compile_with)()  # moves nothing
    error = (plain.double() - embedding).abs().max() / embedding.abs().max()
    assert error < (1e-2 if coarse else 1e-4), f"the plain form's gradient of the embeddings is off by {error:.1e}"
    yield f"the same gradient of the plain form under torch.compile, up to {error:.1e}"

    last = torch.arange(max(0, len(case) - 500), len(case), device=case.device)
    some = torch.randint(len(case), (500,), device=case.device)
    labels = torch.cat([last, some, case.positives.labels]).unique()
    expected = moved(case, labels)
    loss, gradient = case.step(value=True)
    torch.testing.assert_close(loss.double(), total, rtol=1e-5, atol=0)
    yield f"the loss, up to {abs(float(loss.double() / total) - 1):.1e} of it"
    error = (gradient.double() - embedding).abs().max() / embedding.abs().max()
    assert error < (1e-2 if coarse else 1e-4), f"the gradient of the embeddings is off by {error:.1e}"
    yield f"the gradient of the embeddings, up to {error:.1e} of its largest number"

    stored = case.rows(labels)
    least = 2.0 ** (case.kind.min_exponent - case.kind.mantissa_bits)
    if case.table is not None and case.table.exponents is not None:
        least = least * torch.exp2(case.table.exponents[labels].double())[:, None]
    noise = (1e-2 if coarse else 1e-4) * LR * float(case.x.double().square().sum(0).max().sqrt())
    allowed = 1.001 * torch.maximum(expected.abs() * 2.0**-case.kind.mantissa_bits, least + 0 * expected) + noise
    assert ((stored - expected).abs() <= allowed).all(), "weights differ by more than their rounding"
    yield f"the weights of {len(labels)} labels, up to their rounding"


def seconds(work: Callable[[], object], device: torch.device, runs: int = 7) -> float:
    """The median time of a piece of work, after one run that compiles."""
    taken = []
    for run in range(runs + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if run:
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def three_products(case: Case) -> None:
    """The products of a step in bfloat16, on chunks of as many weights."""
    x = case.x.to(torch.bfloat16)
    w = torch.empty(1 << 17, x.shape[1], dtype=torch.bfloat16, device=x.device).normal_()
    out, gradient = torch.empty_like(w), torch.zeros_like(x)
    for start in range(0, len(case), len(w)):
        n = min(len(w), len(case) - start)
        z = w[:n] @ x.t()
        gradient.addmm_(z.t(), w[:n])
        torch.mm(z, x, out=out[:n])


def times(case: Case, args: argparse.Namespace) -> Iterator[tuple[str, float, str]]:
    """Metric, value and unit of everything that is timed."""
    device, words, k = case.device, case.weight.view(-1).view(torch.int32), args.k
    yield "read and write", seconds(lambda: words.bitwise_not_(), device), "s"
    yield "three products", seconds(lambda: three_products(case), device), "s"
    yield "step", seconds(lambda: case.step(value=False), device), "s"
    for chunk in (1 << 14, 1 << 16, 1 << 18):
        yield f"step, chunks of {chunk}", seconds(lambda c=chunk: case.step(value=False, chunk=c), device), "s"
    yield f"top {k}", seconds(lambda: case.topk(k), device), "s"
    for chunk in (1 << 14, 1 << 17):
        step = case.plain_form(chunk, LR, DECAY, args.compile_with)
        yield f"torch.compile, chunks of {chunk}", seconds(step, device), "s"
    with dispatch.use("plain"):
        yield "chunked PyTorch", seconds(lambda: case.step(value=False), device, 3), "s"
        yield f"chunked PyTorch, top {k}", seconds(lambda: case.topk(k), device, 3), "s"
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        case.step(value=False)
        yield "peak of a step", torch.cuda.max_memory_allocated() / 2**30, "GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[1_000_000, 2_812_281, 10_000_000])
    parser.add_argument("--weights", nargs="+", default=["float8", "bfloat16"])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compile-with", default="inductor", help="backend of torch.compile")
    parser.add_argument("--record", action="store_true", help="append the times to results.csv")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here")
    for labels in args.labels:
        for weights in args.weights:
            size = f"L={labels} D={args.dim} B={args.texts} {weights}"
            case = Case(labels, weights, args)
            torch.use_deterministic_algorithms(True)  # which also fills fresh memory with NaN
            for line in check(case, args):
                print(f"{size}: equal to float64: {line}", flush=True)
            torch.use_deterministic_algorithms(False)
            for metric, found, unit in times(case, args):
                print(f"{size}: {metric}: {found:.6f} {unit}", flush=True)
                if args.record:
                    record.row("dense_head_gpu", size, metric, found, unit)


if __name__ == "__main__":
    main()
