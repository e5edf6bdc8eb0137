"""`ServedModel`, a model that the server answers with: its name and version, and answers as JSON can hold them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.label_metadata import LabelMetadata
from megalabel.errors import MegalabelError, SettingError
from megalabel.models.answer import answer
from megalabel.models.asking import LABELS, Asked
from megalabel.models.base import Classifier, load
from megalabel.models.explain import explained
from megalabel.models.explanation import Explanation
from megalabel.models.find import RECIPE, find_model
from megalabel.models.label_lists import Choice
from megalabel.models.scores import probability_kind, score_kind
from megalabel.serving.label_lookup import LabelLookup
from megalabel.serving.label_search import LabelSearch
from megalabel.serving.label_statistics import statistics
from megalabel.serving.refusal import Refusal
from megalabel.serving.training_texts import TrainingTexts, has_neighbors
from megalabel.storage.files import read_json, sha256
from megalabel.storage.manifest import NAME

MANY = 17  # texts, more than those for which models have a way of their own
VERSION_DIGITS = 12  # of the hash of the manifest


class ServedModel:
    """A loaded model.

    Args:
        name: how clients call it.
        version: changes whenever the model does.
        model: a model that reads texts.
        recipe: the name of its recipe; "" where it is not known.
        texts: its training texts, for explanations; None where they are not known.

    Raises:
        SettingError: the model reads bags of words.
    """

    def __init__(
        self, name: str, version: str, model: Classifier, recipe: str = "", texts: TrainingTexts | None = None
    ) -> None:
        if model.n_features is not None:
            raise SettingError(
                f"{name} is a model over bags of words",
                wanted="a model that reads texts",
                next_step="train on a data set with texts",
                where="run",
            )
        self.name, self.version, self.model, self.recipe = name, version, model, recipe
        counts = None if model.trained_on is None else model.trained_on.counts
        self.counts: np.ndarray | None = counts
        self.texts = texts or TrainingTexts(model.label_texts)
        self.search = LabelSearch(model.label_texts, counts)
        self.lookup = LabelLookup(model.label_texts, model.metadata)
        self._checked = lru_cache(256)(lambda asked: asked.checked(model))

    @classmethod
    def load(
        cls,
        name: str,
        run: Path,
        *,
        device: str | None = "cpu",
        trust: Sequence[str] = (),
        mapped: bool = False,
    ) -> ServedModel:
        """Loads the model of a run, whose weights stay in their files where they can; errors as `load`.

        mapped: whether this holds for linear trees too, which are faster when `prepack` has copied their weights.
        """
        version = version_of(run)
        model = load(run, device=device, trust=trust, mapped=True)
        if not mapped:
            model.prepack()
        texts = None
        if has_neighbors(model):
            with contextlib.suppress(MegalabelError, OSError):  # explanations show no texts then
                texts = TrainingTexts.of_run(run, model)
        return cls(name, version, model, recipe_of(run), texts)

    @property
    def explains(self) -> bool:
        """Whether the model can explain its labels."""
        import megalabel.models.explain_kinds  # noqa: F401  # registers the kinds of models

        return explained.dispatch(type(self.model)) is not explained.dispatch(object)

    @property
    def completes(self) -> bool:
        """Whether the model knows which labels occur together, for labels that are given."""
        known = self.model.trained_on
        return known is not None and known.pairs is not None

    @property
    def gives_log_odds(self) -> bool:
        """Whether scores are log-odds, whose sigmoid is a probability."""
        return score_kind(self.model) == "logit" and self.model.loss_name == "bce"

    def warm_up(self) -> None:
        """Compiles what predictions need, also of many texts or a few labels, so that no client waits for it."""
        for n, choice in ((1, Choice()), (MANY, Choice()), (1, Choice(allow=np.zeros(1, np.int64)))):
            self.predict(["one text"] * n, self.checked(Asked()), choice)

    def facts(self) -> dict[str, Any]:
        """The facts about the model that clients get."""
        calibrated = self.model.calibration is not None
        return {
            "name": self.name,
            "version": self.version,
            "recipe": self.recipe,
            "labels": len(self.model.label_texts),
            "score_type": probability_kind(self.model) if calibrated else score_kind(self.model),
            "calibrated": calibrated,
            "explains": self.explains,
            "completes": self.completes,
        }

    def checked(self, asked: Asked) -> Asked:
        """The same, complete and checked against the model; SettingError for what it cannot answer."""
        found: Asked = self._checked(asked)
        return found

    def choice(self, allow: list[str] | None, deny: list[str] | None) -> Choice:
        """Lists of names as ids; Refusal with 422 for a name that no label has."""
        lists = [None if names is None else np.unique(self.ids(key, names)) for key, names in
                 (("allow", allow), ("deny", deny))]  # fmt: skip
        return Choice(*lists)

    def ids(self, key: str, names: list[str]) -> np.ndarray:
        """The ids of the labels with these names or URIs: (n,) int64; Refusal with 422 for one that is unknown."""
        found, unknown = self.lookup.all_ids(names)
        if unknown:
            more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
            raise Refusal(422, f"{key}: no label of {self.name} is called {unknown[0]!r:.80}{more}")
        return np.array(found, np.int64)

    def given(self, lists: Sequence[list[str]]) -> list[list[int]]:
        """For each text the ids of the labels that it has; Refusal as `ids`."""
        return [self.ids(f"given[{i}]", own).tolist() for i, own in enumerate(lists)]

    def names_of(self, names: Sequence[str]) -> list[str]:
        """The names of the labels that names, URIs and other names stand for; a name that no label has stays."""
        found = [(name, self.lookup.ids(name)) for name in names]
        return list(dict.fromkeys(self.model.label_texts[ids[0]] if ids else name for name, ids in found))

    def predict(
        self, texts: Sequence[str], asked: Asked, choice: Choice, given: list[list[int]] | None = None
    ) -> list[dict[str, Any]]:
        """For each text `score_type` and `labels`; `asked` is a result of `checked`. Errors as `predict`."""
        found = answer(self.model, self.model.check_texts(texts), asked, choice, given=given)
        return list(found.records())

    def explain(self, text: str, label: int) -> dict[str, Any]:
        """What each word adds to the score of a label, and the nearest training texts of models that have them."""
        found = self.model.explain(text, label)
        score, kind = self.score(text, label, found.rank)
        return {
            "label": {**self.label(label), **statistics(self.model.trained_on, self.model.label_texts, label)},
            "rank": found.rank,
            "score": score,
            "score_type": kind,
            "scale": found.scale,
            "value": found.value,
            "base": found.base,
            "words": words(found),
            "neighbors": [self.texts.shown(near) for near in found.neighbors],
            "why_not": found.why_not,
        }

    def evidence(self, text: str, labels: Sequence[int]) -> list[dict[str, Any]]:
        """The words behind each of some labels."""
        return [{"id": label, "words": words(self.model.explain(text, label))} for label in labels]

    def score(self, text: str, label: int, rank: int | None) -> tuple[float | None, str]:
        """The score of a label as predictions show it, and what it is; None for a label that is not reached."""
        asked = self.checked(Asked(max(LABELS, rank or 0)))
        choice = Choice() if rank is not None else Choice(allow=np.array([label]))
        found = answer(self.model, self.model.check_texts([text]), asked, choice)
        shown = next(found.records())
        scores = [one["score"] for one in shown["labels"] if one["id"] == label]
        return (scores[0] if scores else None), shown["score_type"]

    def label(self, label: int) -> dict[str, Any]:
        """The facts about a label that clients get: id, name and, if they are known, URI, notation and the number
        of its training texts.
        """
        known = self.model.metadata or LabelMetadata(len(self.model.label_texts))
        both = {"uri": known.uri(label), "notation": known.notation(label)}
        own = {key: text for key, text in both.items() if text}
        count = None if self.counts is None else int(self.counts[label])
        return {"id": label, "label": self.model.label_texts[label], **own, "training_texts": count}


def words(found: Explanation) -> list[dict[str, Any]]:
    """The words of an explanation, in the order of the text."""
    return [
        {
            "word": word.text,
            "start": word.start,
            "end": word.end,
            "contribution": float(f"{word.contribution:.6g}"),
        }
        for word in found.words
    ]


def version_of(run: Path) -> str:
    """The version of the model at a path: the first digits of the hash of its manifest."""
    return sha256(find_model(run)[0] / NAME)[:VERSION_DIGITS]


def recipe_of(run: Path) -> str:
    """The recipe of a run, or of the run that a model folder belongs to; "" where it is not known."""
    for folder in (run, run.parent):
        with contextlib.suppress(MegalabelError):
            return str(read_json(folder / RECIPE, next_step=None).get("recipe", ""))
    return ""
