"""Propensity constants by the data set's name."""

import pytest

from megalabel.data.catalog import catalog, propensity_constants
from megalabel.data.corpus import Corpus


@pytest.mark.parametrize(
    "name, constants",
    [
        ("LF-AmazonTitles-131K", (0.6, 2.6)),
        ("lf-amazontitles-131k", (0.6, 2.6)),
        ("Amazon-3M", (0.6, 2.6)),
        ("AmazonCat-13K", (0.55, 1.5)),
        ("LF-Wikipedia-500K", (0.5, 0.4)),
        ("LF-WikiSeeAlso-320K", (0.5, 0.4)),
        ("Wiki10-31K", (0.55, 1.5)),
        ("Eurlex-4K", (0.55, 1.5)),
        ("LF_Amazon-131K", (0.6, 2.6)),
        ("lfamazontitles131k", (0.6, 2.6)),  # as Spartex spells it
        ("LF-AmazonTitles-131K-Aug", (0.6, 2.6)),
        ("Amazon-670K.raw", (0.6, 2.6)),
        ("wiki500k", (0.5, 0.4)),
        ("LF-Amazon-131", (0.55, 1.5)),
        ("Amazon-30M", (0.55, 1.5)),
        ("my-amazon-data", (0.55, 1.5)),
    ],
)
def test_constants(name, constants):
    assert propensity_constants(name) == constants
    assert Corpus.of(["a"], [["x"]], name=name).propensity_constants == constants


def test_every_entry_is_whole():
    for name, entry in catalog().items():
        assert set(entry) == {"a", "b", "labels"}, name
        assert (entry["a"], entry["b"]) in {(0.5, 0.4), (0.6, 2.6), (0.55, 1.5)} and entry["labels"] > 3000
