"""Fuzzes the readers with mutated data sets of every format.

`faults` opens each data set in a forked process with bounded memory and time. A fault is an exception that is not
one of megalabel's, a hang, a process that died, a finding of `check` that disagrees with opening, or a lost row:
the texts of accepted data sets are compared with those of another parser.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import resource
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support.reader_inputs import Input, mutated, valid

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError

MEMORY_BYTES = 2 << 30
SECONDS = 20
BATCH = 100  # inputs per process


class Fault(NamedTuple):
    """An input that was not handled correctly."""

    format: str
    seed: int
    what: str


class Report(NamedTuple):
    """The results for all inputs."""

    read: Counter[str]
    refused: Counter[str]
    faults: list[Fault]


def faults(seeds: range) -> Report:
    """Opens the inputs of these seeds, in processes of `BATCH` each."""
    base, read, refused, found = valid(), Counter[str](), Counter[str](), list[Fault]()
    for first in range(seeds.start, seeds.stop, BATCH):
        part = range(first, min(first + BATCH, seeds.stop))
        done = -1
        for line in _in_child(base, part):
            fate = json.loads(line)
            done = max(done, fate["seed"])
            counter = read if fate["read"] else refused
            counter[fate["format"]] += 1
            if fate["fault"]:
                found.append(Fault(fate["format"], fate["seed"], fate["fault"]))
        if done != part[-1]:
            stopped = max(done + 1, first)
            found.append(Fault(mutated(base, stopped).format, stopped, "the process died"))
    return Report(read, refused, found)


def _in_child(base: dict[str, dict[str, bytes]], seeds: range) -> Iterator[bytes]:
    """The result for each input, one JSON object per line, from a process with bounded memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _bound_memory()
            with os.fdopen(writing, "wb") as out:
                for seed in seeds:
                    out.write(json.dumps(_fate(mutated(base, seed))).encode() + b"\n")
                    out.flush()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        yield from lines
    os.waitpid(child, 0)


def _bound_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))


def _fate(given: Input) -> dict[str, object]:
    folder = Path(tempfile.mkdtemp(prefix="megalabel-fuzz-"))
    read, fault = False, ""

    def stop(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        for name, data in given.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        fault, read = _opened(folder, given.format)
        if not fault and check(folder).ok != read:
            fault = f"check says {'error' if read else 'no error'}, opening says otherwise"
    except BaseException:
        fault = traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
        shutil.rmtree(folder, ignore_errors=True)
    return {"format": given.format, "seed": given.seed, "read": read, "fault": fault}


def _opened(folder: Path, format: str) -> tuple[str, bool]:
    """What is wrong with how the data set is opened, "" for nothing; and whether it was read."""
    try:
        corpus = Corpus.open(folder)
    except MegalabelError as error:
        if isinstance(error.__cause__, MemoryError):
            return f"memory: {error}", False
        return ("" if str(error) else "an error without a message"), False
    for split, names in ((corpus.train, TRAIN), (corpus.test, TEST)):
        file = next((folder / n for name in names for n in (name, f"{name}.gz") if (folder / n).exists()), None)
        if split is None or file is None or format in OTHER_SYSTEMS:
            continue
        theirs = texts_of(file)
        if len(theirs) != len(split) or (split.features is None and theirs != list(split.texts)):
            return f"{file.name}: {len(theirs)} rows by another parser, {len(split)} read", True
    return "", True


TRAIN = (
    "trn_X.txt",
    "trn.json",
    "train.jsonl",
    "train.json",
    "train.csv",
    "train.parquet",
    "train.tsv",
    "train.txt",
)
TEST = ("tst_X.txt", "test.jsonl")
# Formats without another parser here: errors, memory, time and agreement with `check` alone are compared.
OTHER_SYSTEMS = {
    "cascadexml", "spartex", "fasttext", "libmultilabel", "annif-jsonl", "articles", "key-files", "two-file",
    "pecos", "pecos-bag",
}  # fmt: skip


def texts_of(file: Path) -> list[str]:
    """The texts of a file, read without megalabel; for a bag of words, its rows."""
    name = file.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pyarrow.parquet as pq

        return list(pq.read_table(file).column("text").to_pylist())
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    text = data.decode("utf-8-sig")
    if name.endswith(".csv"):
        csv.field_size_limit(1 << 28)
        table = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        at = [cell.strip().casefold() for cell in table[0]].index("text")
        return [row[at] for row in table[1:]]
    if name in ("train.jsonl", "test.jsonl", "train.json", "trn.json"):
        return [_json_text(value) for value in _json_values(text)]
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    if name == "train.tsv":
        return [line.split("\t")[0] for line in lines if line.strip() or "\t" in line]
    return lines[1:] if name == "train.txt" else lines


def _json_values(text: str) -> list[dict[str, object]]:
    try:
        whole = json.loads(text)
    except ValueError:
        decoder, at, values = json.JSONDecoder(), 0, []
        while at < len(text):
            if text[at].isspace():
                at += 1
            else:
                value, at = decoder.raw_decode(text, at)
                values.append(value)
        return values
    return whole if isinstance(whole, list) else [whole]


def _json_text(value: dict[str, object]) -> str:
    if "text" in value:
        return str(value["text"])
    return " ".join(f"{value.get('title') or ''} {value.get('content') or ''}".split())
