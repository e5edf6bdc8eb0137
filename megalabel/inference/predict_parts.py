"""Predicts for a stream of texts in numbered parts, those that are missing, alone or beside other processes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain, count, islice
from typing import Any

import scipy.sparse as sp

from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.inference.expected import total_of
from megalabel.inference.parts import PartsFolder
from megalabel.inference.predict import Wanted, answers, write_file
from megalabel.models.base import Classifier
from megalabel.progress import Progress

PART_SIZE = 65_536  # texts
LARGEST_PART = 1 << 31


def check_part_size(part_size: int) -> None:
    """SettingError for a number of texts per part that is out of range."""
    if not 1 <= part_size <= LARGEST_PART:
        raise SettingError.range("part_size", part_size, 1, LARGEST_PART, integer=True)


def predict_parts(
    model: Classifier,
    rows: Any,
    wanted: Wanted,
    folder: PartsFolder,
    done: Collection[int],
    *,
    part_size: int = PART_SIZE,
    world: World | None = None,
    together: bool = False,
    progress: str = "",
) -> tuple[int, int]:
    """Writes the parts that are missing: part p has the answers for texts p · part_size and following.

    With several processes, each one reads all texts and writes every W-th of the missing parts. The process of
    rank 0 ends last, when all parts are there, and records this. An answer depends on the texts of its part alone,
    so that parts do not depend on who writes them, as long as each process has the same number of threads.

    Args:
        model: the model.
        rows: the texts, as `read_inputs` returns them.
        wanted: what of the rankings is written.
        folder: the opened folder.
        done: the parts that were there when the job began, the same in all processes.
        part_size: texts per part.
        world: this process among those of the job; None for one process.
        together: whether all processes rank each text together (see `label_sharded`), in place of sharing parts.
        progress: the title of a progress bar; "" for none.

    Returns:
        The numbers of all texts and of all parts.

    Raises:
        SettingError: `part_size` is out of range.
        FormatError: the folder holds more parts than the input has.
    """
    check_part_size(part_size)
    world = world or World()
    n_texts = n_parts = n_missing = 0
    with Progress(progress, total_of(rows)) as shown:
        for part, texts in _parts(rows, part_size):
            missing = part not in done
            own = missing and (together or n_missing % world.size == world.rank)
            n_missing += missing
            if own and together and not world.is_main:
                n = sum(len(block) for block in answers(model, texts, wanted))
            elif own:
                n = write_file(model, texts, wanted, folder.path(part), first=n_texts)
            else:
                n = texts.shape[0] if sp.issparse(texts) else sum(1 for _ in texts)
            shown.advance(n, f"part {part + 1:,}")
            n_texts, n_parts = n_texts + n, part + 1
    if world.is_main:
        folder.wait_for(range(n_parts))
        folder.finish(n_texts, n_parts)
    return n_texts, n_parts


def _parts(rows: Any, size: int) -> Iterator[tuple[int, Any]]:
    """The number and the texts of each part; an iterator of texts must be read to its end before the next."""
    if sp.issparse(rows):
        for part, start in enumerate(range(0, rows.shape[0], size)):
            yield part, rows[start : start + size]
        return
    rows = iter(rows)
    for part in count():
        first = next(rows, None)
        if first is None:
            return
        yield part, chain([first], islice(rows, size - 1))
