"""`megalabel data sources`: what linear models lose without each source."""

from dataclasses import replace

import numpy as np
import pytest
from planted import planted

from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.errors import DataError
from megalabel.tuning.sources import OTHERS, source_gains

SMALL = {"trees": 1, "clusters": (4,)}


def with_sources() -> Corpus:
    """The planted data: texts of a good source, and a fifth of them with the labels of other texts."""
    data = planted(n_texts=500)
    bad = np.arange(500) % 5 == 0
    labels = data.train.labels.tolil()
    labels[bad] = labels[np.roll(np.flatnonzero(bad), 7)]
    sources = Texts.from_strings("bad" if wrong else "good" for wrong in bad)
    return replace(data, train=replace(data.train, labels=labels.tocsr(), sources=sources))


def test_a_source_with_wrong_labels_gains_nothing_for_the_others():
    said: list[str] = []
    found = source_gains(with_sources(), validation_fraction=0.3, say=said.append, **SMALL)
    assert found.gains["good"]["P@1"] > found.gains["bad"]["P@1"]
    assert found.gains["good"]["P@1"] > 10
    assert found.gains["bad"][OTHERS] < 2
    assert found.gains["good"]["texts"] + found.gains["bad"]["texts"] == 350
    assert len(said) == 3
    lines = found.table().splitlines()
    assert lines[0].startswith("source")
    assert [line.split()[0] for line in lines[2:]] == ["all", "good", "bad"]


def test_the_gains_are_those_of_the_same_held_out_texts():
    one, other = (source_gains(with_sources(), seed=3, **SMALL) for _ in range(2))
    assert one == other


def test_fewer_labels_than_the_depth():
    data = Corpus.of(
        [f"w{i % 3} w{i % 3}x" for i in range(60)],
        [[f"l{i % 3}"] for i in range(60)],
        sources=["a", "b"] * 30,
    )
    assert source_gains(data, trees=1).metrics["P@1"] == 100


@pytest.mark.parametrize("sources", [None, ["one"] * 400])
def test_fewer_than_two_sources_are_refused(sources):
    data = planted()
    texts = None if sources is None else Texts.from_strings(sources)
    with pytest.raises(DataError, match="two or more"):
        source_gains(replace(data, train=replace(data.train, sources=texts)))


def test_the_command(command, tmp_path):
    convert(with_sources(), tmp_path / "data", "jsonl")
    status, out, err = command("data", "sources", tmp_path / "data", "--validation-fraction", "0.3")
    assert status == 0, err
    assert "without 'bad'" in err
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["all", "good", "bad"]
