"""`Shown`, the part of a `Classifier` that shows itself in terminals and notebooks."""

from __future__ import annotations

from megalabel.display import html_table
from megalabel.models.asking import Asking
from megalabel.models.facts import shown_facts
from megalabel.models.scores import score_kind


class Shown(Asking):
    """A classifier that says its kind, the number of its labels, and what it was trained on."""

    def __repr__(self) -> str:
        known = "" if self.trained_on is None else f", trained on {self.trained_on.name!r}"
        calibrated = "" if self.calibration is None else ", calibrated"
        return f"{type(self).__name__}({len(self.label_texts):,} labels{known}{calibrated})"

    def _repr_html_(self) -> str:
        """What the model is, as a table, for notebooks."""
        return html_table(type(self).__name__, ("", "value"), shown_facts(self, score_kind(self)))
