"""The bar on a terminal and the plain lines elsewhere, and the seconds of phases."""

import io
import sys
import types

import pytest

from megalabel import progress
from megalabel.phases import phase, seconds_by_phase, timed
from megalabel.progress import Counted, Progress, hidden


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_short_task_writes_nothing_to_a_pipe():
    stream = io.StringIO()
    with Progress("reading", 100, stream=stream) as shown:
        for _ in range(100):
            shown.advance()
    assert stream.getvalue() == ""
    assert shown.done == 100


def test_a_long_task_writes_plain_lines_to_a_pipe(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with Progress("training", 3000, done=1000, stream=stream) as shown:
        shown.advance(1000, "loss 0.5")
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("training 2,000/3,000  loss 0.5  ") and line.endswith(" left")


def test_the_time_that_is_left_is_not_guessed_from_one_step(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with Progress("choosing settings", 12, done=4, stream=stream) as shown:
        shown.advance()
        shown.advance()
    first, second = stream.getvalue().splitlines()
    assert first == "choosing settings 5/12"
    assert second.startswith("choosing settings 6/12  ") and second.endswith(" left")


def test_a_task_of_unknown_length_shows_what_is_done(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with Progress("predicting", None, stream=stream) as shown:
        shown.advance(8192)
        shown.advance(8192)
    assert stream.getvalue().splitlines() == ["predicting 8,192", "predicting 16,384"]
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with Progress("predicting", None, stream=terminal) as shown:
        shown.advance(8192)
    assert "predicting" in terminal.getvalue() and "8192/?" in terminal.getvalue()


def test_a_task_without_a_description_is_not_shown(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    for stream in (io.StringIO(), Terminal()):
        with Progress("", 2, stream=stream) as shown:
            shown.advance()
        assert stream.getvalue() == ""


def test_a_terminal_shows_a_bar_and_removes_it_after_an_error(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with pytest.raises(ZeroDivisionError), Progress("encoding", 4, stream=stream) as shown:
        shown.advance(2, "[loss]")
        shown.write("a line")
        1 / 0  # noqa: B018
    text = stream.getvalue()
    assert "encoding" in text and "2/4" in text and "[loss]" in text and "a line" in text
    assert text.rstrip().endswith("\x1b[2K")  # the last thing written erases the bar
    assert "\x1b[?25h" in text  # and the cursor is shown again


def test_of_tasks_inside_one_another_the_outer_one_is_shown(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with Progress("training", 2, stream=stream) as shown:
        with Progress("predicting", 3, stream=stream) as inner:
            inner.advance(3)
        shown.advance(2)
    assert stream.getvalue().startswith("training 2/2") and "predicting" not in stream.getvalue()
    with hidden(), Progress("training", 2, stream=stream) as shown:
        shown.advance()
    with Progress("again", 2, stream=stream) as shown:
        shown.advance()
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["training", "again"]


def test_items_are_counted_each_time_that_they_are_read(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    items = Counted(["a", "b"], "reading")
    assert list(items) == list(items) == ["a", "b"] and len(items) == 2
    assert [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "reading 1/2",
        "reading 2/2",
    ] * 2
    next(iter(items))  # one that is not read to its end
    with Progress("after", 1) as shown:
        shown.advance()
    assert capsys.readouterr().err.startswith("after")


def test_a_notebook_with_widgets_shows_a_bar(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert not progress._in_jupyter()  # without widgets, plain lines
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "ipywidgets" or None)
    stream = io.StringIO()
    with Progress("encoding", 4, stream=stream) as shown:
        shown.advance(4)
        assert shown._bar is not None


def test_each_second_belongs_to_one_phase(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0, 21.0, 28.0])
    monkeypatch.setattr("megalabel.phases.time.monotonic", lambda: next(clock))

    @phase("inner")
    def inner() -> None:
        pass

    with timed():  # 0
        with phase("outer"):  # 1
            inner()  # 3 to 6
            with timed(), phase("inner"):  # 10 to 15, of the same task
                pass
        assert seconds_by_phase() == {"outer": (3 - 1) + (10 - 6) + (21 - 15), "inner": (6 - 3) + (15 - 10)}
    assert seconds_by_phase() == {}
    inner()  # where nobody times


def test_a_line_is_written_above_the_bar_that_is_shown(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress("solving", 2, stream=stream):
        progress.say("a line")
    assert "a line\n" in stream.getvalue() and capsys.readouterr().err == ""
    with hidden():
        progress.say("another")
    assert capsys.readouterr().err == "another\n"
