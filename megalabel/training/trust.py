"""The packages beside megalabel that may be imported to load a model or a recipe: those that the user names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from megalabel.errors import SettingError

_trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())


@contextmanager
def trusting(packages: Sequence[str]) -> Iterator[None]:
    """Within the block, the packages are trusted beside those that are trusted already."""
    token = _trusted.set((*_trusted.get(), *packages))
    try:
        yield
    finally:
        _trusted.reset(token)


def trusted() -> tuple[str, ...]:
    """The packages that are trusted now, as `megalabel.load(trust=...)` takes them."""
    return _trusted.get()


def check_trusted(module: str, what: str) -> None:
    """SettingError unless a module is of megalabel or of a trusted package.

    Args:
        module: dotted name.
        what: what would be imported, for the message, such as "the recipe my_package.mine:recipe".
    """
    package = module.split(".")[0]
    if package not in ("megalabel", *_trusted.get()):
        raise SettingError(
            f"{what} is code of the package {package}, which is not trusted",
            wanted="a package that you trust",
            next_step=f'give --trust {package}, or trust=["{package}"] in Python, if you trust it',
            where="trust",
        )
