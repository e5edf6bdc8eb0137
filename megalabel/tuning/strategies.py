"""The order in which candidates are tried: successive halving for training in steps, one change at a time else.

Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", AISTATS 2016): many candidates are trained for few epochs, the best third of them for three times as
many, and so on. The numbers of candidates follow from the time that the first ones took.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from megalabel.recipes import get
from megalabel.training.trust import trusted
from megalabel.tuning.candidates import Candidate, variations
from megalabel.tuning.history import Result
from megalabel.tuning.trials import Trials

ETA = 3  # factor between the epochs of two rungs
EARLY = 0.25  # of the time, for all rungs before the last one each
WIDEST = 9  # candidates on the first rung
ROOM = 1.1  # a trial is begun if so many times its estimated time is left
# Shares of the time that is left, for a trial on the first rung. A second candidate can then be compared with the
# first one there, and any other can later be trained for twice as many epochs.
FIRST, FURTHER = EARLY / (1 + ROOM), 1 / (1 + 2 * ROOM) / ROOM


class Halving:
    """Successive halving over candidates of recipes that train in steps, in brackets until the time is used.

    Args:
        trials: runs the trials.
        starts: the first candidates, of any recipes.
        fixed: names of options that are not varied.
        seed: seeds the variations.
        after: the seconds that what follows takes with a result, and that are left for it.
    """

    def __init__(
        self,
        trials: Trials,
        starts: Sequence[Candidate],
        fixed: Iterable[str],
        seed: int,
        after: Callable[[Result], float] = lambda result: 0.0,
    ) -> None:
        self.trials, self.starts, self.fixed, self.seed = trials, starts, tuple(fixed), seed
        self.after = after
        self.metric, self.history = trials.setting.metric, trials.history
        self.best: Result | None = None

    def run(self, until: float) -> Result | None:
        """The best result; None if no candidate can be trained in time.

        until: the time on the clock of the history at which it should end.
        """
        fresh: Iterator[Candidate] = iter(self.starts)
        varied: Result | None = None
        while self._bracket(fresh, until) and self.best is not None:
            left = until - self.history.elapsed - self.after(self.best)
            if left < ROOM * (1 + 1 / ETA) * self.best.seconds:
                break  # another candidate could not be trained for as long as the best one, after a first rung
            if self.best is not varied:
                varied = self.best
                recipe = get(varied.recipe, trust=trusted())
                fresh = itertools.chain(fresh, variations(recipe, varied.candidate, self.fixed, self.seed))
        return self.best

    def _bracket(self, fresh: Iterator[Candidate], until: float) -> bool:
        """One bracket; False if there was no time or no candidate for another."""
        begun = self.history.elapsed
        time = until - begun
        rung = self._first_rung(fresh, begun, time)
        if not rung:
            return False
        while rung:
            rung = self._next_rung(rung, until, begun + 2 * EARLY * time)
        return True

    def _first_rung(self, fresh: Iterator[Candidate], begun: float, time: float) -> list[Result]:
        """The finished trials of a few epochs each."""
        found: list[Result] = []
        for candidate in itertools.islice(fresh, WIDEST):
            used = self.history.elapsed - begun
            epochs = max(1, math.ceil(_epochs(candidate) / ETA**2))
            if used + ROOM * self._cost(candidate, epochs, found) > (time if not found else EARLY * time):
                break
            share = 1.0 if epochs == _epochs(candidate) else FURTHER if found else FIRST
            limit = share * (time - used)
            result = self.trials.run(candidate, epochs=epochs, limit=limit)
            if result.late and not found:
                result = self._alone(result, begun + time)
            if result.finished:
                found.append(result)
                self._note(result)
        return found

    def _alone(self, late: Result, until: float) -> Result:
        """Trains the candidate of a trial that was too slow once, for as many epochs as the time allows."""
        left, epochs = until - self.history.elapsed, 1
        if late.needed:
            per_epoch, after = late.needed / int(late.epochs or 1), self.after(replace(late, seconds=late.needed))
            epochs = min(_epochs(late.candidate), int((left - after) / (ROOM * per_epoch)))
            epochs = max(epochs, int(per_epoch <= left))
        return self.trials.run(late.candidate, epochs=epochs, limit=left) if epochs else late

    def _cost(self, candidate: Candidate, epochs: int, rung: Sequence[Result]) -> float:
        """The seconds that a candidate may take, estimated by trials with the same encoder where there are any."""
        before = [r for r in self.history.results if r.finished and r.epochs is not None]
        alike = [r.seconds / int(r.epochs or 1) for r in before if _kind(r.candidate) == _kind(candidate)]
        if alike:
            return epochs * min(alike)
        return max((r.seconds for r in rung), default=min((r.seconds for r in before), default=0.0))

    def _next_rung(self, rung: list[Result], until: float, early: float) -> list[Result]:
        """Trains the best third for three times as many epochs, the last rung for all that the time allows."""
        order = sorted((r for r in rung if self._promising(r)), key=lambda r: -r.score(self.metric))
        promoted: list[Result] = []
        for result in order[: max(1, len(rung) // ETA)]:
            full, trained = _epochs(result.candidate), int(result.epochs or 1)
            left, per_epoch = until - self.history.elapsed - self.after(result), result.seconds / trained
            epochs = min(full, trained * ETA)
            alone = len(rung) <= ETA or ROOM * per_epoch * epochs > early - self.history.elapsed
            if alone:  # no time for two more rungs
                epochs = min(full, int(left / (ROOM * per_epoch)))
            if epochs <= trained or ROOM * per_epoch * epochs > left:
                continue
            found = self.trials.run(result.candidate, epochs=epochs, limit=left)
            if found.finished:
                self._note(found)
                if epochs < full and not alone:
                    promoted.append(found)
            if alone:
                break
        return promoted

    def _promising(self, result: Result) -> bool:
        """Whether a result is no worse than that of the best candidate so far after as many epochs."""
        best = self.best
        if best is None or best.epochs == result.epochs:  # no candidate has been trained for longer
            return True
        rivals = [r for r in self.history.results if r.candidate == best.candidate and r.epochs == result.epochs]
        return all(result.score(self.metric) >= r.score(self.metric) for r in rivals)

    def _note(self, result: Result) -> None:
        """Keeps the best result, and of all run folders its own."""
        if self.best is None or result.score(self.metric) > self.best.score(self.metric):
            self.best = result
        self.trials.keep([self.best])


def one_by_one(
    trials: Trials, start: Candidate, fixed: Iterable[str], seed: int, until: float, reserve: float = 0.0
) -> Result | None:
    """Varies a candidate of a recipe with a direct solver, one change at a time from the best so far.

    Args:
        trials: runs the trials.
        start: the first candidate.
        fixed: names of options that are not varied.
        seed: seeds the changes of several options, which follow those of one.
        until: the time on the clock at which it should end.
        reserve: times the best trial's seconds that are left at the end.

    Returns:
        The best result; None if the first candidate failed.
    """
    metric, history, fixed = trials.setting.metric, trials.history, tuple(fixed)
    best = trials.run(start, limit=until - history.elapsed)
    if not best.finished:
        return None
    improved = True
    tried = {start.key}
    while improved:
        improved = False
        for candidate in variations(get(start.recipe, trust=trusted()), best.decided, fixed, seed):
            if candidate.key in tried:
                continue
            if until - history.elapsed < (ROOM + reserve) * best.seconds:
                return best
            tried.add(candidate.key)
            result = trials.run(candidate, limit=until - history.elapsed - reserve * best.seconds)
            better = result.score(metric) > best.score(metric)
            best = result if better else best
            trials.keep([best])
            if better:
                improved = True
                break
    return best


def _kind(candidate: Candidate) -> tuple[str, str | None]:
    """The recipe and the encoder of a candidate, on which its time depends most."""
    return candidate.recipe, candidate.values.get("encoder")


def _epochs(candidate: Candidate) -> int:
    """The epochs of a full training of a candidate."""
    given = candidate.values.get("epochs")
    return int(
        given if given is not None else get(candidate.recipe, trust=trusted()).options.declared["epochs"].default
    )
