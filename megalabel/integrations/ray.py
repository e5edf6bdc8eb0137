"""Predicts for a lake of Parquet files with Ray Data: one part of answers per group of rows, resumable.

Ray Data distributes the parts over actors. An actor reads its rows, and writes its part, on the file system that
all machines share; no texts go through Ray's object store, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megalabel.errors import MissingExtra, SettingError
from megalabel.inference.lake import LakePart, lake_parts, parquet_files, write_lake_part
from megalabel.inference.parts import PartsFolder
from megalabel.inference.predict_parts import PART_SIZE, check_part_size
from megalabel.inference.predictor import Predictor
from megalabel.models.chunked import described
from megalabel.training.run_lock import writing

MOST_BLOCKS = 10_000  # of Ray Data, each with the numbers of some parts


def predict_parquet(
    predictor: Predictor,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    actors: int = 1,
    part_size: int = PART_SIZE,
    num_cpus: float = 1,
    num_gpus: float = 0,
) -> int:
    """Writes the best labels of all rows of Parquet files into a folder of such files; returns the number of rows.

    Part after part has the rows of the input in their order: the columns that the predictor keeps and `label_ids`,
    `labels` and `scores`. A call that was stopped is given again, on any number of actors, and writes what is
    missing. Ray is started on this machine unless `ray.init` was called before.

    Args:
        predictor: which model predicts what; its run lies under the same path on all machines.
        inputs: files, or folders, in which files that end in .parquet are found.
        out: the folder of the parts, which all machines see under this path.
        actors: processes, each of which loads the model.
        part_size: rows of a part, at least, unless its file has fewer; row groups are not divided.
        num_cpus, num_gpus: those that Ray reserves for each actor. With GPUs, give the predictor device="cuda".

    Raises:
        MissingExtra: Ray is not installed.
        SettingError: the folder holds parts of another model, other files or other options, or another job writes
            to it; numbers that are out of range.
        DataError: a file is missing or damaged, or has no such column of texts.
        ray.exceptions.RayTaskError: an actor met an error, whose message is in its text.
    """
    ray = _ray()
    check_part_size(part_size)
    if actors < 1:
        raise SettingError.range("actors", actors, 1, integer=True)
    columns = [predictor.text_field, *(predictor.keep or ())]
    parts, content = lake_parts(parquet_files(inputs), columns, part_size)
    keep = None if predictor.keep is None else list(predictor.keep)
    options = {
        **predictor.wanted._asdict(),
        "text_field": predictor.text_field,
        "keep": keep,
        "part_size": part_size,
    }
    options |= {**described(predictor.model), **({"uris": True} if predictor.uris else {})}
    facts = {"model": predictor.model_facts, "input": content, "options": options}
    folder = PartsFolder(Path(out).absolute(), "parquet", facts)
    with writing(folder.folder):
        done = folder.open()
        missing = [{"part": i} for i in range(len(parts)) if i not in done]
        if missing:
            given = {"predictor": predictor, "parts": parts, "folder": folder}
            dataset = ray.data.from_items(missing, override_num_blocks=min(len(missing), MOST_BLOCKS)).map_batches(
                _Writer, fn_constructor_kwargs=given, batch_size=1, num_cpus=num_cpus, num_gpus=num_gpus,
                compute=ray.data.ActorPoolStrategy(size=min(actors, len(missing))),
            )  # fmt: skip
            for _ in dataset.iter_rows():  # runs it
                pass
        folder.finish(content["rows"], len(parts))
    return int(content["rows"])


class _Writer:
    """An actor: writes the parts that it is given the numbers of."""

    def __init__(self, predictor: Predictor, parts: list[LakePart], folder: PartsFolder) -> None:
        self._predictor, self._parts, self._folder = predictor, parts, folder

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for part in batch["part"].tolist():
            write_lake_part(self._predictor, self._parts[part], self._folder.path(part))
        return batch


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra(
            "Ray Data is not installed",
            wanted="the package ray with its extra data",
            next_step='run pip install "megalabel[ray]"',
            where="megalabel.integrations.ray",
        ) from error
    return ray
