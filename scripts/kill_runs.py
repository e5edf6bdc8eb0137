"""Kills trainings at random moments, lets them go on, and compares the models with those of undisturbed runs.

    python scripts/kill_runs.py --n 200 --seed 0

Each trial trains one of the stepped recipes in a process of its own, ends it by SIGKILL, SIGTERM or SIGINT, at a
random time or at a random access to the run folder, and gives the same command again; in every fifth trial that is
killed, too. Right is a model whose files are, byte for byte, those of the run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from planted import planted

import megalabel
from megalabel.recipes import get

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SHORT = dict(tokenizer="words", max_length=16, batch_size=40, log_every=2)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "renee, bag, momentum, micro-batches, validation": ("renee", dict(
        SHORT, encoder="bag", epochs=3, warmup=0.1, dropout=0.3, head_lr=0.02, head_momentum=0.9, bias=True,
        accumulation_steps=2, bigram_min_count=2, validation_fraction=0.1, max_grad_norm=1.0,
    )),
    "renee, small transformer, AdamW": ("renee", dict(
        SHORT, encoder="small", epochs=2, warmup=0.1, head_optimizer="adamw", validation_fraction=0.0,
        token_dropout=0.1,
    )),
    "cascadexml, Adam of rows, validation": ("cascadexml", dict(
        SHORT, encoder="bag", clusters=[4, 16], beams=[2, 6], level_dropout=[0.2, 0.3, 0.3], epochs=5,
        final_epochs=1, accumulation_steps=2, validation_fraction=0.1,
    )),
    "cascadexml, SGD of rows": ("cascadexml", dict(
        SHORT, encoder="bag", clusters=[8], beams=[3], level_dropout=[0.3, 0.3], schedule="cosine", epochs=3,
        warmup_epochs=0.5, validation_fraction=0.0, head_optimizer="sgd", reduction="sum", bias_from_prior=True,
    )),
    "spartex, rewired by gradient, auxiliary": ("spartex", dict(
        SHORT, encoder="bag", epochs=3, warmup=0.1, fan_in=16, prune="fraction", prune_fraction=0.3,
        rewire_every=4, regrow="gradient", auxiliary=True, auxiliary_epochs=1.5, validation_fraction=0.1,
    )),
    "spartex, groups, dense labels, projection": ("spartex", dict(
        SHORT, encoder="bag", epochs=3, warmup=0.1, fan_in=24, init_connections="texts", group=16,
        dense_fraction=0.1, rewire_every=3, auxiliary=False, loss="bce", head_optimizer="sgd", projection_dim=64,
        validation_fraction=0.0,
    )),
    "lightxml": ("lightxml", dict(SHORT, encoder="bag", epochs=3, validation_fraction=0.1)),
    "dexml, hard negatives": ("dexml", dict(
        SHORT, encoder="bag", epochs=4, negatives=20, hard_negatives=3, refresh_every=2, validation_fraction=0.1,
    )),
    "ngame, mined batches, gradient cache": ("ngame", dict(
        SHORT, encoder="bag", epochs=5, doublings=[1, 2, 3], refresh_every=2, accumulation_steps=2, warmup=0.1,
        validate_epochs=1.0, validation_fraction=0.1,
    )),
    "ngame, clusters from the start, softmax": ("ngame", dict(
        SHORT, encoder="bag", epochs=4, loss="softmax", cluster_size=4, doublings=[2], refresh_every=1, warmup=0.1,
        dropout=0.2, token_dropout=0.1, validation_fraction=0.0,
    )),
}  # fmt: skip

DATA = planted()


def train(case: str, out: Path, checkpoint_steps: int) -> None:
    """The run of a case, from wherever it stands."""
    name, arguments = CASES[case]
    torch.set_num_threads(1)
    megalabel.train(get(name)(DATA, **arguments), out, device="cpu", checkpoint_steps=checkpoint_steps, quiet=True)


def in_child(case: str, out: Path, every: int, number: int = 0, after: float = 0.0, accesses: int = 0) -> str:
    """Trains in a child and kills it `after` seconds or at an access to `out`; how it ended.

    Returns:
        "done", "killed", or the traceback of an error.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        for asked in SIGNALS[1:]:
            signal.signal(asked, signal.default_int_handler if asked == signal.SIGINT else signal.SIG_DFL)
        left = [accesses]

        def hook(event: str, values: tuple[Any, ...]) -> None:
            if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"):
                if left[0] and str(values[0]).startswith(str(out)):
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), number)

        try:
            if accesses:
                sys.addaudithook(hook)
            train(case, out, every)
            os.write(writing, b"done")
        except (KeyboardInterrupt, SystemExit):
            os.write(writing, b"killed")
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-4000:])
        os._exit(0)
    os.close(writing)
    if number and not accesses:
        time.sleep(after)
        os.kill(child, number)
    with open(reading, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said or "killed"


def content(folder: Path) -> dict[str, str]:
    """The hash of each file of a finished run's model."""
    files = (path for path in (folder / "model").rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def kill(n: int, seed: int, work: Path, say: Any = print) -> tuple[collections.Counter[str], list[str]]:
    """Makes `n` trials; how many of each kind there were, and a line for each that went wrong."""
    whole: dict[str, dict[str, str]] = {}
    seconds: dict[str, float] = {}
    counts, wrong = collections.Counter[str](), []
    for case in list(CASES)[:n]:
        train(case, work / "whole", 10**9)  # here, so that the children find everything compiled and imported
        whole[case] = content(work / "whole")
        shutil.rmtree(work / "whole")
        begun = time.monotonic()
        if in_child(case, work / "whole", 10**9) != "done" or content(work / "whole") != whole[case]:
            wrong.append(f"{case}: two undisturbed runs differ")
        seconds[case] = time.monotonic() - begun
        shutil.rmtree(work / "whole")
    for i in range(n):
        rng = random.Random(f"{seed} {i}")
        case, out = list(CASES)[i % len(CASES)], work / f"trial{i}"
        every = rng.choice([1, 3, 10**9])  # steps between checkpoints; with the last only signals make one
        history = []
        for _ in range(2 if i % 5 == 0 else 1):
            number = rng.choice(SIGNALS)
            by_time = rng.random() < 0.5
            after, accesses = rng.uniform(0, seconds[case]), 0 if by_time else rng.randrange(1, 120)
            said = in_child(case, out, every, number, after, accesses)
            history.append(
                f"{number.name} {f'after {after:.2f} s' if by_time else f'at access {accesses}'}: {said}"
            )
            counts[f"{number.name} {said if said in ('done', 'killed') else 'wrong'}"] += 1
        ended = in_child(case, out, every)
        left = sorted(
            p.name for p in out.iterdir() if p.name.startswith(".") or p.name in ("last", "first", "cache")
        )
        if ended != "done" or content(out) != whole[case] or left or "Traceback" in "".join(history):
            wrong.append(f"trial {i}, {case}: {history}, then {ended}; left behind: {left}")
        counts["trials"] += 1
        shutil.rmtree(out)
        if i % 20 == 19:
            say(f"{i + 1} trials, {len(wrong)} wrong")
    return counts, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        counts, wrong = kill(given.n, given.seed, Path(work))
    print(*wrong, sep="\n")
    print(", ".join(f"{kind}: {count}" for kind, count in sorted(counts.items())))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
