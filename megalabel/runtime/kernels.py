"""The operations that take most of the time: compiled where they were built, otherwise in plain Python."""

from __future__ import annotations

from .plain import VERSION, Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _chosen() -> Any:
    """The compiled module of the package megalabel-runtime where it is installed, else `Plain`."""
    try:
        import megalabel_runtime._fast as fast  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return Plain
    return fast if fast.VERSION == VERSION else Plain


chosen = _chosen()
