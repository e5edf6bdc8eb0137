"""Loads models and predicts in child processes: `python forking.py WAY MODEL...` prints a line for each.

WAY is "loaded" (fork after loading), "used" (fork after a prediction in the parent), "pool" (multiprocessing with
fork), "spawn" (with spawn), or "twice" (a child of a child). The parent uses two threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable

import torch

import megalabel

TEXTS = [f"w{i}a w{i + 1}b noise{i % 9} a text of some words" for i in range(300)]
PATIENCE = 300  # seconds after which a child is considered to hang


def answer(model: megalabel.Classifier) -> list[list[int]]:
    return model.topk(TEXTS, 3).ids.tolist()


def ask(folder: str) -> list[list[int]]:
    return answer(MODELS[folder] if folder in MODELS else megalabel.load(folder))


def in_child(work: Callable[[], list[list[int]]]) -> str:
    """The result of `work` in a forked child in short form, or how the child ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        os.write(writing, str(hash(str(work()))).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        found = file.read().decode()
    return found if os.waitpid(child, 0)[1] == 0 else "no answer"


def answer_of_child(model: megalabel.Classifier) -> list[list[int]]:
    return answer(model) if in_child(lambda: answer(model)) != "no answer" else []


MODELS: dict[str, megalabel.Classifier] = {}


def main(way: str, folders: list[str]) -> None:
    torch.set_num_threads(2)
    spawned = multiprocessing.get_context("spawn").Pool(1) if way == "spawn" else None
    for folder in folders:
        model = MODELS[folder] = megalabel.load(folder)
        if way in ("used", "pool", "twice"):
            answer(model)
        if spawned is not None:
            found = str(hash(str(spawned.apply_async(ask, (folder,)).get(PATIENCE))))
        elif way == "pool":
            with multiprocessing.get_context("fork").Pool(1) as pool:
                found = str(hash(str(pool.apply_async(ask, (folder,)).get(PATIENCE))))
        elif way == "twice":
            found = in_child(lambda model=model: answer_of_child(model))
        else:
            found = in_child(lambda model=model: answer(model))
        print(folder, found == str(hash(str(answer(model)))))
    if spawned is not None:
        spawned.terminate()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
