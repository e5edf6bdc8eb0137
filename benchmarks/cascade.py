"""Time and memory of a training step of the cascade at 10⁵, 10⁶ and 10⁷ labels, compared with plain PyTorch.

python benchmarks/cascade.py [--labels 100000 1000000] [--optimizer adamw] [--beams 64] [--no-record]
python benchmarks/cascade.py --beams 128 256 400 --levels 3    # the paper's beams

A step computes the gradient of the loss with respect to views (B, K + 1, D), and updates the rows that were
candidates with AdamW or SGD.

The lower bound, at B=64, D=384. Arithmetic: 6·D operations per pair of text and candidate, 1.2 GFLOP for 8,000
candidates per text, 8 ms on one AVX-512 core. Memory traffic: each row that is a candidate of any text is read
once for its score, then read and written once by the optimizer with its state: 4·D·(1 + 2·(1 + m)) bytes with m =
2 moments for Adam and 0 for SGD, that is, 10.8 and 4.6 kB per row. Since texts share candidates, there are fewer
rows than pairs, and at most as many as in the table. This determines how the time of a step grows with L; both
numbers are printed next to the time.

"usual" is a straightforward implementation: candidates padded to (B, C), their weights gathered to (B, C, D),
torch.bmm, BCE, and torch.optim.AdamW (or SGD) on whole tables.

Synthetic labels have frequencies by Zipf's law, three labels per text, and a tree over labels in random order.
Views are random; biases are initialized from the label frequencies, as at the end of training, and weights are
drawn such that logits have a standard deviation of one.

All implementations take turns within each round, so that other load on the machine slows all of them equally;
ratios are those of medians. Memory is the peak resident size of a separate process, minus its size after imports
and a step on a few labels.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import record
import torch
from cascade_ways import WAYS, Step, batches, head_of

from megalabel.heads.cascade import CascadeHead
from megalabel.labels.cluster import choose_depths


def made(way: str, n_labels: int, options: argparse.Namespace) -> tuple[Step, CascadeHead]:
    depths = depths_of(n_labels, options)
    beams = options.beams * len(depths) if len(options.beams) == 1 else options.beams
    head = head_of(n_labels, options.dim, beams, depths)
    data = batches(options.texts, head.n_views, n_labels, options.dim)
    return WAYS[way](head, data, options.optimizer), head


def depths_of(n_labels: int, options: argparse.Namespace) -> tuple[int, ...]:
    depths = choose_depths(n_labels)
    return tuple(depths[-1] - 3 * i for i in reversed(range(options.levels))) if options.levels else depths


def peak_of_this_process() -> float:
    """MB (10^6 bytes)."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def memory_here(way: str, n_labels: int, options: argparse.Namespace) -> None:
    """Prints the peak of three steps above a baseline; runs in a separate process."""
    small = argparse.Namespace(**{**vars(options), "levels": 2, "beams": [4]})
    made(way, 512, small)[0]()
    before = peak_of_this_process()
    step, _ = made(way, n_labels, options)
    for _ in range(3):
        step()
    print(peak_of_this_process() - before)


def memory(way: str, n_labels: int, options: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--memory-of", way, "--labels", str(n_labels)]
    for name in ("dim", "texts", "optimizer", "beams", "levels"):
        value = getattr(options, name)
        values = value if isinstance(value, list) else [value]
        if values:
            command += [f"--{name}", *map(str, values)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def stated(head: CascadeHead, optimizer: str, pairs: int) -> float:
    """MB of tables, moments and the buffers stated in the docstring of the head, for a number of pairs."""
    tables = sum(n * (head.dim + 1) * 4 for n in head.sizes)
    kept = (2 * tables + 4 * sum(head.sizes)) if optimizer == "adamw" else 0
    tree = 8 * (sum(head.sizes[:-1]) + head.n_labels)
    return (tables + kept + tree + 12 * pairs) / 1e6


def touched(head: CascadeHead, options: argparse.Namespace) -> tuple[int, int]:
    """The number of pairs of text and candidate in one step, and of distinct rows among them."""
    x, positives = batches(options.texts, head.n_views, head.n_labels, options.dim)[0]
    head.row_gradients, before = [[] for _ in head.sizes], head.row_gradients
    head.loss(x, positives)
    found = [gradient.candidates for level in head.row_gradients for gradient in level]
    head.row_gradients = before
    return sum(c.n_cells for c in found), sum(len(c.rows_of_cells().unique()) for c in found)


def timed(steps: dict[tuple[str, int], Step], rounds: int) -> dict[tuple[str, int], float]:
    """Median seconds of a step of each implementation, measured in alternation."""
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in steps}
    for step in steps.values():
        step()
        step()
    for _ in range(rounds):
        for key, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[key].append(time.perf_counter() - start)
    return {key: statistics.median(values) for key, values in seconds.items()}


def report(options: argparse.Namespace) -> None:
    keys = [(way, n) for n in options.labels for way in WAYS if way == "ours" or n <= options.usual_up_to]
    peaks = {(way, n): memory(way, n, options) for way, n in keys}
    built = {(way, n): made(way, n, options) for way, n in keys}
    taken = timed({key: step for key, (step, _) in built.items()}, options.rounds)
    print(f"{options.optimizer}, B={options.texts} D={options.dim}, {torch.get_num_threads()} threads")
    for way, n in keys:
        head, step, peak = built[way, n][1], taken[way, n], peaks[way, n]
        facts = {"step": (step * 1e3, "ms"), "peak memory": (peak, "MB")}
        if way == "ours":
            facts |= ours_in_detail(head, step, peak, options)
            facts["of the smallest"] = step / taken["ours", options.labels[0]], f"times L={options.labels[0]}"
        else:
            facts["speed-up"] = step / taken["ours", n], "usual over ours"
            facts["memory share"] = peaks["ours", n] / peak, "ours of usual"
        beams = ",".join(map(str, head.beams))
        size = f"L={n} B={options.texts} D={options.dim} {options.optimizer} beams={beams}"
        print(f"{way:6} {head.sizes} {beams}: " + "  ".join(f"{k} {v:.4g} {u}" for k, (v, u) in facts.items()))
        if not options.no_record:
            for metric, (value, unit) in facts.items():
                record.row("cascade", size, f"{way}: {metric}", value, unit)


def ours_in_detail(
    head: CascadeHead, step: float, peak: float, options: argparse.Namespace
) -> dict[str, tuple[float, str]]:
    pairs, rows = touched(head, options)
    moments = 2 if options.optimizer == "adamw" else 0
    traffic = rows * 4 * options.dim * (1 + 2 * (1 + moments))
    return {
        "peak of stated": (peak / stated(head, options.optimizer, pairs), "of tables, moments, buffers"),
        "pairs": (float(pairs), "of text and candidate"),
        "rows": (float(rows), "touched"),
        "traffic": (traffic / step / 1e9, "GB/s"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--optimizer", choices=["adamw", "sgd"], default="adamw")
    parser.add_argument("--beams", type=int, nargs="+", default=[64], help="one a level, or one for all")
    parser.add_argument("--levels", type=int, default=0, help="default: what suits the labels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--usual-up-to", type=int, default=100_000, help="labels that the usual way is run for")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--memory-of", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        memory_here(options.memory_of, options.labels[0], options)
        return
    report(options)


if __name__ == "__main__":
    main()
