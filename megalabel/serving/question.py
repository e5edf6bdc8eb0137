"""What a client asks: the checked bodies of requests for predictions, explanations and feedback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from megalabel.models.asking import Asked
from megalabel.serving import wire
from megalabel.serving.limits import Limits
from megalabel.serving.refusal import Refusal, invalid

NAME_CHARS = 1000  # of a label in feedback
ASKED = ("k", "threshold", "min_labels", "precision", "coverage", "tail", "probabilities",
         "ancestors", "language")  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A request for predictions.

    Attributes:
        texts: the texts.
        asked: k, thresholds and the like.
        model: the name of a model; None for the default one.
        allow, deny: names of labels; None for all, or none.
        given: for each text the names of the labels that it is known to have; None for none.
        explain: whether the answer shows the words behind each label.
    """

    texts: list[str]
    asked: Asked
    model: str | None = None
    allow: list[str] | None = None
    deny: list[str] | None = None
    given: list[list[str]] | None = None
    explain: bool = False

    @classmethod
    def read(cls, body: dict[str, Any], limits: Limits) -> Question:
        """Checks a body; Refusal with 422 for values that are not what they should be."""
        values = wire.checked(body, _predict_checks(limits), ("texts",))
        asked = Asked(**{key: values.pop(key) for key in ASKED if key in values})
        found = cls(asked=asked, **values)
        if found.given is not None and len(found.given) != len(found.texts):
            wanted = f"a list with a list of labels for each of the {len(found.texts):,} texts"
            raise invalid("given", f"a list of {len(found.given):,}", wanted)
        if found.given is not None and asked.ancestors is not None:
            raise Refusal(422, "given: it cannot be combined with ancestors")
        if found.given is not None and (found.allow is not None or found.deny is not None):
            raise Refusal(422, "given: it cannot be combined with allow or deny")
        return found


@dataclass(frozen=True)
class Feedback:
    """What somebody says of the labels of a text: names that are right, wrong, and right but not predicted."""

    text: str
    accepted: list[str]
    rejected: list[str]
    added: list[str]
    model: str | None = None

    @classmethod
    def read(cls, body: dict[str, Any], limits: Limits) -> Feedback:
        """Checks a body; Refusal with 422 for values that are not what they should be."""
        values = wire.checked(body, _feedback_checks(limits), ("text",))
        found = cls(**{"accepted": [], "rejected": [], "added": [], **values})
        if not found.labels and not found.rejected:
            raise Refusal(422, "accepted, rejected, added: all are empty; give at least one label")
        return found.renamed(lambda names: names)

    def renamed(self, named: Callable[[list[str]], list[str]]) -> Feedback:
        """The same with other names for the labels; Refusal with 422 for one that is right and wrong."""
        accepted, rejected, added = (named(names) for names in (self.accepted, self.rejected, self.added))
        found = replace(self, accepted=accepted, rejected=rejected, added=added)
        both = {*found.labels} & {*found.rejected}
        if both:
            raise invalid("rejected", min(both), "a label that is not accepted or added as well")
        return found

    @property
    def labels(self) -> list[str]:
        """The right labels, each once."""
        return list(dict.fromkeys(self.accepted + self.added))


def explain_request(body: dict[str, Any]) -> tuple[str, str, str | None]:
    """The text, the label and the model of a request to explain."""
    checks = {"text": wire.text, "label": wire.text, "model": wire.text}
    values = wire.checked(body, checks, ("text", "label"))
    return values["text"], values["label"], values.get("model")


@lru_cache
def _predict_checks(limits: Limits) -> dict[str, wire.Check]:
    labels = wire.texts(limits.listed_labels)
    return {
        "texts": wire.texts(limits.texts), "model": wire.text, "k": wire.whole(1, limits.k),
        "threshold": wire.number, "min_labels": wire.whole(0, limits.k), "precision": wire.number,
        "coverage": wire.number, "tail": _tail, "probabilities": wire.flag, "ancestors": wire.text,
        "language": wire.text, "allow": labels, "deny": labels,
        "given": _given(limits.listed_labels), "explain": wire.flag,
    }  # fmt: skip


@lru_cache
def _feedback_checks(limits: Limits) -> dict[str, wire.Check]:
    names = _names(limits.listed_labels)
    return {"text": _text, "accepted": names, "rejected": names, "added": names, "model": wire.text}


def _given(most: int) -> wire.Check:
    def check(key: str, found: Any) -> list[list[str]]:
        if not isinstance(found, list):
            raise invalid(key, found, "a list with a list of labels for each text")
        lists = [wire.texts(most)(f"{key}[{i}]", own) for i, own in enumerate(found)]
        if sum(map(len, lists)) > most:
            raise invalid(key, f"{sum(map(len, lists)):,} labels", f"{most:,} labels at most")
        return lists

    return check


def _names(most: int) -> wire.Check:
    def check(key: str, found: Any) -> list[str]:
        names = wire.texts(most)(key, found)
        for name in names:
            if not name.strip() or len(name) > NAME_CHARS or "\n" in name or not _is_complete(name):
                raise invalid(key, name, f"the name of a label, one line of at most {NAME_CHARS:,} characters")
        return names

    return check


def _tail(key: str, found: Any) -> float | str:
    """A number, or the word auto."""
    return "auto" if found == "auto" else wire.number(key, found)


def _text(key: str, found: Any) -> str:
    """A text that data files can hold."""
    text = wire.text(key, found)
    if not text.strip():
        raise invalid(key, text, "a text that is not blank")
    if not _is_complete(text):
        raise invalid(key, text, "a text of complete characters, without halves of surrogate pairs")
    return text


def _is_complete(text: str) -> bool:
    """Whether a text can be written as UTF-8, so that data files with it can be read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
