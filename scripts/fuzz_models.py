"""Loads damaged and hostile model and run folders, each in a process of its own, and counts what becomes of them.

    python scripts/fuzz_models.py --n 1000 --seed 0

Right is an answer, or an error of megalabel. Wrong is any other exception, a hang, a process that dies, code that
is run from the folder, a file outside of it that is opened, and a read from the standard input.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from fuzz_mutations import SECRET, mutate

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError
from megalabel.labels.tree import LabelTree
from megalabel.recipes import get
from megalabel.storage import migrate
from megalabel.training.run_folder import finished_run, held_out_rows, read_recipe

WRITTEN = Path(__file__).parents[1] / "tests" / "data" / "v0.1.0"
MODELS = ("renee", "cascadexml", "spartex", "spartex-dealt", "linear", "hybrid", "ensemble", "bert", "bert-frozen")
RUNS = ("unfinished-renee", "unfinished-spartex")
LIGHT = dict(encoder="bag", tokenizer="words", max_length=16, epochs=1, batch_size=32, validation_fraction=0.1)
TEXTS = [*Corpus.open(WRITTEN / "data").test.texts[:6], "", "a longer text " * 30]
SECONDS, MEMORY = 60, 8 << 30  # a case may take
EVIL = "from pathlib import Path\nPath({marker!r}).write_text('ran')\nclass Evil:\n    pass\n"
Outcome = collections.namedtuple("Outcome", "kind said")  # kind: answer, clear, or what went wrong


def originals(folder: Path) -> list[tuple[str, Path]]:
    """Folders to damage: those of 0.1.0, the same as they are saved today, and what came later."""
    found = [(name, WRITTEN / name / "run") for name in (*MODELS, *RUNS)]
    for name in MODELS:
        megalabel.load(WRITTEN / name / "run").save(folder / name / "model")
        found.append((f"{name} today", folder / name / "model"))
    data = Corpus.open(WRITTEN / "data")
    for name in ("lightxml", "dexml"):
        megalabel.train(get(name)(data, **LIGHT), folder / name, quiet=True)
        found.append((f"{name} today", folder / name))
    for name in ("linear", "renee"):
        larger = megalabel.load(WRITTEN / name / "run").with_labels({"one more label": TEXTS[:2]})
        larger.save(folder / f"{name}-larger")
        found.append((f"{name} with a label more", folder / f"{name}-larger"))
    shutil.copytree(WRITTEN / "tree", folder / "tree")
    LabelTree.load(folder / "tree").save(folder / "tree-today")
    return [*found, ("tree", folder / "tree"), ("tree today", folder / "tree-today")]


def use(folder: Path, name: str) -> str:
    """Does with a folder what users do; the answer in short."""
    if name.startswith("tree"):
        return str(LabelTree.load(folder).sizes)
    if name in RUNS:
        resume = json.loads((WRITTEN / name / "resume.json").read_text())
        facts = migrate.recipe_json({"recipe": resume["recipe"], "arguments": resume["arguments"]})
        held_out_rows(folder)
        recipe = get(facts["recipe"])(Corpus.open(WRITTEN / "data"), **facts["arguments"])
        model = megalabel.train(recipe, folder, device="cpu", quiet=True)
    else:
        for read in (read_recipe, finished_run, held_out_rows):
            with contextlib.suppress(MegalabelError):
                read(folder)
        model = megalabel.load(folder)
    inputs: Any = TEXTS
    labels, scores = model.topk(inputs, 5).numpy()
    model.predict(inputs, 3)
    return str(labels.tolist()) + str(np.round(scores, 3).tolist())


def watched(folder: Path, name: str, report: int, marker: Path) -> None:
    """In a child: uses the folder under limits and writes what became of it; never returns."""
    seen: list[str] = []
    secret = str(folder.parent / SECRET)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)) and os.fsdecode(arguments[0]) == secret:
            seen.append("opened a file outside")
        elif event in (
            "os.system",
            "subprocess.Popen",
            "os.exec",
            "os.posix_spawn",
            "socket.connect",
            "builtins.input",
        ):
            seen.append(f"called {event}")

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    with open(folder.parent / "stdin") as stdin, open(os.devnull, "w") as nothing:
        os.dup2(stdin.fileno(), 0)
        os.dup2(nothing.fileno(), 1), os.dup2(nothing.fileno(), 2)
        os.chdir(folder.parent)
        sys.addaudithook(hook)
        try:
            outcome = Outcome("answer", use(folder, name))
        except MegalabelError as error:
            outcome = Outcome("clear", str(error)[:300])
        except BaseException:
            outcome = Outcome("raw", traceback.format_exc()[-1500:])
        if os.lseek(0, 0, os.SEEK_CUR):
            seen.append("read the standard input")
        if marker.exists():
            seen.append("ran code of the folder")
    if seen:
        outcome = Outcome(seen[0], f"{seen} {outcome}"[:1500])
    os.write(report, json.dumps(outcome).encode()[: 1 << 16])
    os._exit(0)


def try_case(original: Path, name: str, rng: random.Random, work: Path) -> tuple[str, bool, Outcome]:
    """Damages a copy of a folder, uses it in a child, and says what was done and what came of it."""
    shutil.rmtree(work, ignore_errors=True)
    folder, marker = work / "folder", work / "ran"
    shutil.copytree(original, folder)
    (work / SECRET).write_text("secret")
    (work / "stdin").write_text("y\n" * 100)
    done, again = mutate(folder, rng)
    for place in (work, folder, folder / "model"):
        if place.is_dir():
            (place / "evil.py").write_text(EVIL.format(marker=str(marker)))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        watched(folder, name, writing, marker)
    os.close(writing)
    with open(reading, "rb") as file:
        found = file.read()
    status = os.waitpid(child, 0)[1]
    if found:
        return done, again, Outcome(*json.loads(found))
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1
    kind = (
        "hang" if number == signal.SIGALRM else f"died of {signal.Signals(number).name if number > 0 else status}"
    )
    return done, again, Outcome(kind, "")


def fuzz(n: int, seed: int, work: Path, only: str = "") -> tuple[collections.Counter[str], list[str]]:
    """Tries `n` cases; how often each outcome came, and a line for each that is wrong."""
    torch.set_num_threads(1)
    known = [pair for pair in originals(work / "originals") if only in pair[0]]
    counts, wrong = collections.Counter[str](), []
    answers = {}
    for name, folder in known:
        rng = random.Random(0)
        shutil.rmtree(work / "whole", ignore_errors=True)
        shutil.copytree(folder, work / "whole")
        answers[name] = use(work / "whole", name)
    for i in range(n):
        rng = random.Random(f"{seed} {i}")
        name, folder = known[i % len(known)]
        done, again, outcome = try_case(folder, name, rng, work / "case")
        kind = outcome.kind
        if kind == "answer" and outcome.said != answers[name]:
            kind = "other answer"
            if again:
                kind = "other answer, hashed again"
            elif "today" not in name and "manifest.json" in done:
                kind = "other answer, by a manifest of 0.1.0, which has no hash"
        counts[kind] += 1
        if kind not in ("answer", "clear") and not kind.startswith("other answer,"):
            wrong.append(f"case {i} ({name}): {done}{', hashed again' if again else ''}: {kind}\n{outcome.said}")
    return counts, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the names of the folders that are damaged")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        counts, wrong = fuzz(given.n, given.seed, Path(work), given.only)
    print(*wrong, sep="\n")
    print(", ".join(f"{kind}: {count}" for kind, count in counts.most_common()))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
