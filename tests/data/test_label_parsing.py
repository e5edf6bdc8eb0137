"""The fast path for label rows answers what the rule answers line by line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megalabel.data.findings import Findings
from megalabel.data.label_parsing import integers, parse_block, parse_line
from megalabel.data.label_rows import read_label_rows


def by_line(block):
    rows = [parse_line(line) for line in block.removesuffix(b"\n").split(b"\n")]
    return [labels for labels, _ in rows], any(bad for _, bad in rows)


@settings(max_examples=400)
@given(st.text(alphabet="0123456789:.1 \t\n", max_size=40).map(str.encode))
def test_fast_path_equals_the_rule_on_any_bytes(block):
    fast = parse_block(block)
    if fast is None:
        return  # left to the rule
    rows, bad = by_line(block)
    assert not bad
    assert fast[1].tolist() == [len(row) for row in rows]
    assert fast[0].tolist() == [label for row in rows for label in row]


@given(
    st.lists(st.lists(st.integers(0, 10**12), max_size=5), min_size=1, max_size=8),
    st.sampled_from(["", ":1", ":1.0", ":1.000000"]),
    st.sampled_from([" ", "\t", "  "]),
    st.booleans(),
)
def test_clean_blocks_take_the_fast_path(rows, value, between, final):
    lines = [between.join(f"{label}{value}" for label in row) for row in rows]
    block = "\n".join(lines).encode() + (b"\n" if final or not lines[-1] else b"")
    fast = parse_block(block)
    assert fast is not None
    assert fast[0].tolist() == [label for row in rows for label in row]
    assert fast[1].tolist() == [len(row) for row in rows]


def test_integers_of_all_lengths():
    numbers = [0, 7, 10, 123456789, 999999999999999999]
    text = " ".join(map(str, numbers)).encode()
    ends = np.cumsum([len(str(n)) for n in numbers]) + np.arange(len(numbers))
    starts = ends - [len(str(n)) for n in numbers]
    assert integers(np.frombuffer(text, np.uint8), starts, ends).tolist() == numbers


@pytest.mark.parametrize(
    "line, labels", [(b"1,2,3", [1, 2, 3]), (b" 4:1.0\t5 ", [4, 5]), (b"6:1e0", [6]), (b"", [])]
)
def test_the_rule(line, labels):
    assert parse_line(line) == (labels, [])


def test_rows_across_blocks_of_a_large_file(tmp_path):
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, 10**6, size=rng.integers(0, 12)).tolist() for _ in range(60000)]
    file = tmp_path / "rows.txt"
    file.write_text("".join(" ".join(f"{x}:1" for x in row) + "\n" for row in rows))
    assert file.stat().st_size > 2 << 20  # several blocks
    read, colons = read_label_rows(file, Findings())
    assert read.counts.tolist() == [len(row) for row in rows]
    assert read.ids.tolist() == [x for row in rows for x in row]
    assert colons[1] and read.lines[-1] == 60000
