"""Trained models as MLflow models: saved, logged and registered, and loaded as `pyfunc` or as they are.

MLflow names this module as the loader, so that a stored model holds the model folder and no pickled code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError, MissingExtra
from megalabel.models.base import Classifier, load
from megalabel.models.find import model_folder
from megalabel.version import __version__

EXAMPLE = ["a musical instrument with strings, played with a bow"]
PYFUNC = "python_function"


def save_model(run: str | Path, path: str | Path, *, k: int = 10, **options: Any) -> None:
    """Writes the model of a run as a folder of MLflow, which `mlflow.pyfunc.load_model` reads.

    Args:
        run: a run folder or a model folder; its model is copied.
        path: a new folder.
        k: labels per text where a call gives no other number.
        options: further arguments of `mlflow.pyfunc.save_model`, such as `pip_requirements`, by default the
            versions of megalabel and torch in use.

    Raises:
        MissingExtra: MLflow is not installed.
        FormatError: no such model, or a damaged one.
        mlflow.exceptions.MlflowException: of MLflow, such as for a folder that exists already.
    """
    mlflow = _mlflow()
    mlflow.pyfunc.save_model(path=str(path), **_arguments(run, k), **options)


def log_model(run: str | Path, name: str = "model", *, k: int = 10, **options: Any) -> Any:
    """Logs the model of a run to the active run of MLflow, or to a new one; returns MLflow's `ModelInfo`.

    Args:
        run, k: as for `save_model`.
        name: the name of the model in MLflow.
        options: further arguments of `mlflow.pyfunc.log_model`, such as `registered_model_name`.

    Raises:
        MissingExtra, FormatError, mlflow.exceptions.MlflowException: as `save_model`.
    """
    mlflow = _mlflow()
    return mlflow.pyfunc.log_model(name=name, **_arguments(run, k), **options)


def load_model(
    model_uri: str, *, dst_path: str | None = None, device: str | None = None, trust: Sequence[str] = ()
) -> Classifier:
    """Loads a model that `save_model` or `log_model` stored, with all methods of a classifier.

    Args:
        model_uri: as of `mlflow.pyfunc.load_model`: a folder, or an address such as "models:/subjects/3".
        dst_path: where a model that lies elsewhere is downloaded to; None for a temporary folder.
        device, trust: as for `megalabel.load`.

    Raises:
        MissingExtra: MLflow is not installed.
        FormatError: a model of another library, or a damaged one.
        mlflow.exceptions.MlflowException: MLflow has no such model.
    """
    mlflow = _mlflow()
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=str(model_uri), dst_path=dst_path))
    facts = mlflow.models.Model.load(str(folder)).flavors.get(PYFUNC, {})
    if facts.get("loader_module") != __name__:
        raise FormatError(
            f"a model whose loader is {facts.get('loader_module')!r}",
            wanted=f"one that {__name__}.log_model stored",
            next_step="load it with mlflow.pyfunc.load_model",
            where=str(model_uri),
        )
    return load(folder / facts["data"], device=device, trust=tuple(trust))


class PyFunc:
    """What `mlflow.pyfunc.load_model` wraps.

    Args:
        model: the model.
    """

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A DataFrame with the columns `labels` and `scores`, for each text lists of equal length, best first.

        Args:
            model_input: texts: a DataFrame with them in its first column, a Series, a list or one string.
            params: "k", labels per text, and "threshold", the least score of a label, as of `Classifier.predict`.
        """
        import pandas as pd  # type: ignore[import-untyped,unused-ignore]

        given = {name: value for name, value in (params or {}).items() if value is not None}
        answers = self.model.predict(_texts(model_input), **given)
        labels = [[name for name, _ in answer] for answer in answers]
        scores = [[float(score) for _, score in answer] for answer in answers]
        index = model_input.index if isinstance(model_input, (pd.DataFrame, pd.Series)) else None
        return pd.DataFrame({"labels": labels, "scores": scores}, index=index)


def _load_pyfunc(path: str) -> PyFunc:
    """The function of a loader module, which MLflow calls with the folder of the model."""
    return PyFunc(load(path))


def _texts(given: Any) -> list[Any]:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    if isinstance(given, pd.DataFrame):
        given = given.iloc[:, 0]
    return [given] if isinstance(given, str) else list(given)


def _arguments(run: str | Path, k: int) -> dict[str, Any]:
    """What both functions hand to MLflow; the model is read once, so that no damaged one is stored."""
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    folder = model_folder(run)
    load(folder, device="cpu")
    outputs = [ColSpec(Array(DataType.string), "labels"), ColSpec(Array(DataType.double), "scores")]
    params = [ParamSpec("k", DataType.long, k), ParamSpec("threshold", DataType.double, None)]
    return {
        "loader_module": __name__,
        "data_path": str(folder),
        "signature": ModelSignature(Schema([ColSpec(DataType.string)]), Schema(outputs), ParamSchema(params)),
        "input_example": EXAMPLE,
        "pip_requirements": [f"megalabel=={__version__}", f"torch=={torch.__version__.partition('+')[0]}"],
    }


def _mlflow() -> Any:
    try:
        import mlflow.pyfunc
        import pandas  # type: ignore[import-untyped,unused-ignore]  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"{error.name} is not installed",
            wanted="the packages mlflow and pandas",
            next_step='run pip install "megalabel[mlflow]"',
            where="megalabel.integrations.mlflow",
        ) from error
    return mlflow
