"""The trials of a search: their results, one line each in `trials.jsonl`, and the time that they took."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError
from megalabel.storage.files import naming, write_text
from megalabel.storage.reading import parse_json
from megalabel.tuning.candidates import Candidate

TRIALS = "trials.jsonl"
TOO_SLOW = "too slow"  # the beginning of the status of a trial that could not end in time
NEEDED = "needed"  # a fact about such a trial


@dataclass(frozen=True)
class Result:
    """What became of a trial.

    number: of the trial, from 0; its run folder is `trials/NUMBER`.
    recipe, values: the candidate.
    epochs: epochs that were asked for; None for a recipe with a direct solver.
    status: "finished", or why there is no model: "too slow: …", "failed: …".
    metrics: on the held-out texts, in percent; empty without a model.
    seconds: wall time, from the end of the trial before.
    size_mb, latency_ms: the size of the model folder, and the median time for one text.
    facts: what a later step of the search needs to know, such as the width of the encoder.
    chosen: values of options that the recipe itself chose from the training texts.
    """

    number: int
    recipe: str
    values: dict[str, Any]
    epochs: int | None
    status: str
    metrics: dict[str, float]
    seconds: float
    size_mb: float = 0.0
    latency_ms: float = 0.0
    facts: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether there is a model."""
        return self.status == "finished"

    @property
    def late(self) -> bool:
        """Whether it was stopped since it could not end in time."""
        return self.status.startswith(TOO_SLOW)

    @property
    def needed(self) -> float:
        """For a training that was stopped by its speed: the seconds that it would have taken; else 0."""
        return self.facts.get(NEEDED, 0.0)

    @property
    def candidate(self) -> Candidate:
        """The candidate that was tried."""
        return Candidate(self.recipe, self.values)

    @property
    def decided(self) -> Candidate:
        """The candidate with the values that the recipe chose, so that it does not choose them again."""
        return self.candidate.changed(**self.chosen)

    def score(self, metric: str) -> float:
        """The value of a metric; minus infinity without a model."""
        return self.metrics.get(metric, float("-inf"))


def key_of(candidate: Candidate, epochs: int | None) -> str:
    """What identifies a trial within a search."""
    return f"{candidate.key} {epochs}"


class History:
    """The finished trials of a search, in a file that an interrupted search reads again, and the search's clock.

    A search asks for the same trials in the same order when it is resumed, and gets the recorded results; the
    clock then shows the time that these took.

    Args:
        folder: the folder of the search.
        seconds: the time that the search may take.
        begun: `time.monotonic()` at its start.

    Attributes:
        results: of the trials so far.
        running: whether the clock runs, which it does from the first trial that is not in the file.
    """

    def __init__(self, folder: Path, seconds: float, begun: float) -> None:
        self.path, self.seconds = folder / TRIALS, seconds
        self._mark, self._spent, self.running = begun, 0.0, False
        known = _read(self.path)
        if known:
            write_text(self.path, "".join(map(_line, known)))  # without a last line that a crash cut off
        self._recorded: dict[str, list[Result]] = {}  # in their order: a trial that was stopped may have run again
        for result in known:
            self._recorded.setdefault(key_of(result.candidate, result.epochs), []).append(result)
        self._noted: dict[str, Result] = {}  # the results, by what identifies their trials
        self.results: list[Result] = []

    @property
    def elapsed(self) -> float:
        """Seconds that the trials took so far, with the present one."""
        return self._spent + (time.monotonic() - self._mark if self.running else 0.0)

    @property
    def remaining(self) -> float:
        """Seconds that are left."""
        return self.seconds - self.elapsed

    def recorded(self, candidate: Candidate, epochs: int | None) -> Result | None:
        """The result of this trial if it has run; None if it has to be run, and the clock then runs.

        The time of a trial of an earlier process counts when its result is first asked for. A trial of this
        process that failed or was stopped runs again.
        """
        key = key_of(candidate, epochs)
        if key in self._noted and self._noted[key].finished:
            return self._noted[key]
        if not self._recorded.get(key):
            self.running = True
            return None
        found = self._recorded[key].pop(0)
        self._spent += found.seconds
        self._note(found)
        return found

    def next_number(self) -> int:
        """The number of the next new trial."""
        numbers = [r.number for r in itertools.chain(self.results, *self._recorded.values())]
        return max(numbers, default=-1) + 1

    def add(self, result: Result) -> Result:
        """Appends the result of a new trial to the file; its `seconds` are those since the trial before."""
        now = time.monotonic()
        result = replace(result, seconds=round(now - self._mark, 2))
        with naming(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(result))
        self._note(result)
        self._spent, self._mark = self._spent + result.seconds, now
        return result

    def _note(self, result: Result) -> None:
        self.results.append(result)
        self._noted[key_of(result.candidate, result.epochs)] = result


def _line(result: Result) -> str:
    return json.dumps(asdict(result), default=list) + "\n"


def _read(path: Path) -> list[Result]:
    """The results in the file; a last line that is cut off is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            value: Mapping[str, Any] = parse_json(line)
        except ValueError:
            continue
        try:
            found.append(Result(**value))
        except TypeError as error:
            raise FormatError(
                f"a line that is no result of a trial ({error})",
                wanted="the lines that megalabel wrote",
                next_step="use another --out, or --overwrite to start the search again",
                where=path,
            ) from error
    return found
