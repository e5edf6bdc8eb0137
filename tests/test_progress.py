"""The bar on a terminal and the plain lines elsewhere."""

import io

import pytest

from megalabel import progress
from megalabel.progress import Progress


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
