"""What other tools reached on known data sets, to stand beside our own numbers in a table."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Peer:
    """One tool's recorded result on one data set.

    values: metrics in percent ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@3", "PSP@5") and costs
    ("train s", "train CPU s", "predict s/1k", "peak MB", "model MB"); what was not recorded is missing.
    """

    tool: str
    values: dict[str, float]

    @property
    def row(self) -> tuple[str, dict[str, float]]:
        """As `metrics.table.table` takes it."""
        return self.tool, self.values


def peers(name: str) -> list[Peer]:
    """The recorded peers of the data set called `name`, best P@1 first; none for a set that has none.

    Where, when and with which versions they were recorded stands at the top of `peers.toml`.
    """
    text = files("megalabel.metrics").joinpath("peers.toml").read_text(encoding="utf-8")
    recorded = tomllib.loads(text).get(name, {})
    found = [Peer(tool, {key: float(value) for key, value in values.items()}) for tool, values in recorded.items()]
    return sorted(found, key=lambda peer: -peer.values["P@1"])
