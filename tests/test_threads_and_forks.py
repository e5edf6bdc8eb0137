"""One model asked by many threads, by tasks of asyncio, and by children of the process that loaded it."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from untrained import untrained

import megalabel

WRITTEN = Path(__file__).parent / "data" / "v0.1.0"
MODELS = ("renee", "cascadexml", "spartex", "spartex-dealt", "linear", "hybrid", "ensemble", "bert", "bert-frozen")
SHORT = [f"w{i}a w{i + 1}b noise{i % 9}" for i in range(20)]
LONG = [" ".join(SHORT[i:] + SHORT) for i in range(5)]  # of more tokens than any of the models reads
FORKING = Path(__file__).parent / "support" / "forking.py"


@pytest.fixture(params=MODELS)
def model(request):
    return megalabel.load(WRITTEN / request.param / "run")


def test_many_threads_get_the_answers_that_one_gets(model):
    texts = SHORT + LONG
    right = model.topk(texts, 3)

    def ask(i: int) -> bool:
        some = np.arange(len(texts)) % 4 != i % 4  # not always the same texts
        found = model.topk([text for text, asked in zip(texts, some, strict=True) if asked], 3)
        return bool((found.ids == right.ids[some]).all() and (found.scores == right.scores[some]).all())

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(24)))


def test_tasks_of_asyncio_get_the_answers_that_one_gets(model):
    right = [model.predict([text], 2) for text in LONG]

    async def all_at_once() -> list:
        return await asyncio.gather(*(asyncio.to_thread(model.predict, [text], 2) for text in LONG * 3))

    assert asyncio.run(all_at_once()) == right * 3


def test_threads_with_models_of_other_lengths_share_a_tokenizer():
    one = untrained(["a", "b", "c"])
    tokenizer, texts = one.encoder.tokenizer, ["a b c d " * n for n in (1, 3, 9)]
    right = {length: tokenizer.encode(texts, length) for length in range(1, 12)}
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: tokenizer.encode(texts, 1 + i % 11) == right[1 + i % 11], range(300)))
    assert all(found)
    assert len(right[11][2]) == 11


def test_threads_that_ask_a_model_in_training_get_no_dropout():
    model = untrained(["a", "b", "c", "d"])
    model.encoder.dropout.p = 0.5
    model.encoder.train()
    right = model.topk(["a b", "c"], 2).scores
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: model.topk(["a b", "c"], 2).scores, range(60)))
    assert all((scores == right).all() for scores in found)
    assert model.encoder.training


def test_a_model_that_was_used_can_be_copied_and_pickled(model):
    right = model.topk(LONG, 2)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other.topk(LONG, 2).ids == right.ids).all()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("ways", ["loaded,used,pool,twice", "spawn"])
def test_children_answer(ways):
    """In a process with two threads: OpenMP's threads do not survive a fork, and torch waited for them."""
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    folders = [str(WRITTEN / name / "run") for name in MODELS]
    done = subprocess.run(
        [sys.executable, str(FORKING), ways, *folders], env=env, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr
    wanted = [f"{way} {folder} True" for way in ways.split(",") for folder in folders]
    assert done.stdout.splitlines() == wanted, done.stdout
