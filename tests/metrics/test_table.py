"""Tables of results and the recorded peers."""

from __future__ import annotations

import math

import pytest

from megalabel.errors import SettingError
from megalabel.metrics.table import table

ROWS = [
    ("ours", {"P@1": 60.0, "PSP@1": 50.126, "train s": 12.34, "texts": 1794, "note": "bag"}),
    ("pecos", {"P@1": 5.5, "train s": None, "PSP@1": math.nan, "predict s/1k": 0.036}),
]


def test_a_text_table() -> None:
    assert table(ROWS).split("\n") == [
        "         P@1  PSP@1  train s  predict s/1k",
        "-----  -----  -----  -------  ------------",
        "ours   60.00  50.13     12.3             -",
        "pecos   5.50      -        -          0.04",
    ]


def test_chosen_columns_in_markdown() -> None:
    assert table(ROWS, ["texts", "note", "P@1"], style="markdown", title="a|b").split("\n") == [
        "| a\\|b  | texts | note |   P@1 |",
        "| ----- | ----: | ---: | ----: |",
        "| ours  |  1794 |  bag | 60.00 |",
        "| pecos |     - |    - |  5.50 |",
    ]


def test_names_are_aligned_as_a_terminal_shows_them() -> None:
    lines = table([("标签", {"P@1": 1.0}), ("cafe\u0301", {"P@1": 2.0}), ("two\nlines", {"P@1": 3.0})]).split("\n")
    assert lines[2:] == ["标签       1.00", "cafe\u0301       2.00", "two lines  3.00"]


def test_a_table_without_rows_is_its_head() -> None:
    assert table([], ["P@1"], title="model") == "model  P@1\n-----  ---"


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(SettingError, match="markdown"):
        table(ROWS, style="html")  # type: ignore[arg-type]
