"""Measures what Python, the libraries and a first step take here, by training a recipe on a few texts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from megalabel.errors import SettingError
from megalabel.planning.baseline import Baseline, Speed, keep
from megalabel.planning.components import components_of, peak
from megalabel.planning.job import Data, Job
from megalabel.planning.timing import ASSUMED, floor
from megalabel.storage.spill import naming_folder

# The run that is timed, which also fills the cache of compiled code; and the one whose memory is measured.
TIMED = {"batch_size": 64, "max_length": 32}
SMALL = {"batch_size": 8, "max_length": 16}
DROPPED = ("label_groups", "layers", "beams", "clusters", "level_dropout", "level_weights", "encoder_weights")
LABELS, TEXTS, TIMED_LABELS, TIMED_TEXTS = 64, 64, 20_000, 640
TINY = {"hidden": 64, "inner": 256, "heads": 4, "vocabulary": 30522, "positions": 512}
MOST_SECONDS = 600


def calibrate(job: Job, *, timed: bool = True) -> Baseline:
    """Measures and stores the baseline of a job's stack.

    timed: whether the time of a step is measured too, in a run that comes first and fills the cache of compiled
        code. Compiling takes memory, which a later run would not.

    Raises:
        SettingError: a run of the calibration failed.
    """
    with tempfile.TemporaryDirectory(prefix="megalabel-") as name:
        folder = Path(name)
        encoder = _encoder(job, folder)
        speed, efficiency = ASSUMED, 0.5
        if timed:
            speed = Speed(**json.loads(_run(["-m", "megalabel.cli.speed", str(job.threads)])))
            large, _, step = _trained(job, folder / "timed", TIMED, encoder, TIMED_LABELS, TIMED_TEXTS)
            # No step is expected to be faster than its floor.
            efficiency = min(max(floor(large, speed) / step, 0.02), 1.0)
        small = _trained(job, folder / "small", SMALL, encoder, LABELS, TEXTS)
    if small[1] == 0:
        raise SettingError(
            "a system that does not report the peak memory of a process",
            wanted="Linux or macOS",
            next_step="plan without --calibrate",
            where="calibrate",
        )
    base = 1e6 * small[1] - peak(components_of(small[0], 0.0))
    return keep(job, base, speed, efficiency)


def _trained(
    job: Job, folder: Path, sizes: dict[str, int], encoder: str, n_labels: int, n_texts: int
) -> tuple[Job, float, float]:
    """The job of a small training, its peak in MB, and the seconds of its fastest logged step."""
    from megalabel.recipes import get
    from megalabel.recipes.config import as_config

    recipe = get(job.recipe)
    values = {**_values(job), **sizes, "encoder": encoder}
    folder.mkdir()
    if values.get("tree"):
        values["tree"] = str(folder / "tree")
        levels = len(job.levels.sizes) - 1 if job.levels else 2
        _run(["-m", "megalabel.cli.speed", "tree", str(n_labels), str(levels), values["tree"]])
    options = recipe.options.from_values(values)
    _write(folder / "data", n_labels, n_texts)
    (folder / "config.toml").write_text(as_config(options), encoding="utf-8")
    arguments = ["-m", "megalabel", "train", job.recipe, str(folder / "data"), "--config", folder / "config.toml"]
    _run([*map(str, arguments), "--out", str(folder / "run"), "--quiet", "--device", "cpu", "--threads",
          str(job.threads), "--memory", "1TiB"])  # fmt: skip
    facts = json.loads((folder / "run" / "recipe.json").read_text(encoding="utf-8"))
    lines = (folder / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [line["texts_per_second"] for line in map(json.loads, lines) if line.get("texts_per_second")]
    data = Data(n_labels, n_texts)
    small = Job.of(job.recipe, options.values(), data, job.threads)
    return small, float(facts["finished"]["peak_mb"]), values["batch_size"] / max(rates, default=1.0)


def _values(job: Job) -> dict[str, Any]:
    """The options of the job, but for those that fit only its own sizes."""
    values = {name: value for name, value in job.values.items() if name not in DROPPED}
    small = {
        "epochs": 1, "validation_fraction": 0.0, "log_every": 1, "warmup": 0, "warmup_epochs": 0.0,
        "final_epochs": 0.0, "rewire_every": 1, "rewire_until": 1.0, "auxiliary_epochs": 1.0,
        "accumulation_steps": 1, "windows": 1, "patience": 0,
        "projection_dim": min(int(values.get("projection_dim") or 0), 64),
        "fan_in": min(int(values.get("fan_in") or 32), 32), "last_layers": 1, "bottleneck": 0,
    }  # fmt: skip
    return {**values, **{name: value for name, value in small.items() if name in values}}


def _write(folder: Path, n_labels: int, n_texts: int) -> None:
    """Writes texts of random words with random labels, each of which has a name."""
    draw = random.Random(0)
    words = [f"{a}{b}" for a in ("time", "year", "way", "day", "man") for b in ("", "s", "ly", "er", "ing")]
    folder.mkdir()
    with naming_folder(), open(folder / "lbl.json", "w", encoding="utf-8") as file:
        for label in range(n_labels):
            file.write(json.dumps({"title": f"{draw.choice(words)} {label}"}) + "\n")
    for side, n in (("trn", n_texts), ("tst", 1)):
        with naming_folder(), open(folder / f"{side}.json", "w", encoding="utf-8") as file:
            for _ in range(n):
                found = sorted({draw.randrange(n_labels) for _ in range(5)})
                text = " ".join(draw.choice(words) for _ in range(40))
                file.write(json.dumps({"title": text, "content": "", "target_ind": found}) + "\n")


def _encoder(job: Job, folder: Path) -> str:
    """The encoder of the calibration: bag, small, or a narrow transformer of the same type in a folder."""
    name = str(job.values["encoder"])
    if name in ("bag", "small"):
        return name
    if job.encoder.is_bag:  # that of a run
        return "bag"
    shape = {**TINY, "type": job.encoder.type, "layers": job.encoder.layers, "types": job.encoder.types}
    _run(["-m", "megalabel.cli.speed", "encoder", json.dumps(shape), str(folder / "encoder")])
    return str(folder / "encoder")


def _run(arguments: list[str]) -> str:
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", *arguments], env=environment, capture_output=True, encoding="utf-8",
            timeout=MOST_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SettingError(
            f"a run of the calibration took more than {MOST_SECONDS} s",
            wanted="a machine that is less busy",
            next_step="plan without --calibrate",
            where="calibrate",
        ) from error
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise SettingError(
            f"a run of the calibration failed ({last})",
            wanted="a training of a few texts",
            next_step="plan without --calibrate",
            where="calibrate",
        )
    return done.stdout
