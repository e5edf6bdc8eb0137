"""Tables on disk: the same numbers as in memory, whatever pages are released."""

from __future__ import annotations

import errno
import gc
import mmap
import os
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from megalabel.errors import ResourceError, SettingError
from megalabel.heads import initial
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.row_step import adam_state
from megalabel.labels.tree import LabelTree
from megalabel.recipes.cascadexml import CascadeXML
from megalabel.recipes.renee import Renee
from megalabel.storage import tables
from megalabel.storage.largest import largest_of
from megalabel.storage.tables import (
    fetch_rows,
    is_mapped,
    keep_few_pages,
    mapped,
    new_table,
    release_pages,
    tables_in,
    tables_on_disk,
)
from megalabel.storage.tensors import fill, load_tensors, save_tensors
from megalabel.training.arguments import check_place
from megalabel.training.optim.fused import FusedAdam, FusedSGD
from megalabel.types import Positives

LABELS, DIM = 300, 24


@pytest.fixture(autouse=True)
def small_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even small tables are on disk, and every call releases all pages."""
    monkeypatch.setattr(tables, "LEAST", 1)
    monkeypatch.setattr(tables, "RESIDENT", -1 << 40)
    monkeypatch.setattr(initial, "BLOCK", 64)


def trained(on_disk: bool, **settings: object) -> tuple[DenseHead, list[float]]:
    """Three steps of a dense head, and the losses and scores on the way."""
    torch.manual_seed(0)
    if on_disk:
        with tables_on_disk():
            head = DenseHead(LABELS, DIM, bias=True, chunk=64, **settings)  # type: ignore[arg-type]
    else:
        head = DenseHead(LABELS, DIM, bias=True, chunk=64, **settings)  # type: ignore[arg-type]
    assert is_mapped(head.weight) == on_disk
    optimizer, found = FusedSGD(head, 0.1, 0.9, 1e-3), []
    x = torch.randn(5, 1, DIM, requires_grad=True)
    pairs = Positives.from_pairs(torch.arange(5), torch.arange(5) * 50)
    for _ in range(3):
        loss = head.loss(x, pairs)
        loss.backward()
        optimizer.step()
        found += [float(loss.detach()), float(x.grad.sum())]  # type: ignore[union-attr]
    buffer = optimizer.rules[0].buffer
    assert is_mapped(buffer) == on_disk
    found.append(float(head.eval().topk(x.detach(), 3).scores.sum()))
    return head, found


@pytest.mark.parametrize("weights", ["float32", "float8"])
def test_a_dense_head_trains_alike_on_disk(weights: str) -> None:
    (there, found), (here, wanted) = trained(True, weights=weights), trained(False, weights=weights)
    assert found == wanted
    for a, b in zip(there.state_dict().values(), here.state_dict().values(), strict=True):
        assert torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def normal(weight: torch.Tensor, std: float, generator: torch.Generator) -> torch.Tensor:
    return initial.filled(weight, lambda part: part.normal_(0, std, generator=generator))


@pytest.mark.parametrize("n", [7, 16, 65, 128, 200, 1000])
@pytest.mark.parametrize("draw", [normal, initial.uniform_])
def test_blocks_continue_the_random_stream(draw, n: int) -> None:
    found = [draw(w, 0.5, torch.Generator().manual_seed(3)) for w in (mapped((n,), torch.float32), torch.zeros(n))]
    assert torch.equal(*found) and float(found[0].abs().max()) > 0


def test_state_is_where_the_weights_are() -> None:
    for weight, wanted in ((mapped((8, 4), torch.float32), True), (torch.zeros(8, 4), False)):
        state = adam_state(weight, torch.zeros(8))
        assert [is_mapped(state[name]) for name in ("mean", "square", "bias_mean")] == [wanted, wanted, False]
    with tables_on_disk():
        head = SparseHead(LABELS, DIM, fan_in=4)
    assert is_mapped(head.weight) and is_mapped(head.get_buffer("inputs"))
    optimizer = FusedAdam(head, 0.1)
    pairs = Positives.from_pairs(torch.arange(2), torch.arange(2))
    head.loss(torch.randn(2, 1, DIM, requires_grad=True), pairs).backward()
    assert is_mapped(optimizer.rules[0].mean)  # type: ignore[attr-defined]


def test_files_hold_what_is_on_disk(tmp_path) -> None:
    table = mapped((40, 3), torch.float32).copy_(torch.arange(120.0).view(40, 3))
    save_tensors(tmp_path / "a.safetensors", {"weight": table})
    found = load_tensors(tmp_path / "a.safetensors", next_step=None, make=mapped)["weight"]
    assert is_mapped(found) and torch.equal(found, table)
    module = torch.nn.Linear(3, 40, bias=False)
    module.weight = torch.nn.Parameter(mapped((40, 3), torch.float32))
    fill(module, tmp_path / "a.safetensors", next_step=None)
    assert torch.equal(module.weight, table)
    assert largest_of(module) == (119.0, "")
    module.weight.data[20, 1] = torch.nan
    assert largest_of(module) == (float("inf"), "weight")


def test_released_pages_keep_their_values_and_files_go_with_their_tensors(tmp_path) -> None:
    with tables_in(tmp_path / "not" / "there"):
        table = mapped((64, 1024), torch.float32)
    assert not any(tmp_path.iterdir())  # the file has no name
    n = len(tables._MAPS)
    table[:] = 3.0
    release_pages()
    assert float(table.sum()) == 3.0 * table.numel()
    del table
    gc.collect()
    assert len(tables._MAPS) == n - 1


def test_small_tables_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LEAST", 1 << 20)
    with tables_on_disk():
        assert not is_mapped(new_table((10, 10))) and is_mapped(new_table((1 << 18,)))
    assert not is_mapped(new_table((1 << 18,)))


def test_a_full_disk_is_refused_before_the_table_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with tables_in(tmp_path), pytest.raises(ResourceError) as error:
        mapped((10, 10), torch.float32)
    assert error.value.where == tmp_path


def test_a_folder_that_is_gone_is_not_called_full(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    with tables_in(tmp_path / "a"), pytest.raises(ResourceError) as error:
        (tmp_path / "a").rmdir()
        tables.mapped((4,), torch.float32)
    assert "free space" not in str(error.value)


def test_adamw_of_every_row_is_refused_on_disk() -> None:
    for options, values in ((Renee, {"head_optimizer": "adamw"}), (CascadeXML, {"dense_updates": True})):
        with pytest.raises(SettingError) as error:
            options(tables="disk", **values)
        assert error.value.where == "tables"
    assert Renee(tables="disk").tables == CascadeXML(tables="disk").tables == "disk"


def test_a_gpu_is_refused(tmp_path) -> None:
    with tables_on_disk():
        head = DenseHead(LABELS, DIM)
    recipe = SimpleNamespace(head=head)
    check_place(recipe, torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(SettingError) as error:
        check_place(recipe, torch.device("cuda", 0))  # type: ignore[arg-type]
    assert error.value.where == "tables"


class Recording(mmap.mmap):
    """A map that keeps what the system was told."""

    told: list[tuple[int, ...]]

    def madvise(self, *arguments: int) -> None:
        self.__dict__.setdefault("told", []).append(arguments)
        super().madvise(*arguments)


def test_rows_are_fetched_page_by_page_and_neighbors_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.mmap, "mmap", Recording)
    page, rows = mmap.PAGESIZE, 4
    table = mapped((rows * 100, page // rows), torch.uint8)
    table[:] = 7
    starts, ends = torch.tensor([0, 5, 40, 399]), torch.tensor([3, 9, 44, 400])
    fetch_rows(table, starts, ends)  # pages 0, 1 and 2, then 10, then 99
    (pages,) = [m for m in tables._MAPS.values() if isinstance(m, Recording)]
    wanted = [(0, 3), (10, 1), (99, 1)]
    assert pages.told == [(mmap.MADV_WILLNEED, first * page, n * page) for first, n in wanted]
    Candidates.of_blocks(starts, ends, torch.tensor([0, 2, 4])).fetch(table[:])
    assert pages.told[3:] == pages.told[:3]
    fetch_rows(torch.zeros(400, 3), starts, ends)
    fetch_rows(table, starts[:0], ends[:0])
    assert len(pages.told) == 6 and int(table.sum()) == 7 * table.numel()


def test_pages_of_moved_rows_stay_unless_few_are_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.mmap, "mmap", Recording)
    monkeypatch.setattr(tables, "_keep_few", threading.Event())
    table = mapped((400,), torch.uint8)
    (pages,) = [m for m in tables._MAPS.values() if isinstance(m, Recording)]
    release_pages(touched=True)
    assert not hasattr(pages, "told")
    release_pages()
    keep_few_pages()
    release_pages(touched=True)
    assert pages.told == [(mmap.MADV_DONTNEED,)] * 2 and int(table.sum()) == 0


@pytest.mark.parametrize("on_disk", [False, True])
def test_initial_weights_of_a_cascade_are_those_of_torch(on_disk: bool) -> None:
    tree = LabelTree.from_clusters([[[0, 1], [2]], [[0, 4, 2], [1, 3], [5]]])
    with tables_on_disk() if on_disk else nullcontext():
        head = CascadeHead(tree, DIM, beams=(2, 2), generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    for weight in head.weights:
        assert is_mapped(weight) == on_disk
        assert torch.equal(weight, torch.nn.init.xavier_uniform_(torch.empty_like(weight), generator=generator))
