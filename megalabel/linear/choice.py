"""Chooses settings of linear models from the training texts: each is kept only where held-out texts gain by it.

One setting after the other is tried on a `Trial`, in the order token pattern, character n-grams, bigrams, C. All
settings are measured on the same held-out texts, by one tree each. A value replaces the current
one if its gain in nDCG@5 exceeds the standard error of the mean of the paired differences, times a factor:
features that slow down training have to gain more. The choice depends on the data and the seed only, never on the
clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from megalabel.data.texts import Texts
from megalabel.linear.trial import Setting, Trials
from megalabel.phases import phase
from megalabel.progress import Progress

FEWEST_HELD = 40  # held-out texts with labels below which nothing is chosen
MANY_SIGNS = 0.03  # share of characters that are neither letters, digits nor blanks for signs to be tried
SHORT_NGRAMS = 4, 4  # one length gains as much as 3 to 5 in a third of the time (docs/log.md)
ALL_NGRAMS = 3, 5  # where words do not repeat
WEIGHTS = 1.0, 0.5, 0.0  # of bigrams
STEP = 2.0  # between two values of C
MOST_STEPS = 3
SIGNS_SAMPLE, SIGNS_READ = 4_000, 1_000  # texts, evenly spaced, and characters of each
_SIGN, _SOLID = re.compile(r"[^\w\s]"), re.compile(r"\S")

Name = Literal["token_pattern", "char_ngrams", "bigram_weight", "c"]
# Standard errors, and points of nDCG@5, by which another value has to be better.
MARGINS: dict[Name, tuple[float, float]] = {
    "token_pattern": (2.0, 0.0),
    "char_ngrams": (0.5, 0.25),
    "bigram_weight": (1.0, 0.0),
    "c": (1.0, 0.0),
}


@dataclass
class Search:
    """A search along one setting after the other.

    Attributes:
        trial: measures settings.
        best: the setting so far.
        say: a function that takes a line of text per decision.
        scores: of the best setting, per held-out text.
    """

    trial: Trials
    best: Setting
    say: Callable[[str], Any]
    scores: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.scores = self.trial.measure(self.best)

    def along(self, name: Name, values: Iterable[Any]) -> bool:
        """Tries values of one setting in turn, and keeps each that is better; whether the setting changed."""
        before = getattr(self.best, name)
        seen = {before: self.scores.mean()}
        for value in values:
            if value in seen:
                continue
            candidate = replace(self.best, **{name: value})
            scores = self.trial.measure(candidate)
            seen[value] = scores.mean()
            if gains(scores - self.scores, *MARGINS[name]):
                self.best, self.scores = candidate, scores
        if len(seen) > 1:
            self._tell(name, seen)
        return bool(getattr(self.best, name) != before)

    def climb(self, name: Literal["c"]) -> None:
        """Doubles or halves a value, whichever is better, for as long as that is better."""
        start = getattr(self.best, name)
        seen = {start: self.scores.mean()}
        tried = []
        for factor in (STEP, 1 / STEP):
            candidate = replace(self.best, **{name: start * factor})
            scores = self.trial.measure(candidate)
            seen[start * factor] = scores.mean()
            tried.append((float(scores.mean()), factor, candidate, scores))
        _, factor, candidate, scores = max(tried, key=lambda of: of[:2])
        for _ in range(MOST_STEPS):
            if not gains(scores - self.scores, *MARGINS[name]):
                break
            self.best, self.scores = candidate, scores
            candidate = replace(candidate, **{name: getattr(candidate, name) * factor})
            scores = self.trial.measure(candidate)
            seen[getattr(candidate, name)] = scores.mean()
        self._tell(name, seen)

    def _tell(self, name: Name, seen: dict[Any, float]) -> None:
        chosen = getattr(self.best, name)
        others = ", ".join(f"{_shown(name, v)} {score:.1f}" for v, score in seen.items() if v != chosen)
        self.say(f"{_TITLES[name]}: {_shown(name, chosen)} (held-out nDCG@5 {seen[chosen]:.1f}; {others})")


@dataclass(frozen=True)
class Open:
    """Which settings are open, and their values.

    Attributes:
        token_pattern: whether other patterns may be tried.
        char_ngrams: lengths of character n-grams that may be tried.
        bigram_weights: weights of bigrams that may be tried.
        c: whether C is open.
    """

    token_pattern: bool
    char_ngrams: tuple[tuple[int, int], ...]
    bigram_weights: tuple[float, ...]
    c: bool

    def __bool__(self) -> bool:
        return self.token_pattern or bool(self.char_ngrams) or len(self.bigram_weights) > 0 or self.c


def search(trial: Trials, start: Setting, free: Open, say: Callable[[str], Any]) -> Setting:
    """The setting that is best on held-out texts, from `start` on; `say` takes a line per decision.

    Token pattern and character n-grams are compared on the first 1,000 characters of each text, the other settings
    on whole texts: C and the weight of bigrams chosen on beginnings cost 2 points of PSP@5 on eurlex-4.3k.
    """
    with phase("choosing settings"), Progress("choosing settings", most_trials(free)) as shown:
        trial.shown = shown
        return _search(trial, start, free, say)


def most_trials(free: Open) -> int:
    """The number of trials of a search, at most."""
    patterns = 2 if free.token_pattern else 0
    beginnings = 1 if free.token_pattern or free.char_ngrams else 0  # the start is measured on them as well
    of_c = 1 + MOST_STEPS if free.c else 0
    return 1 + beginnings + patterns + len(free.char_ngrams) + len(free.bigram_weights) + of_c


def _search(trial: Trials, start: Setting, free: Open, say: Callable[[str], Any]) -> Setting:
    if free.token_pattern or free.char_ngrams:
        # Each value needs features of its own, which for long texts take longer than solving.
        found = Search(trial.of_beginnings(), start, say)
        if free.token_pattern and found.along("token_pattern", ["signs"]):
            found.along("token_pattern", ["symbols"])
        found.along("char_ngrams", free.char_ngrams)
        if found.trial is not trial:
            found = Search(trial, found.best, say)
    else:
        found = Search(trial, start, say)
    found.along("bigram_weight", free.bigram_weights)
    if free.c:
        found.climb("c")
    return found.best


def gains(differences: np.ndarray, errors: float, points: float) -> bool:
    """Whether the mean of paired differences exceeds `errors` of its standard errors, and `points`."""
    mean, n = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / n**0.5 if n > 1 else np.inf
    return mean > max(errors * error, points, 1e-9)


def share_of_signs(texts: Texts) -> float:
    """The share of characters, without blanks, that are neither letters, digits nor underscores, in a sample."""
    step = max(1, -(-len(texts) // SIGNS_SAMPLE))
    read = "".join(texts[i][:SIGNS_READ] for i in range(0, len(texts), step))
    return len(_SIGN.findall(read)) / max(len(_SOLID.findall(read)), 1)


_TITLES: dict[Name, str] = {
    "token_pattern": "token pattern",
    "char_ngrams": "character n-grams",
    "bigram_weight": "bigrams",
    "c": "c",
}


def _shown(name: Name, value: Any) -> str:
    if name == "char_ngrams":
        return "no" if value is None else f"of {value[0]}" + (f" to {value[1]}" if value[1] > value[0] else "")
    if name == "bigram_weight":
        return f"weight {value:g}" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
