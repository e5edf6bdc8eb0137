"""Names of models on a hub, and the errors of its client in megalabel's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from megalabel.errors import ResourceError, SettingError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_name(text: object) -> bool:
    """Whether a text has the form of a model's name, "user/model"."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def check_name(name: Any) -> str:
    """The name of a model; SettingError for anything else."""
    if not is_name(name):
        raise SettingError(
            f"{name!r:.120}",
            wanted="a name such as user/model, of letters, digits, '-', '_' and '.'",
            where="name",
        )
    return str(name)


@contextmanager
def hub_errors(name: str) -> Iterator[None]:
    """Within the block, errors of the hub's client become errors of megalabel.

    Raises:
        SettingError: there is no such model or revision, or it may not be read or written without another token.
        ResourceError: the hub cannot be reached, or fails.
    """
    from huggingface_hub import errors

    http_error = errors.HfHubHTTPError.__bases__[0]  # of its HTTP client, which differs between versions
    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise SettingError(
            _first_line(error), wanted="a branch, tag or commit of the model", where=f"{name}, revision"
        ) from error
    except (errors.RepositoryNotFoundError, errors.GatedRepoError, errors.LocalTokenNotFoundError) as error:
        raise SettingError(
            f"there is no such model, or this token may not use it ({_first_line(error)})",
            wanted="a model on the hub that you may use",
            next_step="correct the name, or log in with `hf auth login`",
            where=name,
        ) from error
    except (errors.OfflineModeIsEnabled, errors.HfHubHTTPError, http_error, OSError) as error:
        raise ResourceError(
            f"the hub cannot be used ({type(error).__name__}: {_first_line(error)})",
            wanted="an answer of the hub",
            next_step="try again later, or copy the model folder by other means",
            where=name,
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
