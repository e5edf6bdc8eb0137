"""What a client asks: the checked bodies of requests for predictions, explanations and feedback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from megalabel.models.asking import Asked
from megalabel.serving import wire
from megalabel.serving.limits import Limits
from megalabel.serving.refusal import Refusal, invalid

PREDICT = (
    "texts", "model", "k", "threshold", "min_labels", "precision", "coverage", "tail", "probabilities",
    "allow", "deny", "given", "explain",
)  # fmt: skip
EXPLAIN = ("text", "label", "model")
FEEDBACK = ("text", "accepted", "rejected", "added", "model")
NAME_CHARS = 1000  # of a label in feedback


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
        wire.known_keys(body, PREDICT)
        asked = Asked(
            k=wire.value_of(body, "k", wire.whole(1, limits.k)),
            probabilities=wire.value_of(body, "probabilities", wire.flag),
            threshold=wire.value_of(body, "threshold", wire.number),
            min_labels=wire.value_of(body, "min_labels", wire.whole(0, limits.k)) or 0,
            precision=wire.value_of(body, "precision", wire.number),
            coverage=wire.value_of(body, "coverage", wire.number),
            tail=wire.value_of(body, "tail", wire.number) or 0.0,
        )
        texts = wire.value_of(body, "texts", wire.texts(limits.texts), required=True)
        found = cls(
            texts,
            asked,
            model=wire.value_of(body, "model", wire.text),
            allow=wire.value_of(body, "allow", wire.texts(limits.listed_labels)),
            deny=wire.value_of(body, "deny", wire.texts(limits.listed_labels)),
            given=wire.value_of(body, "given", _given(len(texts), limits.listed_labels)),
            explain=wire.value_of(body, "explain", wire.flag) or False,
        )
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
        wire.known_keys(body, FEEDBACK)
        text = wire.text_of(body, "text")
        if not text.strip():
            raise invalid("text", text, "a text that is not blank")
        if not _complete(text):
            raise invalid("text", text, "a text of complete characters, without halves of surrogate pairs")
        lists = [wire.value_of(body, key, _names(limits.listed_labels)) or [] for key in FEEDBACK[1:4]]
        accepted, rejected, added = lists
        if not any(lists):
            raise Refusal(422, "accepted, rejected, added: all are empty; give at least one label")
        both = {*accepted, *added} & {*rejected}
        if both:
            raise invalid("rejected", min(both), "a label that is accepted or added as well")
        return cls(text, accepted, rejected, added, wire.value_of(body, "model", wire.text))

    @property
    def labels(self) -> list[str]:
        """The right labels, each once."""
        return list(dict.fromkeys(self.accepted + self.added))


def explain_request(body: dict[str, Any]) -> tuple[str, str, str | None]:
    """The text, the label and the model of a request to explain."""
    wire.known_keys(body, EXPLAIN)
    return wire.text_of(body, "text"), wire.text_of(body, "label"), wire.value_of(body, "model", wire.text)


def _given(n_texts: int, most: int) -> Any:
    def check(key: str, found: Any) -> list[list[str]]:
        if not isinstance(found, list) or len(found) != n_texts:
            raise invalid(key, found, f"a list with a list of labels for each of the {n_texts:,} texts")
        lists = [wire.texts(most)(f"{key}[{i}]", own) for i, own in enumerate(found)]
        if sum(map(len, lists)) > most:
            raise invalid(key, f"{sum(map(len, lists)):,} labels", f"{most:,} labels at most")
        return lists

    return check


def _names(most: int) -> Any:
    def check(key: str, found: Any) -> Sequence[str]:
        names = wire.texts(most)(key, found)
        for name in names:
            if not name.strip() or len(name) > NAME_CHARS or "\n" in name or not _complete(name):
                raise invalid(key, name, f"the name of a label, one line of at most {NAME_CHARS:,} characters")
        return names

    return check


def _complete(text: str) -> bool:
    """Whether a text can be written as UTF-8, so that data files with it can be read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
