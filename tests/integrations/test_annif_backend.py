"""Annif with the backend `megalabel`; the command annif of its environment is named by MEGALABEL_ANNIF."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from serving.test_annif import URI, written

ANNIF = os.environ.get("MEGALABEL_ANNIF", "")
pytestmark = pytest.mark.skipif(
    not ANNIF, reason="MEGALABEL_ANNIF does not name the command annif of an environment with Annif"
)
ROOT = Path(__file__).parents[2]
PROJECT = """
[mine]
name=mine
language=en
backend=megalabel
vocab=animals
allow_learn=true
trees=1
char_ngrams=no
"""


def annif(folder, *arguments: str, text: str = "", wanted: int = 0) -> str:
    settings = {"ANNIF_CONFIG": "megalabel.integrations.annif.Config", "PYTHONPATH": str(ROOT)}
    options = {"capture_output": True, "text": True, "timeout": 900, "check": False}
    done = subprocess.run([ANNIF, *arguments], cwd=folder, env={**os.environ, **settings}, input=text, **options)
    assert done.returncode == wanted, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Annif's files with a trained project."""
    folder = written(tmp_path_factory.mktemp("annif"))
    (folder / "projects.cfg").write_text(PROJECT)
    annif(folder, "load-vocab", "animals", "vocab.csv")
    annif(folder, "train", "mine", "train.tsv")
    return folder


def test_a_trained_project_suggests_subjects_by_their_uris(folder):
    found = annif(folder, "suggest", "mine", text="purr hive").split("\n")[0].split("\t")
    assert found[0].startswith(f"<{URI}") and 0 < float(found[2]) <= 1
    scores = annif(folder, "eval", "mine", "test.tsv")
    assert float(re.search(r"^Precision@1:\s+([\d.]+)$", scores, re.MULTILINE)[1]) > 0.5


def test_options_of_a_command_are_options_of_the_recipe(folder):
    said = annif(folder, "train", "--cached", "mine", "-b", "megalabel.c=0", wanted=1)
    assert "Traceback" not in said and "c: 0 is not a number above 0" in said


def test_hyperopt_names_options_for_the_configuration(folder):
    said = annif(folder, "hyperopt", "mine", "--trials", "2", "test.tsv")
    assert re.search(r"^c=[\d.]+$", said, re.MULTILINE) and re.search(
        r"^bigram_weight=[\d.]+$", said, re.MULTILINE
    )


def test_further_documents_are_learned(folder):
    (folder / "more.tsv").write_text(f"purr hive\t<{URI}ant>\n" * 50, encoding="utf-8")
    annif(folder, "learn", "mine", "more.tsv")
    assert annif(folder, "suggest", "mine", text="purr hive").startswith(f"<{URI}ant>")
