"""`Shown`, the part of a `Classifier` that shows itself in terminals and notebooks."""

from __future__ import annotations

from megalabel.display import NAME, ROWS, cut, html_table
from megalabel.models.asking import Asking
from megalabel.models.scores import score_kind


class Shown(Asking):
    """A classifier that says its kind, the number of its labels, and what it was trained on."""

    def __repr__(self) -> str:
        known = "" if self.trained_on is None else f", trained on {self.trained_on.name!r}"
        calibrated = "" if self.calibration is None else ", calibrated"
        return f"{type(self).__name__}({len(self.label_texts):,} labels{known}{calibrated})"

    def _repr_html_(self) -> str:
        """What the model is, as a table, for notebooks."""
        return html_table(type(self).__name__, ("", "value"), _facts(self))


def _facts(model: Asking) -> list[tuple[str, str]]:
    """What a notebook shows of a model: pairs of a name and a value."""
    names = [cut(model.label_texts[i], NAME) for i in range(min(ROWS, len(model.label_texts)))]
    rows = [("labels", f"{len(model.label_texts):,}: {', '.join(names)}{', …' * (len(model.label_texts) > ROWS)}")]
    if model.trained_on is not None:
        rows.append(("trained on", f"{model.trained_on.name}, {model.trained_on.n_texts:,} texts"))
    calibrated = "calibrated by held-out texts" if model.calibration is not None else "not calibrated"
    return [*rows, ("scores", score_kind(model)), ("probabilities", calibrated)]
