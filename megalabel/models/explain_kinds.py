"""`explain` with the explanations of all kinds of models registered, which importing their modules does."""

from __future__ import annotations

from megalabel.models import explain_linear, explain_merged, explain_neural, explain_wrapped
from megalabel.models.explain import explain

__all__ = ["explain", "explain_linear", "explain_merged", "explain_neural", "explain_wrapped"]
