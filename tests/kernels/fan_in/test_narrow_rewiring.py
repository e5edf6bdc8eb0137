"""Pruning by narrow weights, and the weights of new connections, against the same in float32."""

from __future__ import annotations

import pytest
import torch
from support.narrow_tables import narrow, spacing

from megalabel.errors import SettingError
from megalabel.kernels.core import dispatch
from megalabel.kernels.fan_in.restart import restart
from megalabel.kernels.fan_in.rewire import weak
from megalabel.kernels.rounding.stochastic_rounding import Draw

NARROW = ["bfloat16", "float8"]


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("group", [1, 16])
@pytest.mark.parametrize("cut", [{"below": 0.3}, {"share": 0.3}, {"share": 0.5, "scope": "group"}])
@pytest.mark.parametrize("backend", ["cpu", "plain"])
def test_connections_are_pruned_by_the_stored_weights(name, group, cut, backend, seed, monkeypatch):
    monkeypatch.setattr("megalabel.kernels.fan_in.rewire._CONNECTIONS", 100)  # several parts
    table = narrow(torch.randn(75, 6, generator=torch.Generator().manual_seed(seed)), name)
    with dispatch.use(backend):
        assert torch.equal(weak(table, group, **cut), weak(table.float(), group, **cut))
        table.store(3, torch.full((1, 6), torch.nan), Draw(0, 0))
        with pytest.raises(SettingError):
            weak(table, group, **cut)


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("group", [1, 16])
@pytest.mark.parametrize("start", ["zero", "uniform"])
@pytest.mark.parametrize("backend", ["cpu", "plain"])
def test_new_connections_start_as_in_float32(name, group, start, backend, seed, monkeypatch):
    monkeypatch.setattr("megalabel.kernels.fan_in.rewire._CONNECTIONS", 100)
    random = torch.Generator().manual_seed(seed)
    table, state = narrow(torch.randn(75, 6, generator=random), name), torch.ones(75, 6, dtype=torch.bfloat16)
    wide, wide_state, before = table.float(), torch.ones(75, 6), table.float()
    slots = torch.rand(-(-75 // group), 6, generator=random) < 0.2
    with dispatch.use(backend):
        restart(wide, slots, group, start=start, seed=4, step=2, states=[wide_state])
        restart(table, slots, group, start=start, seed=4, step=2, states=[state])
    assert torch.equal(state.float(), wide_state)
    new, others = slots.repeat_interleave(group, 0)[:75], ~slots.repeat_interleave(group, 0)[:75].any(1)
    assert torch.equal(table.float()[others], before[others])
    assert ((table.float() - wide).abs() <= 1.01 * spacing(wide, name)).all()
    assert (table.float()[new] == 0).all() == (start == "zero")
    assert (table.float() == wide)[~new].double().mean() > 0.9
