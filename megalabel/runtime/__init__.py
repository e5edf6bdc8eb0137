"""The runtime: predicts with exported models by the standard library alone, without torch, numpy or numba.

    from megalabel.runtime import load     # or, where only the runtime is installed: from megalabel_runtime

    model = load("runs/linear")            # what `megalabel export runs/linear` wrote
    model.predict(["a text"], k=5)

This package imports nothing of the library. `runtime/` in the repository packages it as `megalabel-runtime`, with
`_fast.c` compiled.
"""

from .errors import ModelError as ModelError
from .model import Model as Model
from .model import TopK as TopK
from .model import load as load

__all__ = ["Model", "ModelError", "TopK", "load"]
