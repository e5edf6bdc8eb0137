"""A scikit-learn estimator and scorers; they need the extra `sklearn`."""

from megalabel.errors import MissingExtra

try:
    from megalabel.sklearn.classifier import LabelClassifier
    from megalabel.sklearn.scoring import make_xmc_scorer
except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] != "sklearn":
        raise
    raise MissingExtra(
        "scikit-learn is not installed",
        wanted="scikit-learn 1.6 or newer",
        next_step='run pip install "megalabel[sklearn]"',
        where="megalabel.sklearn",
    ) from error

__all__ = ["LabelClassifier", "make_xmc_scorer"]
