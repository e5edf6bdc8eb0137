"""Text classification over ten thousand to ten million labels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from megalabel.version import __version__ as __version__

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus as Corpus
    from megalabel.hub.download import from_pretrained as from_pretrained
    from megalabel.inference.evaluate import evaluate as evaluate
    from megalabel.labels.tree import LabelTree as LabelTree
    from megalabel.models.base import Classifier as Classifier
    from megalabel.models.base import load as load
    from megalabel.models.ensemble import Ensemble as Ensemble
    from megalabel.models.hybrid import HybridClassifier as HybridClassifier
    from megalabel.models.linear import LinearClassifier as LinearClassifier
    from megalabel.models.neural import NeuralClassifier as NeuralClassifier
    from megalabel.training.run import train as train
    from megalabel.tuning.search import tune as tune
    from megalabel.types import TopK as TopK

# The public names and where they are defined; imported at first use, so that the command line starts at once.
_OFFERED = {
    "Classifier": "megalabel.models.base:Classifier",
    "Corpus": "megalabel.data.corpus:Corpus",
    "Ensemble": "megalabel.models.ensemble:Ensemble",
    "HybridClassifier": "megalabel.models.hybrid:HybridClassifier",
    "LabelTree": "megalabel.labels.tree:LabelTree",
    "LinearClassifier": "megalabel.models.linear:LinearClassifier",
    "NeuralClassifier": "megalabel.models.neural:NeuralClassifier",
    "TopK": "megalabel.types:TopK",
    "evaluate": "megalabel.inference.evaluate:evaluate",
    "from_pretrained": "megalabel.hub.download:from_pretrained",
    "load": "megalabel.models.base:load",
    "train": "megalabel.training.run:train",
    "tune": "megalabel.tuning.search:tune",
}

__all__ = [
    "Classifier",
    "Corpus",
    "Ensemble",
    "HybridClassifier",
    "LabelTree",
    "LinearClassifier",
    "NeuralClassifier",
    "TopK",
    "evaluate",
    "from_pretrained",
    "load",
    "train",
    "tune",
]


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
