"""`megalabel predict --parts`: a folder of parts, which one process or those of torchrun fill."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from megalabel.cli.arguments import trusting
from megalabel.cli.predict_request import Request
from megalabel.cli.streams import of_several, to_stderr
from megalabel.errors import DataError, MegalabelError, SettingError

if TYPE_CHECKING:
    from megalabel.distributed.world import World

GRACE = 2.0  # seconds


def check_alone() -> None:
    """SettingError for several processes without a folder of parts, which would all write the same answers."""
    if of_several():
        error = SettingError(
            f"{os.environ['WORLD_SIZE']} processes and one file of answers",
            wanted="a folder of parts, which processes share",
            next_step="add --parts jsonl -o FOLDER, or start the command without torchrun",
            where="parts",
        )
        error.speaker = 0
        raise error


def in_parts(
    request: Request, out: str | None, parts: str | None, part_size: int | None, *, shard_labels: bool = False
) -> None:
    """Runs the command in this process, one of those that torchrun has started, or the only one."""
    from megalabel.distributed.agreement import together
    from megalabel.distributed.objects import broadcast_object
    from megalabel.distributed.same_job import check_same_job
    from megalabel.distributed.world import join
    from megalabel.inference.parts import PartsFolder
    from megalabel.inference.predict_parts import PART_SIZE, predict_parts
    from megalabel.training.run_lock import writing

    size = PART_SIZE if part_size is None else part_size
    with contextlib.ExitStack() as stack, trusting(request.trust), contextlib.ExitStack() as group:
        world = group.enter_context(join())
        say = to_stderr if world.is_main else _nothing
        name, format = together(world, lambda: _checked(request, out, parts, size))
        if request.device is None and world.size > 1:
            request = request._replace(device=str(world.device))
        request, model, facts = together(world, lambda: _prepared(request, world, size, say, shard_labels))
        folder = PartsFolder(name, format, facts)
        check_same_job(folder.facts, world)

        def opened() -> set[int]:
            stack.enter_context(writing(folder.folder))
            return folder.open()

        done = broadcast_object(together(world, opened if world.is_main else set), world)
        together(world, folder.check)
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


@contextlib.contextmanager
def _after_main(world: World) -> Iterator[None]:
    """Lets rank 0 say first what is wrong with the input, which all processes find; torchrun then ends all."""
    try:
        yield
    except (MegalabelError, OSError, MemoryError):
        if not world.is_main:
            time.sleep(GRACE)
        raise


def _nothing(line: str) -> None:
    pass
