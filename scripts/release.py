"""Checks, builds and tags a release: python scripts/release.py [--dry-run]; needs requirements/release.txt.

The version comes from megalabel/version.py alone. Distributions are built from the files of the last commit and
stored in dist/. With `--dry-run` everything is done but the tag. Nothing is uploaded: the last line says how.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from distributions import faults, version_here

ROOT = Path(__file__).parents[1]
RELEASED = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")  # of the versions that PEP 440 allows, those in use here


def git(*arguments: str, root: Path = ROOT) -> str:
    """What a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


def obstacles(root: Path, version: str) -> Iterator[str]:
    """What stands in the way of a release of the checkout `root` as `version`."""
    if not RELEASED.fullmatch(version):
        yield f"the version {version} in megalabel/version.py is none of a release"
    if changed := git("status", "--porcelain", root=root):
        yield f"{len(changed.splitlines())} files are not committed"
    if git("tag", "--list", f"v{version}", root=root):
        yield f"there is a tag v{version} already; give megalabel/version.py another version"
    sections = re.split(r"^## ", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    newest = sections[1] if len(sections) > 1 else ""
    if newest.partition("\n")[0].strip() != version or "\n- " not in newest:
        yield f"CHANGELOG.md does not begin with a section {version} that lists changes"
    stored = root / "tests" / "data" / f"v{version.partition('rc')[0]}"
    if not any(stored.glob("*/expected.json")):
        yield f"{stored.relative_to(root)} has no stored models; run scripts/store_models.py"
    yield from _python_versions(root)


def _python_versions(root: Path) -> Iterator[str]:
    """Contradictions between `requires-python` and the classifiers."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.findall(r"Python :: 3\.(\d+)", " ".join(project["classifiers"]))
    lowest = project["requires-python"].removeprefix(">=3.")
    if not found or lowest != min(found, key=int):
        yield f"requires-python is {project['requires-python']}, the lowest classifier 3.{min(found, key=int)}"


def build(out: Path) -> list[Path]:
    """Builds all distributions from the files of the last commit; returns them."""
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["git", "archive", "--output", f"{scratch}/source.tar", "HEAD"], cwd=ROOT, check=True)
        with tarfile.open(f"{scratch}/source.tar") as archive:
            archive.extractall(f"{scratch}/source", filter="data")
        for folder in (f"{scratch}/source", f"{scratch}/source/runtime"):
            subprocess.run([sys.executable, "-m", "build", "--outdir", out, folder], check=True)
    return sorted(out.iterdir())


def main() -> int:
    parser = argparse.ArgumentParser(description="Check, build and tag a release.")
    parser.add_argument("--dry-run", action="store_true", help="do everything but the tag")
    dry, version = parser.parse_args().dry_run, version_here()
    found = list(obstacles(ROOT, version))
    if found and not dry:
        sys.exit("\n".join(found))
    built = build(ROOT / "dist")
    found += [f"{path.name}: {fault}" for path in built for fault in faults(path)]
    if subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *built], check=False).returncode:
        found.append("twine does not accept the metadata")
    for line in found:
        print(line)
    if found:
        return 1
    if dry:
        print(f"{version} can be released from {git('rev-parse', '--short', 'HEAD')}; nothing was tagged")
        return 0
    git("tag", "--annotate", f"v{version}", "--message", f"megalabel {version}")
    print(f"tagged v{version}; to publish: git push origin v{version} && python -m twine upload dist/*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
