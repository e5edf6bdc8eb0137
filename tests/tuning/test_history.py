"""A search asks for a trial as often as it likes; it runs once, in this process or in an earlier one."""

from __future__ import annotations

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
