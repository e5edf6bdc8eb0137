"""Checks that Annif, through its backend http and our server, measures what megalabel measures of a model.

    python benchmarks/annif_http.py MODEL DATA --annif ENV/bin/annif [--documents 2000] [--record]

MODEL is a run or a model folder with the labels of DATA, which have URIs, as in Annif's own formats
(`megalabel data convert DATA OUT --to annif`). Annif's Precision@k and NDCG@5 and
megalabel's P@k and nDCG@5 are those of the first test documents, with ten labels each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from record import row
from serve_process import Running

import megalabel
from megalabel.data.convert import convert

K = 10
PROJECT = "[served]\nname=served\nlanguage=en\nbackend=http\nendpoint=http://127.0.0.1:{port}/annif/v1/projects/{name}/suggest\nvocab=data\nlimit={k}\n"
PAIRS = (("Precision@1", "P@1"), ("Precision@3", "P@3"), ("Precision@5", "P@5"), ("NDCG@5", "nDCG@5"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--annif", required=True, help="the command of an environment with Annif")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    corpus = megalabel.Corpus.open(given.data)
    n = min(given.documents, len(corpus.test))
    with tempfile.TemporaryDirectory() as temporary:
        theirs = through_annif(given, Path(temporary), n)
    few = megalabel.Corpus.of(
        ["-"], [[0]], corpus.label_texts, test_texts=corpus.test.texts[:n], test_labels=corpus.test.labels[:n]
    )
    ours = megalabel.evaluate(megalabel.load(given.model), few)
    for annif, name in PAIRS:
        print(f"{annif}: {100 * theirs[annif]:.6f} by Annif, {ours[name]:.6f} by megalabel")
        if given.record:
            size = f"{given.data.name} documents={n}"
            row("annif_http", size, f"Annif: {annif}", 100 * theirs[annif], "%")
            row("annif_http", size, f"megalabel: {name}", float(ours[name]), "%")


def through_annif(given: argparse.Namespace, folder: Path, n: int) -> dict[str, float]:
    """What `annif eval` measures while our server answers."""
    convert(given.data, folder / "texts", "annif")

    def annif(*arguments: str) -> None:
        subprocess.run([given.annif, *arguments], cwd=folder, env=os.environ, check=True)

    with Running(str(given.model)) as server:
        (folder / "projects.cfg").write_text(PROJECT.format(port=server.port, name=given.model.name, k=K))
        annif("load-vocab", "data", "texts/vocab.tsv", "--language", "en")
        chosen = [part for name, _ in PAIRS for part in ("--metric", name)]
        annif(
            "eval", "served", "texts/test.tsv", "-d", str(n), *chosen, "--metrics-file", str(folder / "found.json")
        )
    found: dict[str, float] = json.loads((folder / "found.json").read_text())
    return found


if __name__ == "__main__":
    main()
