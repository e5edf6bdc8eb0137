"""Says what is wrong with built distributions, by content and metadata: python scripts/distributions.py dist/*.

Wheels and source distributions of megalabel and of megalabel-runtime are compared with the files of this checkout.
Exits with 1 if anything is missing, or something is in them that nobody would install.
"""

from __future__ import annotations

import email
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOREIGN = ("benchmarks", "docs", "examples", "runs", "scripts", "site", "tests")  # folders that no one installs
LEFT_OVER = ("__pycache__", ".pyc", ".nbi", ".nbc", ".so.", ".egg-info/", ".DS_Store")
SOURCE_ONLY = {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"}
PACKAGES = {"megalabel": ROOT / "megalabel", "megalabel_runtime": ROOT / "megalabel" / "runtime"}


def version_here() -> str:
    """The version of this checkout."""
    facts: dict[str, str] = {}
    exec((ROOT / "megalabel" / "version.py").read_text(encoding="utf-8"), facts)
    return facts["__version__"]


def contents(path: Path) -> dict[str, int]:
    """The files of a distribution and their sizes in bytes; those of an sdist without its first folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
    with tarfile.open(path) as archive:
        return {m.name.partition("/")[2]: m.size for m in archive.getmembers() if not m.isdir()}


def metadata(path: Path) -> Message:
    """The metadata of a distribution."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(archive.read(name))
    with tarfile.open(path) as archive:
        name = min((n for n in archive.getnames() if n.endswith("/PKG-INFO")), key=len)
        file = archive.extractfile(name)
        assert file is not None
        return email.message_from_bytes(file.read())


def files_of(package: str) -> set[str]:
    """The files that an installed package has to have: those under version control, or all without git."""
    folder = PACKAGES[package]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "."], cwd=folder, capture_output=True, encoding="utf-8", check=False
    )
    names = [name for name in listed.stdout.split("\0") if name and (folder / name).is_file()]
    if listed.returncode:
        names = [f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()]
        names = [name for name in names if not any(part in name for part in LEFT_OVER)]
    notes = {name for name in names if name.endswith("README.md") or name.endswith(".c")}
    return {f"{package}/{name}" for name in names if name not in notes}


def faults(path: Path) -> Iterator[str]:
    """Everything that is wrong with one distribution."""
    package = path.name.partition("-")[0]
    found, facts, wheel = contents(path), metadata(path), path.suffix == ".whl"
    for name in sorted(files_of(package) - found.keys()):
        yield f"{name} is missing"
    for name in sorted(found):
        if name.startswith(FOREIGN) or (wheel and name.split("/")[0] in FOREIGN):
            yield f"{name} does not belong into it"
        if any(part in name for part in LEFT_OVER) and not name.startswith(f"{package}.egg-info/"):
            yield f"{name} is left over from a build"
    if not wheel:
        for name in sorted(SOURCE_ONLY - found.keys()):
            yield f"{name} is missing"
        if package == "megalabel_runtime" and f"{package}/_fast.c" not in found:
            yield "the source of the compiled operations is missing"
    elif not any(".dist-info/" in name and "LICENSE" in name for name in found):
        yield "the license is missing"
    yield from _metadata_faults(facts, package)


def _metadata_faults(facts: Message, package: str) -> Iterator[str]:
    expected = {"Name": package.replace("_", "-"), "Version": version_here(), "License-Expression": "Apache-2.0"}
    for key, value in expected.items():
        if facts[key] != value:
            yield f"{key} is {facts[key]!r} and not {value!r}"
    for key in ("Summary", "Requires-Python", "Description-Content-Type"):
        if not facts[key]:
            yield f"the metadata have no {key}"
    folder = ROOT if package == "megalabel" else ROOT / "runtime"
    wanted = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    given = [value for value in facts.get_all("Requires-Dist") or [] if "extra ==" not in value]
    if len(given) != len(wanted):
        yield f"{len(given)} dependencies and not {len(wanted)}"


def main() -> int:
    paths = [Path(argument) for argument in sys.argv[1:]]
    if not paths:
        sys.exit("name the distributions: python scripts/distributions.py dist/*")
    said = [f"{path.name}: {fault}" for path in paths for fault in faults(path)]
    for line in said:
        print(line)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
