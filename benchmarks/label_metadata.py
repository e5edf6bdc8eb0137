"""Label metadata at a million labels: bytes, time to save, load and look up, and memory of a loaded file.

    python benchmarks/label_metadata.py [--labels L]

Each label has a URI, a notation, names in two languages, an alternative name and one or two parents. Times are the
shorter of two, in CPU seconds; memory is that of the process, measured in a process of its own. Beside them, in
the same run: the names of the labels, which every model keeps.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record

from megalabel.data.label_lookup import labels_named
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.label_terms import Terms
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.texts import Texts
from megalabel.labels.ancestors import with_ancestors
from megalabel.models.label_names import load_names, save_names
from megalabel.models.metadata_file import FILE, load_metadata, save_metadata
from megalabel.models.predictions import Predictions

TEXTS, K = 8192, 10
LOADED = """
import sys; from pathlib import Path
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
from megalabel.models.label_names import load_names
from megalabel.models.metadata_file import load_metadata
before = resident(); found = {call}(Path(sys.argv[1]){more}); print(resident() - before)
"""


def made(n: int) -> tuple[Texts, LabelMetadata]:
    """Names and metadata of n labels."""
    names = Texts.from_strings(f"subject number {i}" for i in range(n))
    uris = Texts.from_strings(f"http://example.org/vocabulary/p{i}" for i in range(n))
    notations = Texts.from_strings(f"{i // 1000}.{i % 1000}" for i in range(n))
    texts = Texts.from_strings(
        text for i in range(n) for text in (f"subject number {i}", f"aihe numero {i}", f"topic no. {i}")
    )
    labels = np.repeat(np.arange(n, dtype=np.int32), 3)
    languages, kinds = np.tile(np.array([0, 1, 0], np.int16), n), np.tile(np.array([0, 0, 1], np.int8), n)
    terms = Terms(labels, languages, kinds, texts, ("en", "fi"))
    rng = np.random.default_rng(0)
    children = np.concatenate([np.arange(1, n), rng.integers(1, n, n // 4)])
    parents = (children / 8 * rng.random(len(children))).astype(np.int64)  # some seven levels
    return names, LabelMetadata(n, uris, notations, terms, Taxonomy.of(parents, children, names))


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and the shorter of two CPU times in seconds."""
    seconds = []
    for _ in range(2):
        before = time.process_time()
        found = work()
        seconds.append(time.process_time() - before)
    return found, min(seconds)


def resident(folder: Path, call: str, more: str) -> float:
    """The megabytes that a process grows by when it loads what is in a folder."""
    program = LOADED.format(call=call, more=more)
    return float(
        subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True).stdout
    )


def answered(names: Texts, metadata: LabelMetadata) -> dict[str, tuple[float, str]]:
    """Times per text of answers with URIs against without, in a language, and with ancestors."""
    rng, n = np.random.default_rng(1), len(names)
    ids = rng.integers(0, n, (TEXTS, K))
    scores = np.sort(rng.random((TEXTS, K)).astype(np.float32), axis=1)[:, ::-1]
    plain, known = (
        Predictions(ids, scores, names, "logit"),
        Predictions(ids, scores, names, "logit", metadata=metadata),
    )
    _, without = cpu(lambda: list(plain.records()))
    _, with_uris = cpu(lambda: list(known.records()))
    before = time.process_time()
    known.in_language("fi")
    language = time.process_time() - before  # of the first call; later ones find what it chose
    _, added = cpu(lambda: with_ancestors(ids, scores, metadata.taxonomy, "add"))
    return {
        "records with URIs against without": (with_uris / without, "x"),
        "names in a language": (language, "s"),
        "ancestors added": (1e6 * added / TEXTS, "us/text"),
    }


def measured(n: int) -> None:
    names, metadata = made(n)
    found: dict[str, tuple[float, str]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _, seconds = cpu(lambda: save_metadata(folder, metadata))
        found["save"] = seconds, "s"
        save_names(folder, names)
        found["bytes per label"] = (folder / FILE).stat().st_size / n, "bytes"
        loaded, seconds = cpu(lambda: load_metadata(folder, n))
        found["load"] = seconds, "s"
        found["load the names alone"] = cpu(lambda: load_names(folder))[1], "s"
        found["memory after load"] = resident(folder, "load_metadata", f", {n}"), "MB"
        found["memory of the names alone"] = resident(folder, "load_names", ""), "MB"
        asked = [f"http://example.org/vocabulary/p{n - 1}", f"aihe numero {n // 2}", f"topic no. {n // 3}"]
        found["look up a URI and two other names"] = cpu(lambda: labels_named(names, loaded, asked))[1], "s"
        found["look up a name"] = cpu(lambda: labels_named(names, loaded, [f"subject number {n - 1}"]))[1], "s"
        found |= answered(names, loaded)
    for metric, (value, unit) in found.items():
        record.row("label metadata", f"{n:,} labels", metric, float(value), unit)
        print(f"{metric}: {value:.4g} {unit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=1_000_000)
    measured(parser.parse_args().labels)


if __name__ == "__main__":
    main()
