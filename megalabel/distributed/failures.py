"""What can go wrong between the processes of a job, with an exit status for each."""

from __future__ import annotations

import contextlib
import errno
import os

from megalabel.errors import MegalabelError, ResourceError, SettingError


class ProcessesDiffer(SettingError):
    """The processes of a job have different settings, data or versions."""

    exit_code = 3


class NotShared(SettingError):
    """The processes of a job do not see the same run folder."""

    exit_code = 4


class CannotJoin(ResourceError):
    """The processes of a job do not find each other."""

    exit_code = 6


class ProcessLost(ResourceError):
    """Another process of the job has ended, or no longer answers."""

    exit_code = 7


class OutOfMemory(ResourceError):
    """A process of a job has no more memory."""

    exit_code = 8


def as_error(error: BaseException, rank: int) -> BaseException:
    """The error of megalabel for what PyTorch or Python have raised in a process; others are returned as they are.

    The result says in which process it was raised.
    """
    found = error
    if _out_of_memory(error):
        found = OutOfMemory(
            f"there is not enough memory ({_short(error)})",
            wanted="memory for this process's share of the labels",
            next_step="use more processes, each with fewer labels, or a smaller --batch-size",
        )
    elif isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename else ""
        found = ResourceError(f"{place}{error.strerror}", wanted="a file that can be read and written")
    elif is_lost(error):
        found = ProcessLost(
            "another process has ended or no longer answers",
            wanted="all processes until the end",
            next_step="see what it has printed, or whether the system has ended it for lack of memory; the same "
            "command goes on from the last checkpoint",
        )
    if isinstance(found, MegalabelError) and not isinstance(found, ProcessLost):
        if found.process is None and found.speaker is None:  # else all processes have agreed on it
            found.process = rank
    return found


def cannot_join(error: BaseException, size: int, timeout: float) -> CannotJoin:
    """The error for processes that did not find each other, from what PyTorch has raised."""
    place = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
    text = str(error)
    if "EADDRINUSE" in text or "address already in use" in text.casefold():
        return CannotJoin(
            f"the port of {place} is in use by another program",
            wanted="a free port, at which the processes meet",
            next_step="use another --master-port or --rdzv-endpoint, or --standalone on a single machine",
        )
    if isinstance(error, ValueError):
        return CannotJoin(
            _short(error), wanted="the environment variables that torchrun sets", next_step="start with torchrun"
        )
    return CannotJoin(
        f"not all of the {size} processes met at {place} within {timeout:g} s ({_short(error)})",
        wanted="the same address and port on every machine, which all of them can reach",
        next_step="check --rdzv-endpoint, the firewall, and that the command runs on every machine; on a machine "
        "with several networks set GLOO_SOCKET_IFNAME to the interface that reaches the others",
    )


def is_lost(error: BaseException) -> bool:
    """Whether an error of PyTorch says that the connection to another process is lost or has timed out."""
    if not isinstance(error, RuntimeError) or isinstance(error, MegalabelError):
        return False
    text = str(error).casefold()
    own = type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError")
    signs = ("connection closed by peer", "connection reset", "timed out waiting", "gloo", "nccl", "broken pipe")
    return own or any(sign in text for sign in signs)


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    with contextlib.suppress(ValueError):
        text = text[text.index("DefaultCPUAllocator") :]
    return text[:160]
