"""Puts a report together: the sections of each run, and a comparison where there are several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from megalabel.reporting.blocks import Block, Section
from megalabel.reporting.calibration import calibration_block, calibration_by_frequency
from megalabel.reporting.comparison import comparison_block
from megalabel.reporting.confusions import confusions_block
from megalabel.reporting.connections import connections_block
from megalabel.reporting.frequency import frequency_block
from megalabel.reporting.labels import labels_blocks
from megalabel.reporting.learning import learning_block
from megalabel.reporting.levels import levels_block
from megalabel.reporting.overview import depth_block, facts_block, metrics_block
from megalabel.reporting.resources import memory_block, time_block
from megalabel.reporting.subject import Subject
from megalabel.reporting.weak_spots import sentence, weak_spots_block, weakest, worst_groups

Make = Callable[[Subject], "Block | None"]


@dataclass(frozen=True)
class Part:
    """The sections of one run or file of predictions.

    Attributes:
        title: its name.
        weak: a sentence on each of its weakest spots.
        sections: figures and tables.
    """

    title: str
    weak: Sequence[str]
    sections: Sequence[Section]


@dataclass(frozen=True)
class Report:
    """A report: its title, what is shown on all runs together, and the part of each."""

    title: str
    together: Sequence[Section]
    parts: Sequence[Part]


def report_on(subjects: Sequence[Subject]) -> Report:
    """The report on one or several models that ranked the same texts.

    Raises:
        DataError: they did not rank the same texts.
    """
    together = [Section("Metrics", [metrics_block(subjects)])]
    if len(subjects) > 1:
        together.append(Section("Comparison", [comparison_block(subjects)]))
    title = subjects[0].title if len(subjects) == 1 else f"{len(subjects)} models"
    return Report(f"{title} on {subjects[0].data.name}", together, [part_of(subject) for subject in subjects])


def part_of(subject: Subject) -> Part:
    """The sections of one model; what is not known of it is left out."""
    groups = worst_groups(subject)
    chosen = weakest(groups, subject)
    spots = weak_spots_block(subject, groups)
    made: list[tuple[str, list[Block | None]]] = [
        ("Weakest spots", [spots, depth_block(subject)]),
        ("The run", [facts_block(subject)]),
        ("Label frequency", [frequency_block(subject)]),
        ("Calibration", [calibration_block(subject), calibration_by_frequency(subject)]),
        ("Labels", [confusions_block(subject), *labels_blocks(subject)]),
        ("Inside the model", [levels_block(subject), connections_block(subject)]),
        ("Training", [learning_block(subject), memory_block(subject), time_block(subject)]),
    ]
    sections = [(title, [block for block in blocks if block is not None]) for title, blocks in made]
    return Part(
        subject.title,
        [sentence(group, subject) for group in chosen],
        [Section(title, blocks) for title, blocks in sections if blocks],
    )
