"""Work that all processes of a job do together, so that an error in one of them is an error in all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from megalabel.distributed.failures import ProcessLost, as_error
from megalabel.distributed.objects import gather_objects
from megalabel.distributed.world import World
from megalabel.errors import MegalabelError

Result = TypeVar("Result")


def together(world: World, work: Callable[[], Result]) -> Result:
    """The result of some work that every process does; an error in one of them is raised in all of them.

    Every process must call it. The error has the attributes `process`, the first in which it was raised (None if
    all have the same), and `speaker`, the process that is to print it: 0, or the one with a program error, which
    is raised there as it is.
    """
    if world.size == 1:
        return work()
    error: BaseException | None = None
    try:
        result = work()
    except Exception as raised:
        error = as_error(raised, world.rank)
    found = gather_objects(_sent(error), world)
    failed = [(rank, one) for rank, one in enumerate(found) if one is not None]
    if not failed:
        return result
    rank, first = failed[0]
    if len(failed) == world.size and len({str(one) for _, one in failed}) == 1:
        first.process = None
    first.speaker = 0
    if any(isinstance(one, _ProgramError) for one in found):
        rank = next(r for r, one in failed if isinstance(one, _ProgramError))
        if error is not None and rank == world.rank:
            raise error
        first = ProcessLost(f"an error in process {rank}", wanted="none", next_step="see its traceback")
        first.speaker = rank
    raise first from error


class _ProgramError(MegalabelError):
    """Stands for an exception that is no error of megalabel, and may not exist in other processes."""


def _sent(error: BaseException | None) -> MegalabelError | None:
    if error is None or (isinstance(error, MegalabelError) and type(error).__module__.startswith("megalabel.")):
        return error
    return _ProgramError(type(error).__name__, wanted="none")
