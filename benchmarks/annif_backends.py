"""Compares Annif's backends omikuji and megalabel in an unmodified Annif: training, F1@5 and nDCG.

    python benchmarks/annif_backends.py DATA --annif ENV/bin/annif [--backends omikuji,megalabel] [--record]

DATA is a data set that megalabel opens. Annif is in an environment of its own, with omikuji, numba and safetensors
and without torch (docs/annif.md). Seconds are those of whole commands: Annif's start, reading and vectorizing
included. "CPU" counts all threads, since other programs may use the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from record import row

from megalabel.data.convert import convert

ROOT = Path(__file__).parents[1]
PROJECT = "[{name}]\nname={name}\nlanguage=en\nbackend={name}\nanalyzer=snowball(english)\nvocab=data\n{more}\n"
# The defaults of both backends, and the settings of a tree as Bonsai has it.
SETTINGS = {
    "omikuji": "",
    "omikuji-bonsai": "cluster_balanced=False\ncluster_k=100\nmax_depth=3",
    "megalabel": "",
}
METRICS = ("F1@5", "NDCG", "NDCG@5", "Precision@1", "Precision@5")


def annif(command: str, folder: Path, *arguments: str) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a command of Annif."""
    found = {"ANNIF_CONFIG": "megalabel.integrations.annif.Config", "PYTHONPATH": str(ROOT)}
    begun, before = time.perf_counter(), _cpu()
    subprocess.run([command, *arguments], cwd=folder, env={**os.environ, **found}, check=True)
    return time.perf_counter() - begun, _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--annif", required=True, help="the command of an environment with Annif")
    parser.add_argument("--backends", default="omikuji,megalabel")
    parser.add_argument("--folder", type=Path, help="where Annif's files go; default: a temporary folder")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        compare(given, given.folder or Path(temporary))


def compare(given: argparse.Namespace, folder: Path) -> None:
    """Trains and evaluates each backend in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "texts").exists():
        convert(given.data, folder / "texts", "annif")
    backends = given.backends.split(",")
    projects = (PROJECT.format(name=name.partition("-")[0], more=SETTINGS[name]).replace(
        f"[{name.partition('-')[0]}]", f"[{name}]") for name in backends)  # fmt: skip
    (folder / "projects.cfg").write_text("\n".join(projects))
    annif(given.annif, folder, "load-vocab", "data", "texts/vocab.tsv", "--language", "en", "--force")
    for name in backends:
        taken = annif(given.annif, folder, "train", name, "texts/train.tsv")
        result = folder / f"{name}.json"
        chosen = [part for metric in METRICS for part in ("--metric", metric)]
        asked = annif(given.annif, folder, "eval", name, "texts/test.tsv", *chosen, "--metrics-file", str(result))
        found = {f"train {kind}": (value, "s") for kind, value in zip(("s", "CPU s"), taken, strict=True)}
        found |= {f"evaluate {kind}": (value, "s") for kind, value in zip(("s", "CPU s"), asked, strict=True)}
        scores = json.loads(result.read_text())
        found |= {metric: (100 * value, "%") for metric, value in scores.items() if "valuated" not in metric}
        for metric, (value, unit) in found.items():
            print(f"{name}: {metric}: {value:.4g} {unit}", flush=True)
            if given.record:
                row("annif_backends", given.data.name, f"{name}: {metric}", float(value), unit)


if __name__ == "__main__":
    main()
