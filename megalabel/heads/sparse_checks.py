"""Checks of the arguments of a sparse head."""

from __future__ import annotations

import math
from typing import Any

from megalabel.heads.checks import check_arguments, check_reduction
from megalabel.kernels.all_labels.label_loss import check_loss

GROUPS = (1, 16, 32, 64)
INIT_CONNECTIONS = ("random", "texts")


def check_sparse(head: Any, init_scale: float) -> None:
    """Raises SettingError for an argument of a `SparseHead` that is out of range."""
    check_loss(head.loss_name)
    check_reduction(head.reduction)
    chosen, choices = head.init_connections, INIT_CONNECTIONS
    check_arguments(
        ("dim", head.dim, "1 or more", head.dim >= 1),
        ("fan_in", head.fan_in, f"1 to {head.dim}, the width of the embedding", 1 <= head.fan_in <= head.dim),
        ("group", head.group, f"one of {', '.join(map(str, GROUPS))}", head.group in GROUPS),
        ("init_connections", chosen, " or ".join(choices), chosen in choices),
        ("init_scale", init_scale, "0 or more", 0 <= init_scale < math.inf),
        ("loss_every", head.loss_every, "1 or more", head.loss_every >= 1),
        ("part", head.first_label, f"whole groups of {head.group} labels", head.first_label % head.group == 0),
    )
