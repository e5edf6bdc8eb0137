"""Annif itself, with a project whose backend is our server; it is named by the variable MEGALABEL_ANNIF."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from serving.test_processes import next_event, serving
from support.animals import WORDS, animals

import megalabel
from megalabel.recipes.linear import linear

ANNIF = os.environ.get("MEGALABEL_ANNIF", "")
pytestmark = pytest.mark.skipif(
    not ANNIF, reason="MEGALABEL_ANNIF does not name the command annif of an environment with Annif"
)
URI = "http://example.org/animals/"
PROJECT = """
[served]
name=served
language=en
backend=http
endpoint=http://127.0.0.1:{port}/annif/v1/projects/run/suggest
vocab=animals
limit=8
"""


def written(folder):
    """The animals as Annif's corpus with a vocabulary, some texts with two subjects."""
    source = animals(folder / "source")
    (folder / "vocab.csv").write_text(
        "uri,label_en\n" + "".join(f"{URI}{name},{name}\n" for name in sorted(WORDS)), encoding="utf-8"
    )
    for side in ("train", "test"):
        with open(folder / f"{side}.tsv", "w", encoding="utf-8") as file:
            for i, line in enumerate((source / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()):
                record = json.loads(line)
                subjects = [*record["labels"], *(["ant"] if i % 4 == 0 else [])]
                file.write(f"{record['text']}\t{' '.join(f'<{URI}{s}>' for s in dict.fromkeys(subjects))}\n")
    return folder


def annif(folder, *arguments: str, text: str = "") -> str:
    done = subprocess.run([ANNIF, *arguments], cwd=folder, input=text, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_annif_suggests_through_our_server_and_measures_what_we_measure(tmp_path):
    data = written(tmp_path)
    corpus = megalabel.Corpus.open(data)
    model = megalabel.train(linear(corpus), tmp_path / "run", quiet=True)
    with serving(str(tmp_path / "run")) as (_, events):
        port = re.search(r":(\d+)$", next_event(events, "listening")["url"])[1]
        (data / "projects.cfg").write_text(PROJECT.format(port=port))
        annif(data, "load-vocab", "animals", "vocab.csv")
        found = annif(data, "suggest", "served", text="purr hive").split("\n")[0]
        (best, score) = model.predict(["purr hive"], 1)[0][0]
        assert found.split("\t")[:2] == [f"<{URI}{best}>", best]
        assert float(found.split("\t")[2]) == pytest.approx(score, abs=1e-4)
        table = annif(data, "eval", "served", "test.tsv")
    measured = dict(re.findall(r"^([\w@ ()]+):\s+([\d.]+)$", table, re.MULTILINE))
    ours = megalabel.evaluate(model, corpus)
    for theirs, name in (
        ("Precision@1", "P@1"),
        ("Precision@3", "P@3"),
        ("Precision@5", "P@5"),
        ("NDCG@5", "nDCG@5"),
    ):
        assert 100 * float(measured[theirs]) == pytest.approx(ours[name], abs=0.01), theirs
