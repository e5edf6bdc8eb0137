"""Loads models and predicts in child processes: `python forking.py WAYS MODEL...` prints a line for each.

WAYS are separated by commas: "loaded" (fork after loading, which has to be the first), "used" (fork after a
prediction in the parent), "pool" (multiprocessing with fork), "twice" (a child of a child), or "spawn"
(multiprocessing with spawn). The parent uses two threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

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


def answer_in(way: str, folder: str, spawned: Any) -> str:
    """The result of a child in short form, or how the child ended."""
    model = MODELS[folder]
    if way == "spawn":
        return str(hash(str(spawned.apply_async(ask, (folder,)).get(PATIENCE))))
    if way != "loaded":
        answer(model)
    if way == "pool":
        with multiprocessing.get_context("fork").Pool(1) as pool:
            return str(hash(str(pool.apply_async(ask, (folder,)).get(PATIENCE))))
    return in_child(lambda: answer_of_child(model) if way == "twice" else answer(model))


def main(ways: list[str], folders: list[str]) -> None:
    torch.set_num_threads(2)
    spawned = multiprocessing.get_context("spawn").Pool(1) if "spawn" in ways else None
    MODELS.update({folder: megalabel.load(folder) for folder in folders})
    for way in ways:
        found = {folder: answer_in(way, folder, spawned) for folder in folders}
        for folder, one in found.items():
            print(way, folder, one == str(hash(str(answer(MODELS[folder])))))
    if spawned is not None:
        spawned.terminate()


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2:])
