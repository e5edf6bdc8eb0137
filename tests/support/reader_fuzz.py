"""Mutated data sets of every format: what opening them must never do, and what it must read.

`faults` opens each in a forked process with bounded memory and time. A fault is an exception that is none of
megalabel's, a hang, a process that died, a finding of `check` that disagrees with opening, or a row that was lost:
the texts of what was accepted are compared with those of another parser.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError

MEMORY_BYTES = 2 << 30
SECONDS = 20
BATCH = 100  # inputs per process

TEXTS = ["a cat", "two\tdogs", "drei Vögel", "ein Fisch, naß", "日本の馬", "x"]
ROWS = [["animals", "pets"], ["animals"], [], ["birds"], ["animals", "farm animals"], ["pets"]]
NAMES = ["animals", "pets", "birds", "farm animals"]
PIECES = [
    b"9" * 5000, b"[" * 3000, b"{" * 50, b'"', b"'", b"\\", b"\\ud800", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\r\n",
    b"\n\n\n", b"\t", b"|", b";", b", ", b"[]", b"{}", b"null", b"NaN", b"-1", b"1e999", b"99999999999", b"2147483647", b"700123",
    b"0", b"1", b":", b":1", b":1.0", b":1." + b"0" * 500, b"\xc3", b"\xe2\x80\xa8", b"\x1f\x8b", b"PK\x03\x04", b"<u:1>", b"true",
    b'["a"]', b"{'a', 'b'}", b"np.str_('a')", b'{"text":"q","labels":[]}', b"3 4 5\n", b"[0, 1, 0]", b"...",
]  # fmt: skip


class Input(NamedTuple):
    """A data set to open: its files by name, what made it, and which of them is mutated."""

    format: str
    seed: int
    files: dict[str, bytes]


class Fault(NamedTuple):
    """An input that was not handled as it must be."""

    format: str
    seed: int
    what: str


class Report(NamedTuple):
    """What became of all inputs."""

    read: Counter[str]
    refused: Counter[str]
    faults: list[Fault]


def _lines(rows: list[object]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _csv(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([["text", "labels"], *zip(TEXTS, cells, strict=True)])
    return out.getvalue().encode()


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS, "labels": ROWS}), out, compression="none")
    return out.getvalue()


def valid() -> dict[str, dict[str, bytes]]:
    """A small valid data set of each format, as its files."""
    ids = [[NAMES.index(name) for name in row] for row in ROWS]
    records = [{"text": text, "labels": row} for text, row in zip(TEXTS, ROWS, strict=True)]
    numbered = [{"text": text, "labels": row} for text, row in zip(TEXTS, ids, strict=True)]
    flags = [{"text": t, "labels": [int(i in row) for i in range(4)]} for t, row in zip(TEXTS, ids, strict=True)]
    titles = [{"title": t, "content": "c", "target_ind": row} for t, row in zip(TEXTS, ids, strict=True)]
    plain, names = "".join(t + "\n" for t in TEXTS).encode(), "".join(n + "\n" for n in NAMES).encode()
    rows = "".join(" ".join(f"{i}:1.0" for i in row) + "\n" for row in ids).encode()
    return {
        "raw": {"trn_X.txt": plain, "trn_X_Y.txt": b"6 4\n" + rows, "Y.txt": names},
        "raw without names": {"trn_X.txt": plain, "trn_X_Y.txt": rows.replace(b":1.0", b""), "tst_X.txt": b"t\n",
                              "tst_X_Y.txt": b"0 9\n"},
        "lf-json": {"trn.json": _lines(list(titles)), "lbl.json": _lines([{"title": name} for name in NAMES])},
        "jsonl": {"train.jsonl": _lines(list(records)), "test.jsonl": _lines(list(records[:2]))},
        "jsonl of ids": {"train.jsonl": _lines(list(numbered)), "labels.txt": names},
        "jsonl of flags": {"train.jsonl": _lines(list(flags))},
        "json document": {"train.json": json.dumps(records, indent=1).encode()},
        "csv": {"train.csv": _csv(["|".join(row) for row in ROWS])},
        "csv with commas": {"train.csv": _csv([", ".join(row) for row in ROWS]), "labels.txt": names},
        "csv of lists": {"train.csv": _csv([str(row) for row in ROWS])},
        "parquet": {"train.parquet": _parquet()},
        "annif": {
            "train.tsv": "".join(f"{t.replace(chr(9), ' ')}\t{' '.join(f'<u:{i}>' for i in row)}\n"
                                 for t, row in zip(TEXTS, ids, strict=True)).encode(),
            "vocab.tsv": "".join(f"<u:{i}>\t{name}\n" for i, name in enumerate(NAMES)).encode(),
        },
        "xmlrepo": {"train.txt": b"6 9 4\n" + b"".join(
            ",".join(map(str, row)).encode() + b" 0:0.5 8:1e-2\n" for row in ids)},
    }  # fmt: skip


def mutated(base: dict[str, dict[str, bytes]], seed: int) -> Input:
    """A valid data set with one to four mutations of one of its files."""
    rng = random.Random(seed)
    format = rng.choice(sorted(base))
    files = dict(base[format])
    name = rng.choice(sorted(files))
    data = files[name]
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = _mutation(data, rng)
    if not name.endswith(".parquet") and rng.random() < 0.1:
        del files[name]
        name, data = f"{name}.gz", gzip.compress(data, mtime=0)
        if rng.random() < 0.5:
            data = _mutation(data, rng)
    files[name] = data
    return Input(format, seed, files)


def _mutation(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    stop = min(len(data), at + rng.choice((1, 1, 3, 20, 200)))
    kind = rng.randrange(8)
    lines = data.split(b"\n")
    if kind == 0:
        return data[:at] + rng.choice(PIECES) + data[at:]
    if kind == 1:
        return data[:at] + rng.choice(PIECES) + data[stop:]
    if kind == 2:
        return data[:at] + data[stop:]
    if kind == 3:
        return data[:at] + data[at:stop] * rng.choice((2, 2, 50)) + data[stop:]
    if kind == 4:
        return data[:at]
    if kind == 5:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 6:
        lines[rng.randrange(len(lines))] = rng.choice(lines)
    else:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(PIECES))
    return b"\n".join(lines)


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
    """The fate of each input, one JSON object per line, from a process with bounded memory."""
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
            (folder / name).write_bytes(data)
        fault, read = _opened(folder)
        if not fault and check(folder).ok != read:
            fault = f"check says {'error' if read else 'no error'}, opening says otherwise"
    except BaseException:
        fault = traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
        shutil.rmtree(folder, ignore_errors=True)
    return {"format": given.format, "seed": given.seed, "read": read, "fault": fault}


def _opened(folder: Path) -> tuple[str, bool]:
    """What is wrong with how the data set is opened, "" for nothing; and whether it was read."""
    try:
        corpus = Corpus.open(folder)
    except MegalabelError as error:
        if isinstance(error.__cause__, MemoryError):
            return f"memory: {error}", False
        return ("" if str(error) else "an error without a message"), False
    for split, names in ((corpus.train, TRAIN), (corpus.test, TEST)):
        file = next((folder / n for name in names for n in (name, f"{name}.gz") if (folder / n).exists()), None)
        if split is None or file is None:
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


def texts_of(file: Path) -> list[str]:
    """The texts of a file, read without megalabel; of a bag of words, its rows."""
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
    return " ".join(f"{value['title']} {value.get('content') or ''}".split())
