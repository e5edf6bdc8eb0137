"""Distributions built from a copy of the checkout, and environments in which their wheels are installed."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IGNORED = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "*.nb[ci]")
BUILD = "import setuptools.build_meta as b; b.build_{}({!r})"


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files by package and kind, such as "megalabel sdist"; wheels are built from the source distributions."""
    if sys.platform == "win32":
        pytest.skip("paths of an environment on Unix")
    folder = tmp_path_factory.mktemp("distributions")
    source = folder / "source"
    for name in ("megalabel", "runtime"):
        shutil.copytree(ROOT / name, source / name, ignore=IGNORED)
    (source / "tests").mkdir()
    (source / "tests/test_one.py").touch()
    for name in ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "NOTICE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    found = {}
    for package, place in (("megalabel", source), ("megalabel_runtime", source / "runtime")):
        found[f"{package} sdist"] = sdist = _built(place, "sdist", folder / package)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        unpacked = folder / "unpacked" / sdist.name.removesuffix(".tar.gz")
        found[f"{package} wheel"] = _built(unpacked, "wheel", folder / package)
    return found


def _built(source: Path, kind: str, out: Path) -> Path:
    """The distribution that setuptools makes of a folder."""
    out.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind, str(out))],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


def environment(folder: Path, wheel: Path, *, dependencies: bool) -> Path:
    """The Python of a new environment with a wheel.

    dependencies: whether packages of the environment of the tests can be imported, which lie behind the wheel on
        the path. Installing them once more would take minutes.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    if dependencies:
        packages = next(folder.glob("lib/python*/site-packages"))
        (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return python


@pytest.fixture(scope="session")
def installed(distributions, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel of megalabel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    return environment(folder, distributions["megalabel wheel"], dependencies=True)


@pytest.fixture(scope="session")
def runtime_alone(distributions, tmp_path_factory) -> Path:
    """The Python of an environment with nothing but the wheel of megalabel-runtime."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    return environment(folder, distributions["megalabel_runtime wheel"], dependencies=False)
