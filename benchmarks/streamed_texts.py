"""Measures how the memory of reading and tokenizing texts grows with their bytes.

    python benchmarks/streamed_texts.py --texts 1000000 --lengths 60,600 --formats raw,jsonl

Each case is a process of its own. Reported are the growth of the peak of its resident memory while it reads and
then while it tokenizes the texts, what it then keeps, and the CPU time of each, which other load on the machine
hardly changes. `--reading` leaves the tokens out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record

WORDS = 5000
MAX_LENGTH = 32


def main() -> None:
    """Runs the cases that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--lengths", default="60,600", help="characters of each text")
    parser.add_argument("--formats", default="raw,jsonl")
    parser.add_argument("--reading", action="store_true", help="do not tokenize")
    parser.add_argument("--way", default="", help="what is measured, for the rows; default: print only")
    parser.add_argument("--checkout", type=Path, help="the working tree that PYTHONPATH names, if not this one")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measured(Path(args.case), args.reading)))
        return
    for length in map(int, args.lengths.split(",")):
        for kind in args.formats.split(","):
            with tempfile.TemporaryDirectory() as folder:
                path = written(Path(folder) / "texts", args.texts, length, kind)
                command = [sys.executable, __file__, "--case", str(path), *["--reading"] * args.reading]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            size = f"N={args.texts} bytes={length} {kind}"
            for name, value in found.items():
                print(size, name, round(value, 2))
                if args.way:
                    metric, unit = f"{args.way}: {name}", name.split()[-1]
                    record.row("streamed_texts", size, metric, float(value), unit, checkout=args.checkout)


def written(folder: Path, n: int, length: int, kind: str) -> Path:
    """A data set of n texts of about `length` characters, with one of 1,000 labels each."""
    folder.mkdir()
    random = np.random.default_rng(0)
    words = np.array(["".join(chr(97 + i) for i in random.integers(0, 26, 5)) for _ in range(WORDS)])
    per_text, files = max(1, length // 6), []
    names = ["train.jsonl"] if kind == "jsonl" else ["trn_X.txt", "trn_X_Y.txt", "Y.txt"]
    files = [open(folder / name, "w", encoding="utf-8") for name in names]
    for row in range(n):
        text = " ".join(words[random.integers(0, WORDS, per_text)])
        if kind == "jsonl":
            files[0].write(json.dumps({"text": text, "labels": [f"name {row % 1000}"]}) + "\n")
        else:
            files[0].write(text + "\n")
            files[1].write(f"{row % 1000}:1\n")
    if kind == "raw":
        files[2].writelines(f"name {i}\n" for i in range(1000))
    for file in files:
        file.close()
    return folder


def measured(path: Path, reading_alone: bool) -> dict[str, float]:
    """Growth of the peak in MB, and seconds, of reading and tokenizing a data set, and how much stays."""
    from megalabel import Corpus
    from megalabel.encoders.start import start_tokenizer
    from megalabel.inputs.token_store import open_or_build_tokens

    tokenizer = start_tokenizer()
    open_or_build_tokens(Corpus.of(["one text"] * 5000, [[0]] * 5000), "trn", tokenizer, MAX_LENGTH)
    before, start = peak(), time.process_time()
    corpus = Corpus.open(path)
    read, then = peak(), time.process_time()
    found = {"peak of reading, MB": read - before, "reading, CPU s": then - start}
    if reading_alone:
        return found
    store = open_or_build_tokens(corpus, "trn", tokenizer, MAX_LENGTH)
    tokenized, end = peak(), time.process_time()
    sample = np.random.default_rng(0).permutation(len(store))[:100_000]
    for first in range(0, len(sample), 512):
        store.gather(sample[first : first + 512])
    return found | {
        "peak of reading and tokenizing, MB": tokenized - before,
        "kept, MB": resident() - before,
        "tokenizing, CPU s": end - then,
        "100,000 random rows of tokens, CPU s": time.process_time() - end,
    }


def peak() -> float:
    """The largest resident memory so far, in MB (10^6 bytes)."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def resident() -> float:
    """The resident memory now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
