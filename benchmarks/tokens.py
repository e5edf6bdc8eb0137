"""Token ids of the bundled tokenizer: words that are kept and looked up, beside texts that the library splits.

    python benchmarks/tokens.py DATA/eurlex-4.3k DATA/wordnet

The training texts (20,000 at most), in blocks of 1,024, whole and cut to 64 tokens, by turns; CPU seconds of one
thread. Each turn starts without known words. "one text" is a call with a single text when all words are known.
Both give the same ids, which is checked.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")
import numpy as np
from data_sets import opened, set_name
from record import row

from megalabel.encoders.build import start_tokenizer
from megalabel.inputs.tokenizer import TextTokenizer

TEXTS, BLOCK, ONES, TURNS = 20_000, 1024, 2000, 3
WHOLE = 1 << 30


def encoded(
    tokenizer: TextTokenizer, texts: Sequence[str], max_length: int, block: int = BLOCK
) -> list[list[int]]:
    """The ids of each text, by calls with `block` texts."""
    parts = (tokenizer.encode(texts[i : i + block], max_length) for i in range(0, len(texts), block))
    return [ids for part in parts for ids in part]


def cpu(*arguments: Any) -> float:
    """The CPU seconds of `encoded`."""
    begun = time.process_time()
    encoded(*arguments)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    words, library = start_tokenizer(), TextTokenizer(start_tokenizer().tokenizer)
    library._words = None
    ways = {"looked up": words, "library": library}
    for data in parser.parse_args().data:
        texts = list(opened(data).train.texts[:TEXTS])
        for max_length, cut in ((WHOLE, "whole"), (64, "64 tokens")):
            assert encoded(words, texts, max_length) == encoded(library, texts, max_length)
            found: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(TURNS):
                for way, tokenizer in ways.items():
                    if way == "looked up":
                        tokenizer.clear_cache()
                    found[way].append(cpu(tokenizer, texts, max_length))
            least = {way: min(seconds) for way, seconds in found.items()}
            size = f"{set_name(data)}, {len(texts):,} texts, {cut}"
            for way, seconds in least.items():
                row("tokens", size, way, seconds, "CPU s")
            row("tokens", size, "library / looked up", least["library"] / least["looked up"], "")
            print(size, least)
        some = texts[:ONES]
        ones = {way: cpu(tokenizer, some, 64, 1) for way, tokenizer in ways.items()}
        for way, seconds in ones.items():
            row("tokens", f"{set_name(data)}, one text, 64 tokens", way, 1e6 * seconds / len(some), "µs")
        print("one text, µs", {way: float(np.round(1e6 * s / len(some), 1)) for way, s in ones.items()})


if __name__ == "__main__":
    main()
