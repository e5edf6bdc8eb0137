"""Which values the arguments of recipes may have: one name has one range in every recipe."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Sequence
from typing import Any

from megalabel.errors import SettingError

_INF = math.inf
# From the first number to below the second.
RANGES: dict[str, tuple[float, float]] = {
    "vocabulary": (3, _INF),  # padding, unknown, and a token
    "max_length": (1, _INF),
    "epochs": (1, _INF),
    "batch_size": (1, _INF),
    "micro_batches": (1, _INF),
    "dropout": (0, 1),
    "token_dropout": (0, 1),
    "bottleneck": (0, _INF),
    "pairs": (0, _INF),
    "hidden": (0, _INF),
    "head_lr": (0, _INF),
    "head_momentum": (0, 1),
    "head_weight_decay": (0, _INF),
    "head_std": (0, _INF),
    "encoder_lr": (0, _INF),
    "encoder_weight_decay": (0, _INF),
    "token_lr": (0, _INF),
    "warmup": (0, _INF),
    "clip": (0, _INF),
    "loss_every": (1, _INF),
    "validation": (0, 1),
    "patience": (0, _INF),
    "seed": (0, 2**32),
    "depths": (0, 31),  # powers of two
    "beams": (1, _INF),
    "layers": (0, 1.000001),  # fractions of the depth, the last layer included
    "level_dropout": (0, 1),
    "level_weights": (0, _INF),
    "tree_features": (1, _INF),
    "warmup_epochs": (0, _INF),
    "final_epochs": (0, _INF),
    "log_every": (1, _INF),
    "fan_in": (1, _INF),
    "group": (1, _INF),
    "head_eps": (1e-45, _INF),
    "intermediate": (0, _INF),
    "intermediate_lr": (0, _INF),
    "dense_share": (0, 1),
    "prune_threshold": (0, _INF),
    "prune_fraction": (0, 1),
    "rewire_every": (1, _INF),
    "rewire_until": (0, 1.000001),  # share of all steps, all included
    "auxiliary_share": (0, 1),
    "auxiliary_epochs": (0, _INF),
    "auxiliary_lr": (0, _INF),
    "head_scale": (0, _INF),
    "min_texts": (1, _INF),
    "trees": (1, 100),
    "joined_trees": (0, 100),
    "piece_words": (0, _INF),
    "embedding": (1e-30, _INF),
    "shortlist": (0, 1000),
    "weights": (0, _INF),
    "keep": (1, _INF),
    "cost": (1e-30, _INF),
    "eps": (1e-30, _INF),
    "rounds": (1, _INF),
    "threshold": (0, _INF),
    "beam": (1, _INF),
}
# Of which one must be named. Not `reduction`, which one recipe may leave to the loss.
CHOICES: dict[str, tuple[Any, ...]] = {
    "tokenizer": ("own", "words", "symbols"),
    "pool": ("first", "mean"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
    "head_optimizer": ("adamw", "sgd"),
    "tree_source": ("texts", "names", "both"),
    "tree_tokenizer": ("words", "symbols"),
    "schedule": ("three-phase", "cosine"),
    "scores": ("label", "label*parent", "path", "fading"),
    "loss": ("bce", "squared_hinge"),
    "intermediate_activation": ("none", "relu", "gelu"),
    "group": (1, 16, 32, 64),
    "group_by": ("tree", "frequency"),
    "connect": ("random", "texts"),
    "prune": ("threshold", "fraction", "none"),
    "prune_scope": ("layer", "group"),
    "growth": ("random", "gradient"),
    "growth_start": ("zero", "uniform"),
    "split": ("letters", "words", "signs", "symbols"),
    "label_rows": ("auto", "yes", "no"),
    "chance": ("l3-hinge", "l2-hinge", "sigmoid"),
}
_KINDS: dict[str, tuple[type, str]] = {
    "str": (str, "a string"),
    "bool": (bool, "True or False"),
    "int": (numbers.Integral, "a whole number"),
    "float": (numbers.Real, "a number"),
}


TUPLES = {"tuple[int, ...]": "int", "tuple[float, ...]": "float"}


def checked(name: str, value: Any, annotation: Any) -> Any:
    """The value as plain Python, if its type is the annotation's and it is one that the name can have.

    `tuple[int, ...]` and `tuple[float, ...]` are judged item by item; they come as any sequence, or as text with
    commas between. SettingError otherwise. Other annotations are not judged.
    """
    kind = str(getattr(annotation, "__name__", annotation))
    if kind in TUPLES:
        return _several(name, value, TUPLES[kind])
    if kind not in _KINDS:
        return value
    wanted_type, wanted = _KINDS[kind]
    if kind == "str" and isinstance(value, os.PathLike):
        value = os.fspath(value)
    low, high = RANGES.get(name, (-_INF, _INF))
    fits = isinstance(value, wanted_type) and (kind == "bool" or not isinstance(value, bool))
    if kind in ("int", "float"):
        wanted += (
            {_INF: f", {low:g} or more"}.get(high, f" from {low:g} to below {high:.12g}") if low > -_INF else ""
        )
        fits = fits and math.isfinite(value) and low <= value < high
    if not fits:
        raise SettingError(
            f"{name} = {value!r}", wanted=wanted, next_step=f"correct {name}, or leave it out for its default"
        )
    if name in CHOICES:
        check_choice(name, value, CHOICES[name])
    return value.item() if hasattr(value, "item") else value  # numpy's numbers are no JSON


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """SettingError unless the value is one of the choices."""
    require(
        value in choices,
        f"{name} = {value!r}",
        wanted=" or ".join(map(str, choices)),
        next_step="name one of these",
        where=name,
    )


def require(fits: bool, found: str, *, wanted: str, next_step: str, where: str | None = None) -> None:
    """SettingError of these words unless it fits: for what several arguments must be together."""
    if not fits:
        raise SettingError(found, wanted=wanted, next_step=next_step, where=where)


def _several(name: str, value: Any, kind: str) -> tuple[Any, ...]:
    items = value
    if isinstance(value, str):
        items = [_number(item) for item in value.split(",") if item.strip()]
    if not isinstance(items, (list, tuple)) or (isinstance(value, str) and not items):
        raise SettingError(
            f"{name} = {value!r}",
            wanted="numbers with commas between, such as 10,13,16",
            next_step=f"correct {name}, or leave it out for its default",
        )
    return tuple(checked(name, item, kind) for item in items)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text  # judged, and named, by `checked`
