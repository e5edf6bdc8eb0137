"""The check of a head: all checks of this package, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from megalabel.testing.learning import (
    fused_update_is_a_gradient_step,
    gradient_reaches_the_views,
    loss_falls,
    reduction_is_what_it_says,
    row_update_is_a_gradient_step,
    weights_are_factors,
)
from megalabel.testing.planted import MakeHead
from megalabel.testing.ranking import (
    excluded_labels_are_left_out,
    fewer_labels_are_a_prefix,
    rows_can_be_renamed,
    texts_are_independent,
    topk_is_sorted,
)
from megalabel.testing.state import (
    config_rebuilds_it,
    evaluation_changes_nothing,
    state_dict_holds_all,
    wrong_labels_are_refused,
    wrong_views_are_refused,
)

HEAD_CHECKS: tuple[Callable[[MakeHead], None], ...] = (
    loss_falls,
    topk_is_sorted,
    fewer_labels_are_a_prefix,
    excluded_labels_are_left_out,
    rows_can_be_renamed,
    texts_are_independent,
    state_dict_holds_all,
    config_rebuilds_it,
    wrong_views_are_refused,
    wrong_labels_are_refused,
    gradient_reaches_the_views,
    evaluation_changes_nothing,
    reduction_is_what_it_says,
    fused_update_is_a_gradient_step,
    row_update_is_a_gradient_step,
    weights_are_factors,
)
OF_TRAINED = (loss_falls, fused_update_is_a_gradient_step, row_update_is_a_gradient_step)


def check_head(make_head: MakeHead, *, learns: bool = True, trained: bool = True) -> None:
    """Runs every check of this package on a head.

    Args:
        make_head: makes a fresh head, with the same weights each time; a few dozen labels are enough.
        learns: whether it can learn from views alone; False for a head that learns through an encoder.
        trained: whether its loss trains parameters of its own.

    Raises:
        AssertionError: the head does not do what a head must; the message says what.
    """
    for check in HEAD_CHECKS:
        if (learns or check is not loss_falls) and (trained or check not in OF_TRAINED):
            check(make_head)
