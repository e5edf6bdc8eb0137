"""Turns the scores of linear classifiers into probabilities, as `sparse_beam.py` defines it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from megalabel.errors import SettingError

PostProcessor = Literal["l3-hinge", "l2-hinge", "sigmoid"]
MODES = get_args(PostProcessor)  # numbered as in _cpu/sparse_beam.py


def log_score(z: np.ndarray, post_processor: PostProcessor) -> np.ndarray:
    """The logarithms of the probabilities of scores, float64."""
    power = 3 if post_processor == "l3-hinge" else 2
    log: np.ndarray = -np.logaddexp(0, -z) if post_processor == "sigmoid" else -(np.maximum(0, 1 - z) ** power)
    return log


def check_post_processor(post_processor: str) -> None:
    """SettingError for an unknown one."""
    if post_processor not in MODES:
        wanted = " or ".join(MODES)
        raise SettingError(f"post_processor = {post_processor!r}", wanted=wanted, where="post_processor")
