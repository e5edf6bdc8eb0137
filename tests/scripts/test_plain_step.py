"""The step that kernels are compared with under torch.compile: its results against float64, on a CPU."""

from __future__ import annotations

import argparse
import sys

import pytest
import torch
from support.narrow_tables import narrow, spacing
from support.scripts import ROOT

from megalabel.kernels.core.dtypes import weight_type

sys.path.insert(0, str(ROOT / "benchmarks"))
import dense_head_gpu
import plain_step


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float8"])
def test_a_step_of_the_plain_form_is_that_of_float64_rounded_to_a_neighbor(name, seed):
    generator = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(6, 9, generator=generator), torch.randn(50, 9, generator=generator)
    texts, labels = torch.arange(6).repeat_interleave(2), torch.randperm(50, generator=generator)[:12]
    codes, exponents, kind = weight.clone(), None, weight_type(name)
    if name != "float32":
        table = narrow(weight, name)
        codes, exponents, weight = table.codes.detach(), table.exponents, table.float()
    y = torch.zeros(50, 6, dtype=torch.float64)
    y[labels, texts] = 1
    w, wide = weight.double(), x.double()
    g = (w @ wide.t()).sigmoid() - y
    step = plain_step.PlainStep(texts, labels, 16)
    torch.manual_seed(seed)
    torch.testing.assert_close(step(x, codes, exponents, kind, 0.1, 0.2).double(), g.t() @ w, rtol=1e-4, atol=1e-4)
    expected = w * (1 - 0.1 * 0.2) - 0.1 * (g @ wide)
    found = codes.double() if exponents is None else codes.double() * torch.exp2(exponents.double())[:, None]
    room = 1e-5 if name == "float32" else 1.01 * spacing(expected, name) + 1e-5
    assert ((found - expected).abs() <= room).all()
    assert not torch.equal(found, w)


def test_its_rounding_is_unbiased():
    kind, value = weight_type("float8"), 1.0 + 0.3 * 2.0**-3
    torch.manual_seed(0)
    found = plain_step.rounded(torch.full((20_000,), value), kind)
    assert sorted(found.unique().tolist()) == [1.0, 1.125]
    assert float(found.mean()) == pytest.approx(value, abs=4 * 0.125 / 2 / 20_000**0.5)


def test_the_benchmark_runs_without_a_gpu(monkeypatch):
    args = argparse.Namespace(texts=4, dim=8, device="cpu", k=3, compile_with="inductor")
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # the compiler's import takes seconds
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    monkeypatch.setattr(dense_head_gpu, "seconds", lambda work, *_: work() is None or 1.0)
    case = dense_head_gpu.Case(700, "float8", args)
    said = list(dense_head_gpu.check(case, args))
    assert any("torch.compile" in line for line in said)
    metrics = [metric for metric, *_ in dense_head_gpu.times(case, args)]
    assert sum(metric.startswith("torch.compile") for metric in metrics) == 2
