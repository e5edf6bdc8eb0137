"""Packages `megalabel/runtime` of this repository as `megalabel_runtime`, with `_fast.c` compiled where possible.

Without a C compiler the package is built all the same, and runs in plain Python. A source distribution holds the
sources and the version in the folder `megalabel_runtime`, as it cannot contain files from outside of this folder.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
INSIDE = "megalabel_runtime"
# Both relative to this folder, as setuptools requires.
SOURCES, VERSION = "../megalabel/runtime", "../megalabel/version.py"
if (HERE / INSIDE).is_dir():  # in an unpacked source distribution
    SOURCES, VERSION = INSIDE, f"{INSIDE}/version.py"
FLAGS = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off"]


class WithSources(sdist):
    """Copies the package and the version into the source distribution."""

    def make_release_tree(self, base_dir, files):
        """Fills the folder `base_dir`, which becomes the archive."""
        super().make_release_tree(base_dir, [file for file in files if not file.startswith("..")])
        inside = Path(base_dir, INSIDE)
        inside.mkdir(exist_ok=True)
        for file in [VERSION, *(path for path in Path(SOURCES).iterdir() if path.suffix in (".py", ".c"))]:
            shutil.copyfile(file, inside / Path(file).name)


os.chdir(HERE)
facts: dict[str, str] = {}
exec(Path(VERSION).read_text(encoding="utf-8"), facts)

setup(
    version=facts["__version__"],
    packages=[INSIDE],
    package_dir={INSIDE: SOURCES},
    include_package_data=False,
    ext_modules=[
        Extension(
            f"{INSIDE}._fast",
            [f"{SOURCES}/_fast.c"],
            extra_compile_args=FLAGS,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    cmdclass={"sdist": WithSources},
)
