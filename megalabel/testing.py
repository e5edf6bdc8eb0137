"""Checks that hold for every head and every recipe, for tests of one's own: `check_head` and `check_recipe`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.heads.abilities import RowGradients, UpdatesInBackward, having
from megalabel.heads.base import Head
from megalabel.models.base import load
from megalabel.training.optim.fused import FusedSGD
from megalabel.training.optim.groups import Optimizers
from megalabel.training.optim.row_sparse import RowSGD
from megalabel.training.recipe import Recipe
from megalabel.training.run import train
from megalabel.types import Positives, TopK

N_TEXTS = 60
LOSS_SCALE = 1024.0

MakeHead = Callable[[], Head]


def check_head(make_head: MakeHead, *, learns: bool = True, trained: bool = True) -> None:
    """Runs every check of this module on a head.

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


def check_recipe(make_recipe: Callable[[Corpus], Recipe], corpus: Corpus) -> None:
    """Trains a recipe on a small corpus in temporary folders, and checks what `megalabel.train` promises.

    The loss is finite, the returned model is the saved one, the same seed gives the same model, and a run that was
    cut off ends with the same weights. Give a recipe of two epochs or more that trains in seconds, on one thread.

    Args:
        make_recipe: makes a fresh recipe for the corpus.
        corpus: a corpus of at least a few dozen texts.

    Raises:
        AssertionError: the recipe breaks one of these promises.
        MegalabelError: `train` refuses the recipe.
    """
    side = corpus.test if corpus.test is not None and len(corpus.test) else corpus.train
    texts = list(side.texts)[:50]
    trust = _modules_of(make_recipe(corpus))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines: list[dict[str, Any]] = []
        whole = train(make_recipe(corpus), folder / "whole", device="cpu", quiet=True, callback=lines.append)
        losses = [line["loss"] for line in lines if "loss" in line]
        assert losses and np.isfinite(losses).all(), f"losses that are missing or not finite: {losses[:5]}"
        best = whole.topk(texts, 5).numpy()
        _same(load(folder / "whole", trust=trust).topk(texts, 5).numpy(), best, "the saved model")
        again = train(make_recipe(corpus), folder / "again", device="cpu", quiet=True)
        _same(again.topk(texts, 5).numpy(), best, "a second run")
        _cut_off(make_recipe(corpus), folder / "cut")
        resumed = train(make_recipe(corpus), folder / "cut", device="cpu", quiet=True)
        _same(resumed.topk(texts, 5).numpy(), best, "a resumed run")


def planted_views(head: Head, seed: int = 0, n_texts: int = N_TEXTS) -> tuple[Tensor, Positives]:
    """Views in which each label has a direction of its own, (n_texts, V, D), and two labels per text."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(head.n_labels, head.dim, generator=random)
    labels = torch.stack([torch.randperm(head.n_labels, generator=random)[:2] for _ in range(n_texts)])
    views = directions[labels].sum(1, keepdim=True).expand(-1, head.n_views, -1)
    rows = torch.arange(n_texts).repeat_interleave(labels.shape[1])
    return views.contiguous(), Positives.of(rows, labels.reshape(-1), torch.arange(n_texts))


def loss_falls(make_head: MakeHead) -> None:
    """An ordinary optimizer at least halves the loss, and most texts get one of their labels first."""
    head = make_head()
    views, positives = planted_views(head)
    before = loss_value(head, views, positives)
    train_head(head, views, positives)
    after = loss_value(head, views, positives)
    assert after < 0.5 * before, f"the loss fell from {before:g} to {after:g} only"
    truth = set(zip(positives.rows.tolist(), positives.labels.tolist(), strict=True))
    best = head.topk(views, 1).ids[:, 0].tolist()
    right = sum(pair in truth for pair in enumerate(best))
    assert right > 0.8 * len(views), f"{right} of {len(views)} texts have a label of theirs first"


def topk_is_sorted(make_head: MakeHead) -> None:
    """Shapes and types, no label twice, scores falling, ties to the lower label, -1 and -inf where labels end."""
    head = make_head()
    views, _ = planted_views(head)
    for k in (1, 5, head.n_labels, head.n_labels + 3):
        found = head.topk(views, k)
        assert found.ids.shape == found.scores.shape == (len(views), k), f"shapes for k = {k}"
        assert (found.ids.dtype, found.scores.dtype) == (torch.int64, torch.float32)
        assert not found.scores.requires_grad
        for ids, scores in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
            given = [label for label in ids if label >= 0]
            assert len(set(given)) == len(given) >= 1, f"labels {ids}"
            assert max(given) < head.n_labels, f"label {max(given)} of {head.n_labels}"
            pairs = [(-score, label) for score, label in zip(scores, given, strict=False)]
            assert pairs == sorted(pairs), "labels out of order"
            assert ids == given + [-1] * (k - len(given))
            assert scores[len(given) :] == [-float("inf")] * (k - len(given))


def fewer_labels_are_a_prefix(make_head: MakeHead) -> None:
    """The best 3 labels are the first 3 of the best 7."""
    head = make_head()
    views, _ = planted_views(head)
    assert torch.equal(head.topk(views, 3).ids, head.topk(views, 7).ids[:, :3])


def excluded_labels_are_left_out(make_head: MakeHead) -> None:
    """Without the best label, the second is the best."""
    head = make_head()
    views, _ = planted_views(head)
    first = head.topk(views, 2).ids
    exclude = Positives.of(torch.arange(len(views)), first[:, 0])
    again = head.topk(views, 2, exclude=exclude).ids
    assert torch.equal(again[:, 0], first[:, 1])
    assert not (again == first[:, :1]).any()


def rows_can_be_renamed(make_head: MakeHead) -> None:
    """With `row_to_label` the ranking is the same in other names, and exclusion speaks of these names."""
    head = make_head()
    views, _ = planted_views(head)
    names = torch.randperm(head.n_labels, generator=torch.Generator().manual_seed(1))
    plain, renamed = head.topk(views, 2), head.topk(views, 2, row_to_label=names)
    torch.testing.assert_close(renamed.scores, plain.scores)
    apart = plain.scores[:, 0] > plain.scores[:, 1]  # ties go to the lower name, which is another label
    assert torch.equal(renamed.ids[apart, 0], names[plain.ids[apart, 0]])
    exclude = Positives.of(torch.arange(len(views)), renamed.ids[:, 0])
    again = head.topk(views, 1, exclude=exclude, row_to_label=names)
    assert torch.equal(again.ids[:, 0], renamed.ids[:, 1])


def texts_are_independent(make_head: MakeHead) -> None:
    """A text is ranked the same alone as among others."""
    head = make_head()
    views, _ = planted_views(head)
    whole, one = head.topk(views, 5), head.topk(views[7:8], 5)
    _agree(one, TopK(whole.ids[7:8], whole.scores[7:8]))


def state_dict_holds_all(make_head: MakeHead) -> None:
    """Another head with the same state ranks the same."""
    head, other = make_head(), make_head()
    views, positives = planted_views(head)
    train_head(head, views, positives, steps=5)
    other.load_state_dict({name: t.clone() for name, t in head.state_dict().items()})
    head.settle()
    other.settle()
    a, b = head.topk(views, 5), other.topk(views, 5)
    assert torch.equal(a.ids, b.ids) and torch.equal(a.scores, b.scores)


def config_rebuilds_it(make_head: MakeHead) -> None:
    """`config` survives JSON, and `from_config` makes a head of the same tensors that ranks the same."""
    head = make_head()
    head.settle()
    config = json.loads(json.dumps(head.config()))
    with tempfile.TemporaryDirectory() as folder:
        head.save_files(Path(folder))
        other = type(head).from_config(config, Path(folder))
    assert (other.n_labels, other.dim, other.n_views) == (head.n_labels, head.dim, head.n_views)
    assert other.score_type == head.score_type
    shapes = [{k: (t.shape, t.dtype) for k, t in one.state_dict().items()} for one in (head, other)]
    assert shapes[0] == shapes[1]
    other.load_state_dict(head.state_dict())
    other.settle()
    views, _ = planted_views(head)
    assert torch.equal(head.topk(views, 5).ids, other.topk(views, 5).ids)


def wrong_views_are_refused(make_head: MakeHead) -> None:
    """The number and width of views are checked before anything is computed."""
    head = make_head()
    views, positives = planted_views(head)
    for bad in (views[..., :-1], torch.cat([views, views], dim=1), views[:, 0]):
        _refuses(SettingError, partial(head.loss, bad, positives), f"loss of views {tuple(bad.shape)}")
        _refuses(SettingError, partial(head.topk, bad, 3), f"topk of views {tuple(bad.shape)}")


def wrong_labels_are_refused(make_head: MakeHead) -> None:
    """A label that the head does not have is refused, and never another one trained in its place."""
    head = make_head()
    views, _ = planted_views(head)
    for label in (-1, head.n_labels):
        pairs = Positives.of(torch.tensor([0, 1]), torch.tensor([label, 3]), torch.arange(len(views)))
        _refuses(DataError, partial(head.loss, views, pairs), f"a loss with the label {label}")


def gradient_reaches_the_views(make_head: MakeHead) -> None:
    """The encoder learns: the views get a finite gradient that is not all zero."""
    head = make_head()
    views, positives = planted_views(head)
    views.requires_grad_()
    head.loss(views, positives).backward()
    assert views.grad is not None and bool(views.grad.isfinite().all())
    assert bool((views.grad != 0).any()), "a gradient of zeros"


def evaluation_changes_nothing(make_head: MakeHead) -> None:
    """A loss in evaluation and a ranking leave the state as it is."""
    head = make_head()
    head.settle()
    views, positives = planted_views(head)
    before = {name: t.clone() for name, t in head.state_dict().items()}
    assert loss_value(head, views, positives) == loss_value(head, views, positives) > 0
    head.topk(views, 3)
    for name, tensor in head.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} has changed"


def reduction_is_what_it_says(make_head: MakeHead) -> None:
    """Micro-batches, weighted by `reduction`, together have the loss and the gradient of the whole batch.

    A head whose mean is not over texts may differ where the texts of a batch count differently, by 20% here.
    """
    head = make_head().eval()
    views, positives = planted_views(head)
    parts = [(0, 20), (20, len(views))]
    with torch.no_grad():
        whole, total = float(head.loss(views, positives)), 0.0
        for start, stop in parts:
            weight = (stop - start) / len(views) if head.reduction == "mean" else 1.0
            total += weight * float(head.loss(views[start:stop], positives.of_texts(start, stop)))
    near = 0.2 if head.reduction == "mean" else 1e-3
    assert abs(total - whole) <= near * abs(whole), f"{total:g} in parts, {whole:g} as a whole"


def fused_update_is_a_gradient_step(make_head: MakeHead) -> None:
    """A fused step of an `UpdatesInBackward` head is that of SGD, in two micro-batches with a scaled loss."""
    _steps_agree(make_head, UpdatesInBackward, lambda head: FusedSGD(head, lr=1e-3, decay_bias=True))


def row_update_is_a_gradient_step(make_head: MakeHead) -> None:
    """A step of `RowSGD` on a `RowGradients` head is that of SGD, in two micro-batches with a scaled loss."""
    _steps_agree(make_head, RowGradients, lambda head: RowSGD(head, lr=1e-3))


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
)
OF_TRAINED = (loss_falls, fused_update_is_a_gradient_step, row_update_is_a_gradient_step)


def train_head(head: Head, views: Tensor, positives: Positives, steps: int = 60, lr: float = 0.05) -> None:
    """Trains a head by Adam on one batch; a head without parameters is left as it is."""
    parameters = [p for p in head.parameters() if p.requires_grad]
    if not parameters:
        return
    optimizer = torch.optim.Adam(parameters, lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        head.loss(views, positives).backward()
        optimizer.step()
        head.after_step(step, Optimizers(adam=optimizer))


def loss_value(head: Head, views: Tensor, positives: Positives) -> float:
    """The loss in evaluation."""
    head.eval()
    with torch.no_grad():
        value = float(head.loss(views, positives))
    head.train()
    return value


def _steps_agree(make_head: MakeHead, ability: type[Any], make_optimizer: Callable[[Head], Any]) -> None:
    """A special optimizer moves the weights as plain SGD on the parameters of the parts that have an ability."""
    special, plain = make_head(), make_head()
    if not having(special, ability):
        return
    views, positives = planted_views(special)
    learning = [p for part in having(plain, ability) for p in part.parameters()]
    optimizers = [
        Optimizers(head=make_optimizer(special)),
        Optimizers(head=torch.optim.SGD(learning, lr=1e-3)),
    ]
    before = {name: tensor.clone() for name, tensor in special.state_dict().items()}
    for head, optimizer, scale in zip((special, plain), optimizers, (LOSS_SCALE, 1.0), strict=True):
        for i, (start, stop) in enumerate(((0, 20), (20, len(views)))):
            torch.manual_seed(i)
            optimizer.begin(i, 2, scale)
            loss = head.loss(views[start:stop], positives.of_texts(start, stop))
            (loss * scale).backward()
        for one in optimizer.named.values():
            if isinstance(one, RowSGD):
                one.step(scale)
            else:
                one.step()
        optimizer.named["head"].zero_grad(set_to_none=True)
    state = special.state_dict()
    assert any(not torch.equal(state[name], before[name]) for name in state), "no weight has moved"
    moved = {id(p) for p in learning}
    for name, parameter in plain.named_parameters():
        if id(parameter) in moved:
            torch.testing.assert_close(state[name], parameter.detach(), rtol=1e-4, atol=1e-6)


def _agree(found: TopK, expected: TopK) -> None:
    """The same ranking but for rounding: labels whose scores nearly tie may change places."""
    torch.testing.assert_close(found.scores, expected.scores)
    apart = (expected.scores[:, :-1] - expected.scores[:, 1:]) > 1e-4
    clear = torch.nn.functional.pad(apart, (0, 1), value=False) & torch.nn.functional.pad(
        apart, (1, 0), value=True
    )
    assert torch.equal(found.ids[clear], expected.ids[clear])


def _refuses(kind: type[Exception], call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{what} was not refused with a {kind.__name__}")


class _CutOff(Exception):
    pass


def _cut_off(recipe: Recipe, out: Path) -> None:
    """Begins a run and ends it by an exception after the first third of its steps."""
    stop_at = max(recipe.batches.steps // 3, 1)

    def callback(line: Mapping[str, Any]) -> None:
        if line["step"] >= stop_at:
            raise _CutOff

    try:
        train(replace(recipe, log_every=1), out, device="cpu", checkpoint_steps=1, quiet=True, callback=callback)
    except _CutOff:
        return
    raise AssertionError(f"no line in the log from step {stop_at} on: does the head compute its loss?")


def _modules_of(recipe: Recipe) -> list[str]:
    parts = (recipe.encoder, *recipe.head.modules())
    return sorted({type(part).__module__.split(".")[0] for part in parts} - {"megalabel", "torch"})


def _same(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray], what: str) -> None:
    for ours, theirs, name in zip(found, expected, ("labels", "scores"), strict=True):
        assert np.array_equal(ours, theirs), f"{what} has other {name} than the returned model"
