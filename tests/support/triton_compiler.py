"""Compiles a Triton kernel in a separate process, which can import this file, unlike a test file, by name."""

from __future__ import annotations

import importlib
import os
from typing import Any

INTEGERS = ("row_of_cell", "text_cells", "offsets", "positives", "table", "members", "order", "cuts", "excluded")
NUMBERS = {"steps": "*i32", "inputs": "*i16", "exponents": "*i8"} | dict.fromkeys(INTEGERS, "*i64")
NUMBERS |= dict.fromkeys(("dim", "parts", "first", "n", "fan_in", "n_texts", "group", "share"), "i32")
NUMBERS |= {f"{of}_{half}": "i32" for of in ("weight", "buffer", "number") for half in ("low", "high")}
SCALARS = ("scale", "lr", "new_of_mean", "old_of_square", "new_of_square", "log_of_mean", "log_of_square", "eps")
SCALARS += ("keep", "kept", "times", "decay", "of_mean", "of_square")
NUMBERS |= dict.fromkeys(SCALARS, "fp32")  # all other arguments are *fp32


def compile_into(cache: str) -> None:
    os.environ["TRITON_CACHE_DIR"] = cache
    os.environ.pop("TRITON_INTERPRET", None)


def machine_code(
    kernel: str, warps: int, constants: dict[str, Any], types: dict[str, str] | None = None, capability: int = 90
) -> tuple[bytes, str]:
    """The machine code for a compute capability, times 10, and its PTX text; `types` go before NUMBERS."""
    import triton
    from triton.backends.compiler import GPUTarget

    family, module, name = kernel.split(".")
    function = getattr(importlib.import_module(f"megalabel.kernels.{family}._triton.{module}"), name)
    names = function.arg_names
    known = NUMBERS | (types or {})
    types = {x: "constexpr" if x in constants else known.get(x, "*fp32") for x in names}
    fixed = {(names.index(x),): value for x, value in constants.items() if x in names}
    aligned = [(i,) for i, x in enumerate(names) if types[x].startswith("*") or x in ("dim", "n_texts")]
    source = triton.compiler.ASTSource(
        function, types, constexprs=fixed, attrs={i: [["tt.divisibility", 16]] for i in aligned}
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    return made.asm["cubin"], made.asm["ptx"]
