"""What all tests share: one thread, float32, a seed that is printed, a tiny tokenizer and encoder."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from support.counted import counted_if_core
from support.pairwise import parametrize
from support.ranks import Ranks, started
from support.untraced import install

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side, one a core

# How long an example takes says how busy the machine is. The fixtures of a test with examples are made once.
settings.register_profile(
    "megalabel",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("megalabel")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="run every combination of the parameters of tests marked pairwise (make test-exhaustive)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects without garbage collections, and keeps what lives to the end out of all further ones."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with counted_if_core(item):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc)


@pytest.fixture(autouse=True, scope="session")
def float32_by_default() -> Iterator[None]:
    """`--precision auto` takes float32 on every processor; tests of bfloat16 ask for it."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        if hasattr(torch.cpu, "get_capabilities"):
            known = {**torch.cpu.get_capabilities(), "amx_bf16": False, "avx512_bf16": False}
            patch.setattr(torch.cpu, "get_capabilities", lambda: known)
        yield


@pytest.fixture(autouse=True, scope="session")
def compilers_are_not_traced() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        yield


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed of this run, shown when the test fails; MEGALABEL_TEST_SEED pins it."""
    value = int(os.environ.get("MEGALABEL_TEST_SEED", random.SystemRandom().randrange(2**31)))
    request.node.add_report_section("setup", "seed", f"MEGALABEL_TEST_SEED={value}")
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command line in this process: exit status, standard output, standard error."""
    from megalabel.cli.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["megalabel", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Runs functions in several processes that exchange tensors."""
    with started(tmp_path_factory.mktemp("ranks")) as found:
        yield found


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory):
    """A folder with a BERT of 2 layers of 32 and a vocabulary of its own, as Hugging Face writes it."""
    return _bert(tmp_path_factory.mktemp("tiny-bert"), layers=2)


@pytest.fixture(scope="session")
def one_layer_bert(tmp_path_factory: pytest.TempPathFactory):
    """The same with 1 layer."""
    return _bert(tmp_path_factory.mktemp("one-layer-bert"), layers=1)


@pytest.fixture(scope="session")
def deep_bert(tmp_path_factory: pytest.TempPathFactory):
    """The same with 12 layers."""
    return _bert(tmp_path_factory.mktemp("deep-bert"), layers=12)


def _bert(folder: Path, layers: int) -> Path:
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from megalabel.inputs.tokenizer import learn_tokenizer

    words = [f"w{i}{part}" for i in range(64) for part in "ab"] + [f"noise{i}" for i in range(30)]
    tokenizer = learn_tokenizer([" ".join(words)], 1000)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder
