"""Predicted bytes of texts and tables that are on disk."""

import pytest

from megalabel.planning.answers import prediction
from megalabel.planning.components import components_of
from megalabel.planning.job import Data, Job
from megalabel.recipes import get
from megalabel.storage.resident import RESIDENT, SPILL_FROM


@pytest.mark.parametrize(("recipe", "per_row"), [("elmo", 1 + 4), ("renee", 0), ("cascadexml", 4 * 4)])
def test_beside_tables_on_disk_are_biases_scales_and_their_state(recipe, per_row):
    values = {"encoder": "bag", "tables": "disk", **({"bias": True} if recipe == "elmo" else {})}
    job = Job.of(recipe, get(recipe).options(**values).values(), Data(300_000), 1)
    parts = {part.name: part.n_bytes for part in components_of(job, 0)}
    rows = sum(job.levels.sizes) if job.levels is not None else 300_000
    assert parts.get("head biases and scales, with their state", 0) == per_row * rows
    assert not parts.keys() & {"head weights", "head momentum", "head optimizer state"}
    in_memory = {part.name: part.n_bytes for part in components_of(job.having(tables="memory"), 0)}
    moved = (
        in_memory["head weights"] + in_memory.get("head momentum", 0) + in_memory.get("head optimizer state", 0)
    )
    assert parts["pages of the tables on disk"] == min(moved - per_row * rows, RESIDENT)


@pytest.mark.parametrize("recipe", ["renee", "cascadexml", "spartex"])
def test_predictions_hold_weights_in_memory_also_after_a_training_with_tables_on_disk(recipe):
    jobs = [
        Job.of(recipe, get(recipe).options(encoder="bag", tables=tables).values(), Data(300_000), 1)
        for tables in ("disk", "memory")
    ]
    on_disk, in_memory = (prediction(job, 0) for job in jobs)
    assert on_disk == in_memory
    assert "head weights" in [part.name for part in on_disk]


def test_texts_and_tokens_count_up_to_what_stays_in_memory():
    def counted(text_bytes):
        options = get("elmo").options(encoder="bag", max_length=8).values()
        job = Job.of("elmo", options, Data(1000, 1000, text_bytes), 1)
        return next(part.n_bytes for part in components_of(job, 0) if part.name == "texts and labels")

    assert counted(2000) - counted(1000) == 1000
    assert counted(SPILL_FROM) == counted(10 * SPILL_FROM)
