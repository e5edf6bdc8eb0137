"""Text classification over ten thousand to ten million labels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from megalabel.version import __version__ as __version__

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.inference.evaluate import evaluate
    from megalabel.labels.tree import LabelTree
    from megalabel.models.base import load
    from megalabel.models.ensemble import Ensemble
    from megalabel.models.neural import Model
    from megalabel.training.run import train
    from megalabel.types import TopK

# What the door offers, and where it lies: imported when first asked for, so that the command line starts at once.
_OFFERED = {
    "Corpus": "megalabel.data.corpus:Corpus",
    "Ensemble": "megalabel.models.ensemble:Ensemble",
    "LabelTree": "megalabel.labels.tree:LabelTree",
    "Model": "megalabel.models.neural:Model",
    "TopK": "megalabel.types:TopK",
    "evaluate": "megalabel.inference.evaluate:evaluate",
    "load": "megalabel.models.base:load",
    "train": "megalabel.training.run:train",
}

__all__ = ["Corpus", "Ensemble", "LabelTree", "Model", "TopK", "evaluate", "load", "train"]


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module 'megalabel' has no attribute {name!r}; it offers {', '.join(__all__)}")
    module, _, qualified = _OFFERED[name].partition(":")
    value: Any = importlib.import_module(module)
    for part in qualified.split("."):
        value = getattr(value, part)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
