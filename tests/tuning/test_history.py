"""A search asks for a trial as often as it likes; it runs once, in this process or in an earlier one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from megalabel.tuning.candidates import Candidate
from megalabel.tuning.history import History, Result

LINEAR = Candidate("linear", {"c": 2.0})


def result(number: int, epochs: int | None = None) -> Result:
    return Result(number, LINEAR.recipe, dict(LINEAR.values), epochs, "finished", {"nDCG@5": 50.0}, 0.0)


def test_a_trial_of_this_process_is_not_run_again(tmp_path: Path) -> None:
    history = History(tmp_path, 60, 0.0)
    assert history.recorded(LINEAR, None) is None
    added = history.add(result(0))
    spent = history._spent
    assert history.recorded(LINEAR, None) == added
    assert history._spent == spent  # its time counts once
    assert history.results == [added]
    assert history.recorded(LINEAR, 3) is None  # another number of epochs is another trial


def test_a_trial_that_was_stopped_runs_again(tmp_path: Path) -> None:
    history = History(tmp_path, 60, 0.0)
    history.recorded(LINEAR, 2)
    stopped = replace(result(0, 2), status="too slow: 9 s", metrics={}, facts={"needed": 9.0})
    assert history.add(stopped).late and stopped.needed == 9.0
    assert history.recorded(LINEAR, 2) is None
    added = history.add(result(1, 2))
    assert history.recorded(LINEAR, 2) == added and not added.late and added.needed == 0.0
    resumed = History(tmp_path, 60, 0.0)
    assert [resumed.recorded(LINEAR, 2) for _ in range(3)] == [history.results[0], added, added]
    assert resumed.results == history.results and not resumed.running


def test_the_time_of_a_trial_of_an_earlier_process_counts_once(tmp_path: Path) -> None:
    first = History(tmp_path, 60, 0.0)
    first.recorded(LINEAR, None)
    added = first.add(result(0))
    second = History(tmp_path, 60, 0.0)
    assert second.recorded(LINEAR, None) == second.recorded(LINEAR, None) == added
    assert not second.running
    assert second.elapsed == pytest.approx(added.seconds)
    assert second.results == [added]
    assert second.next_number() == 1
