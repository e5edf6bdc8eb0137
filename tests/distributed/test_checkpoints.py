"""Checkpoints that several processes write, and that any number of processes reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.checkpoint_programs import load

from megalabel.distributed.world import World
from megalabel.errors import FormatError
from megalabel.storage.shard_manifest import ShardManifest

BOUNDS = {1: (0, 11), 2: (0, 7, 11), 3: (0, 0, 5, 11), 4: (0, 2, 2, 8, 11)}
SAVE, LOAD = (f"support.checkpoint_programs:{name}" for name in ("save", "load"))


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {
        "rows.weight": torch.randn(11, 3),
        "rows.bias": torch.randn(11),
        "rows.narrow": torch.randn(11, 2).to(torch.bfloat16),
        "encoder": torch.randn(2, 5),
        "steps": torch.tensor(5),
        "empty": torch.zeros(0, 4),
    }


@pytest.fixture(scope="module")
def saved(ranks, tmp_path_factory) -> Path:
    """A checkpoint of four processes, of which one has no rows."""
    folder = tmp_path_factory.mktemp("checkpoints")
    assert ranks.run(4, SAVE, folder, "step-7", tensors(), BOUNDS[4]) == [""] * 4
    return folder / "step-7"


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "step-7"))


def same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    ours, theirs = (tensor.contiguous().view(-1).view(torch.uint8) for tensor in (found, wanted))
    return found.dtype == wanted.dtype and torch.equal(ours, theirs)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_four_processes_saved_is_loaded_by_any_number(ranks, saved, size):
    found = ranks.run(size, LOAD, saved, tensors(), BOUNDS[size])
    for rank, (parts, facts) in enumerate(found):
        first, last = BOUNDS[size][rank : rank + 2]
        assert facts == {"step": 7}
        for name, wanted in tensors().items():
            assert same(parts[name], wanted[first:last] if name.startswith("rows") else wanted), name


def test_process_0_writes_what_all_hold_and_a_process_without_rows_writes_nothing(saved):
    assert sorted(path.name for path in saved.iterdir()) == [
        "manifest.json", *(f"rank-0000{rank}-of-00004.safetensors" for rank in (0, 2, 3))
    ]  # fmt: skip
    manifest = ShardManifest.read(saved, next_step="-")
    assert [shard.rows for shard in manifest.tensors["rows.weight"].shards] == [2, 6, 3]
    assert {shard.file for shard in manifest.tensors["encoder"].shards} == {"rank-00000-of-00004.safetensors"}


def test_every_changed_byte_of_a_shard_is_an_error_that_names_a_tensor_of_it(copied):
    path = copied / "rank-00002-of-00004.safetensors"
    content = bytearray(path.read_bytes())
    for at in range(len(content)):
        content[at] ^= 1
        path.write_bytes(content)
        name, text, *_ = load(World(), copied, tensors(), BOUNDS[1])
        assert name == "DamagedShard" and "rows." in text, at
        content[at] ^= 1
    path.write_bytes(content)
    assert isinstance(load(World(), copied, tensors(), BOUNDS[1])[0], dict)


@pytest.mark.parametrize("damage", ["missing", "padded", "cut"])
def test_a_missing_padded_or_cut_shard_is_one_error_in_all_processes(ranks, copied, damage):
    path = copied / "rank-00003-of-00004.safetensors"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"\0" if damage == "padded" else path.read_bytes()[:-1])
    found = ranks.run(2, LOAD, copied, tensors(), BOUNDS[2])
    assert found[0] == found[1]
    name, text, process, speaker = found[0]
    assert (name, process, speaker) == ("DamagedShard", 0, 0)
    assert "'rows.weight'" in text and path.name in text


def test_a_changed_manifest_is_an_error(copied):
    facts = json.loads((copied / "manifest.json").read_text())
    facts["tensors"]["rows.bias"]["shards"][0]["start"] = 1
    (copied / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(FormatError):
        ShardManifest.read(copied, next_step="-")


def test_a_tensor_of_another_shape_is_an_error_that_names_it(ranks, saved):
    other = tensors() | {"encoder": torch.zeros(2, 6)}
    found = ranks.run(2, LOAD, saved, other, BOUNDS[2])
    assert found[0] == found[1]
    assert found[0][0] == "FormatError" and "'encoder'" in found[0][1]


def test_a_checkpoint_replaces_those_before_and_what_a_killed_process_left(ranks, saved, tmp_path):
    left = tmp_path / ".step-8.new-0123456789abcdef"
    left.mkdir()
    (left / "rank-00000-of-00002.safetensors").write_bytes(b"half")
    (tmp_path / "step-5").mkdir()
    assert ranks.run(2, SAVE, tmp_path, "step-8", tensors(), BOUNDS[2]) == ["", ""]
    assert [path.name for path in tmp_path.iterdir()] == ["step-8"]


def test_a_failed_write_is_an_error_in_all_processes_and_keeps_the_checkpoint_before(ranks, tmp_path):
    assert ranks.run(2, SAVE, tmp_path, "step-7", tensors(), BOUNDS[2]) == ["", ""]
    found = ranks.run(2, SAVE, tmp_path / "step-7" / "manifest.json", "step-8", tensors(), BOUNDS[2])
    assert found[0] and found[0] == found[1]
    assert [path.name for path in tmp_path.iterdir()] == ["step-7"]
    assert len(ShardManifest.read(tmp_path / "step-7", next_step="-").tensors) == len(tensors())
