"""`megalabel predict --parts`: a folder of parts, which one process or those of torchrun fill."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from megalabel.cli.arguments import trusting
from megalabel.cli.predict_request import Request
from megalabel.errors import DataError, MegalabelError, SettingError

if TYPE_CHECKING:
    from megalabel.distributed.world import World
    from megalabel.inference.parts import PartsFolder

T = TypeVar("T")
GRACE = 2.0  # seconds


def check_alone() -> None:
    """SettingError for several processes without a folder of parts, which would all write the same answers."""
    from megalabel.distributed.world import World

    try:
        world = World.announced()
    except SettingError:  # variables of another launcher, which do not matter for a single process
        return
    if not world.is_main:
        _leave()
    if world.size > 1:
        raise SettingError(
            f"{world.size} processes and one file of answers",
            wanted="a folder of parts, which processes share",
            next_step="add --parts jsonl -o FOLDER, or start the command without torchrun",
            where="parts",
        )


def in_parts(
    request: Request, out: str | None, parts: str | None, part_size: int | None, *, shard_labels: bool = False
) -> None:
    """Runs the command in this process, one of those that torchrun has started, or the only one."""
    from megalabel.distributed.collectives import broadcast_object
    from megalabel.distributed.world import join
    from megalabel.inference.parts import PartsFolder
    from megalabel.inference.predict_parts import PART_SIZE, predict_parts
    from megalabel.training.run_lock import writing

    size = PART_SIZE if part_size is None else part_size
    with contextlib.ExitStack() as stack, trusting(request.trust), contextlib.ExitStack() as group:
        world = group.enter_context(join())
        say = _say if world.is_main else _nothing
        name, format = _in_all(world, lambda: _checked(request, out, parts, size))
        if request.device is None and world.size > 1:
            request = request._replace(device=str(world.device))
        request, model, facts = _in_all(world, lambda: _prepared(request, world, size, say, shard_labels))
        folder = PartsFolder(name, format, facts)
        _check_same(world, folder)

        def opened() -> set[int]:
            stack.enter_context(writing(folder.folder))
            return folder.open()

        done = broadcast_object(_in_all(world, opened if world.is_main else set), world)
        _in_all(world, folder.check)
        whole = folder.finished()
        if not shard_labels:
            group.close()  # from here on no process waits for another one
        if whole is None:
            rows, progress = request.rows(model, None, say), "predicting" if world.is_main else ""
            options: dict[str, Any] = {"part_size": size, "together": shard_labels, "progress": progress}
            with _after_main(world):
                whole = predict_parts(model, rows, request.wanted, folder, done, world=world, **options)
        before = len(done & set(range(whole[1])))
        there = f", of which {before:,} were there" if before else ""
        say(f"{out}: {whole[0]:,} texts in {whole[1]:,} parts{there}")


def _prepared(
    request: Request, world: World, part_size: int, say: Callable[[str], Any], shard_labels: bool
) -> tuple[Request, Any, dict[str, Any]]:
    """The request with how texts are read, the model, and the facts on which the answers depend."""
    from megalabel.inference.label_sharded import LabelSharded
    from megalabel.inference.parts import file_facts, model_facts
    from megalabel.models.chunked import described

    device = request.device
    model = (request._replace(device="cpu") if shard_labels else request).model(say, mapped=True)
    if shard_labels:
        model = LabelSharded(model, world, device or world.device)
    request = request.as_trained(say)
    options = {**request.wanted._asdict(), "part_size": part_size, **described(model), **request.options._asdict()}
    facts = {"model": model_facts(request.run), "input": file_facts(request.texts), "options": options}
    return request, model, facts


def _checked(request: Request, out: str | None, parts: str | None, part_size: int) -> tuple[str, str]:
    """The folder and the format of the parts; an error for arguments that do not fit."""
    from megalabel.inference.parts import FORMATS
    from megalabel.inference.predict_parts import check_part_size
    from megalabel.inference.source import open_source

    check_part_size(part_size)
    if parts is None:
        step = f"add --parts with one of {', '.join(FORMATS)}"
        raise SettingError(
            "an option for parts without parts", wanted="--parts FORMAT", next_step=step, where="parts"
        )
    if parts not in FORMATS:
        raise SettingError.choice("parts", parts, FORMATS)
    if out is None or out == "-":
        raise SettingError("parts without a folder", wanted="a folder", next_step="give -o FOLDER", where="out")
    if request.texts == "-":
        raise SettingError(
            "standard input, which cannot be read again",
            wanted="a file of texts",
            next_step="write the texts to a file, or leave out --parts",
            where="texts",
        )
    with open_source(request.texts) as source:
        if source.path is None:
            raise DataError("a pipe, which cannot be read again", wanted="a file of texts", where=request.texts)
    return out, parts


def _in_all(world: World, work: Callable[[], T]) -> T:
    """The result of `work` in this process, if it succeeds in all processes.

    Otherwise the process of rank 0 raises the error of the first one that failed; the others end without a word.
    """
    from megalabel.distributed.collectives import gather_objects

    error: BaseException | None = None
    results: list[T] = []
    try:
        results.append(work())
    except (MegalabelError, OSError, MemoryError) as found:
        error = found
    if world.size == 1 and error is not None:
        raise error
    failed = [(rank, each) for rank, each in enumerate(gather_objects(error, world)) if each is not None]
    if not failed:
        return results[0]
    if not world.is_main:
        _leave()
    rank, first = failed[0]
    if rank:
        typer.echo(f"process {rank} of {world.size} failed:", err=True)
    raise first


def _check_same(world: World, folder: PartsFolder) -> None:
    """Ends all processes unless they have the same model, input and options; the first one says why."""
    from megalabel.distributed.collectives import broadcast_object

    ours, theirs = folder.facts, broadcast_object(folder.facts, world)

    def compare() -> None:
        for key, facts in theirs.items():
            for name, value in facts.items():
                if ours[key].get(name) != value:
                    raise SettingError(
                        f"another {name} of the {key} than in process 0",
                        wanted="the same command, run and texts in all processes",
                        next_step="copy the run and the texts to all machines again",
                        where=key,
                    )

    _in_all(world, compare)


@contextlib.contextmanager
def _after_main(world: World) -> Iterator[None]:
    """Lets rank 0 say first what is wrong with the input, which all processes find; torchrun then ends all."""
    try:
        yield
    except (MegalabelError, OSError, MemoryError):
        if not world.is_main:
            time.sleep(GRACE)
        raise


def _leave() -> NoReturn:
    """Ends this process, after the one of rank 0 has had time for its message: torchrun ends all when one ends."""
    time.sleep(GRACE)
    sys.exit(2)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _nothing(line: str) -> None:
    pass
