"""Predicted against measured peak memory over settings that are drawn at random with a fixed seed.

    python benchmarks/planner.py [--draws 44] [--seed 0] [--narrow] [--largest N] [--only 26 37]
                                 [--measured FILE] [--default-allocator] [--no-record]

Each training runs in a process of its own as `megalabel train --memory` for two steps; each kind of recipe and
encoder is calibrated. `--narrow` draws what came later: elmo, weights in bfloat16 and float8, and row-wise
Adagrad; what is drawn without it stays the same, so that recorded rows remain valid. Data and trees are
synthetic: texts are longer than `max_length`, so that every batch has its full width, and a tree is read from a
folder, since building one depends on the words of the texts. Pages of optimizer states are written once after the
first step: a long run reaches all rows, two steps would not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import record

from megalabel.cli.calibrate import calibrate
from megalabel.planning.baseline import stack_of
from megalabel.planning.components import components_of, peak
from megalabel.planning.job import Data, Job
from megalabel.planning.levels import depths_for
from megalabel.recipes import get
from megalabel.recipes.presets import resolve

LABELS = (4_000, 146_000, 1_000_000)
STEPS = 2
THREADS = 2
ENCODERS = ("bag", "bag", "small", "minilm")
COMMON = {"epochs": 1, "validation_fraction": 0.0, "label_texts": "no", "log_every": 1, "precision": "float32"}
WORDS = 300


def draw(random_: random.Random) -> tuple[str, int, dict[str, Any]]:
    """A recipe, a number of labels, and values of options."""
    recipe = random_.choice(("renee", "cascadexml", "spartex"))
    labels = random_.choice(LABELS)
    encoder = random_.choice(ENCODERS)
    light = encoder == "bag"
    values: dict[str, Any] = {
        **COMMON,
        "encoder": encoder,
        "batch_size": random_.choice((16, 64, 128) if light else (8, 16, 32)),
        "max_length": random_.choice((32, 64) if light else (16, 32, 64)),
        "accumulation_steps": random_.choice((1, 1, 2)),
    }
    if light:
        values["bigram_min_count"] = 0  # their number depends on the texts
    else:
        values["gradient_checkpointing"] = random_.choice((False, True))
    if recipe == "renee":
        values |= {"warmup": 0, "head_momentum": random_.choice((0.0, 0.9)), "bias": random_.choice((False, True))}
    elif recipe == "cascadexml":
        values |= {"warmup_epochs": 0.0, "final_epochs": 0.0, "head_optimizer": random_.choice(("adamw", "sgd"))}
        values |= {"shared_view": True}
    else:
        values |= {"warmup": 0, "prune": "none", "auxiliary": False, "fan_in": random_.choice((16, 32, 64))}
        values |= {"head_optimizer": random_.choice(("adamw", "sgd")), "group_by": "frequency"}
        values |= {"group": random_.choice((1, 32))}
    return recipe, labels, values


def draw_narrow(random_: random.Random) -> tuple[str, int, dict[str, Any]]:
    """The same of elmo, of weights of 16 and 8 bits, and of row-wise Adagrad."""
    recipe, labels, values = draw(random_)
    weights = random_.choice(("bfloat16", "float8"))
    if recipe == "spartex":
        return recipe, labels, {**values, "weights": weights, "head_optimizer": "adagrad"}
    if recipe == "cascadexml":
        return recipe, labels, {**values, "weights": weights, "head_optimizer": random_.choice(("sgd", "adagrad"))}
    if random_.random() < 0.5:
        values.pop("head_momentum")
        return "elmo", labels, {**values, "weights": weights}
    values |= {"weights": weights, "compensated_fraction": random_.choice((0.0, 0.1))}
    return recipe, labels, {**values, "momentum_dtype": random_.choice(("float32", "bfloat16"))}


def write_data(folder: Path, labels: int, texts: int) -> Data:
    """Writes texts of 160 words and names of labels; returns their sizes."""
    random_ = random.Random(labels)
    words = ["".join(random_.choice("abcdefgh") for _ in range(4)) for _ in range(WORDS)]
    folder.mkdir()
    with open(folder / "Y.txt", "w", encoding="utf-8") as file:
        names = [f"{words[i % WORDS]} {words[i * 7 % WORDS]} {i}" for i in range(labels)]
        file.write("\n".join(names) + "\n")
    n_bytes = pairs = 0
    for side, n in (("trn", texts), ("tst", 1)):
        with open(folder / f"{side}.json", "w", encoding="utf-8") as file:
            for _ in range(n):
                text = " ".join(random_.choice(words) for _ in range(160))
                found = sorted({random_.randrange(labels) for _ in range(5)})
                file.write(json.dumps({"title": text, "content": "", "target_ind": found}) + "\n")
                if side == "trn":
                    n_bytes, pairs = n_bytes + len(text), pairs + len(found)
    return Data(labels, texts, n_bytes, sum(map(len, names)), pairs)


def one(arguments: list[str]) -> None:
    """Trains by the command line, and writes to the optimizer states once."""
    from megalabel.cli.main import main
    from megalabel.training import loop

    step = loop.train_step

    def touching(recipe: Any, batch: Any, *rest: Any, **more: Any) -> float:
        loss = step(recipe, batch, *rest, **more)
        if batch.step == 0:
            for tensor in recipe.optimizers.tensors():
                tensor.add_(0)
        return loss

    loop.train_step = touching
    sys.argv = ["megalabel", *arguments]
    main()


def tree_for(labels: int, folder: Path) -> str:
    """The folder of a label tree of the usual depths."""
    path = folder / f"tree-{labels}"
    if not path.exists():
        code = (
            "import sys, itertools, numpy as np; from megalabel.labels.tree import LabelTree; "
            "s = [int(n) for n in sys.argv[2].split(',')]; LabelTree.from_parents([np.arange(b) * a // b "
            "for a, b in itertools.pairwise(s)]).save(sys.argv[1])"
        )
        sizes = ",".join(str(n) for n in (*(2**d for d in depths_for(labels)), labels))
        subprocess.run([sys.executable, "-c", code, str(path), sizes], check=True)
    return str(path)


def measured(recipe: str, data: Path, values: dict[str, Any], out: Path, planned: bool) -> float:
    """The peak of a training in bytes."""
    arguments = ["train", recipe, str(data), "--out", str(out), "--quiet", "--device", "cpu"]
    arguments += ["--threads", str(THREADS), "--name", "synthetic", *(["--memory", "1TiB"] if planned else [])]
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        arguments += [flag if value else f"--no-{flag[2:]}"] if isinstance(value, bool) else [flag, str(value)]
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{recipe} {values}: {done.stderr[-2000:]}")
    facts = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    return 1e6 * float(facts["finished"]["peak_mb"])


def own_of(values: dict[str, Any]) -> str:
    """The values of a setting that are not those of all settings."""
    own = {k: v for k, v in values.items() if k not in (*COMMON, "tree", "bigram_min_count") and "warmup" not in k}
    return " ".join(f"{k}={v}" for k, v in own.items())


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one")
    parser.add_argument("--draws", type=int, default=44)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--largest", type=int, default=max(LABELS), help="settings with more labels are left out")
    parser.add_argument("--default-allocator", action="store_true")
    parser.add_argument(
        "--measured", help="a file of JSON lines with peaks and bases, used where it has them, and appended to"
    )
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the draws to measure, in their order")
    parser.add_argument("--no-record", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Draws, predicts, measures and records."""
    given = arguments()
    if given.one:
        return one(json.loads(given.one))
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    known, bases = {}, {}
    if given.measured and Path(given.measured).exists():
        lines = Path(given.measured).read_text(encoding="utf-8").splitlines()
        known = {facts["size"]: facts["measured"] for facts in map(json.loads, lines)}
        bases = {facts["stack"]: facts["base"] for facts in map(json.loads, lines)}
    random_, ratios = random.Random(given.seed), []
    with tempfile.TemporaryDirectory() as name:
        os.environ["MEGALABEL_CACHE"] = f"{name}/cache"
        drawn = [(draw_narrow if given.narrow else draw)(random_) for _ in range(given.draws)]
        for number in range(given.draws) if given.only is None else given.only:
            recipe, labels, values = drawn[number]
            if labels > given.largest:
                continue
            folder = Path(name) / str(number)
            data = write_data(folder, labels, STEPS * values["batch_size"])
            if recipe == "cascadexml":
                values["tree"] = tree_for(labels, Path(name))
            options = resolve(get(recipe), "synthetic", values).options
            job = Job.of(recipe, options.values(), data, THREADS)
            stack = stack_of(job)
            which = f"narrow {given.seed}/{number}" if given.narrow else str(number)
            size = f"{which}: {recipe} L={labels} {own_of(values)}"
            found = known.get(size) or measured(
                recipe, folder, values, folder / "run", not given.default_allocator
            )
            if stack not in bases:
                bases[stack] = calibrate(job, timed=False).base
            predicted = peak(components_of(job, bases[stack]))
            ratios.append(predicted / found)
            print(f"{ratios[-1]:.3f} {predicted / 1e6:7.0f} {found / 1e6:7.0f} {size}", flush=True)
            if given.measured:
                facts = {"size": size, "stack": stack, "base": bases[stack], "measured": found}
                with open(given.measured, "a", encoding="utf-8") as file:
                    file.write(json.dumps(facts) + "\n")
            if not given.no_record:
                metric = "default allocator, " if given.default_allocator else ""
                record.row("planner", size, metric + "predicted peak", predicted / 1e6, "MB")
                record.row("planner", size, metric + "measured peak", found / 1e6, "MB")
                record.row("planner", size, metric + "predicted / measured", ratios[-1], "")
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    within = sum(error <= 0.03 for error in errors) / len(errors)
    print(f"{len(ratios)} settings: median error {statistics.median(errors):.1%}, largest {errors[-1]:.1%}, "
          f"within 3%: {within:.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
