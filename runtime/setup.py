"""Packages `megalabel/runtime` of this repository as `megalabel_runtime`, with `_fast.c` compiled where possible.

Without a C compiler the package is built all the same, and runs in plain Python.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent
SOURCES = "../megalabel/runtime"  # relative to this folder, as setuptools requires
FLAGS = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off"]

os.chdir(HERE)
facts: dict[str, str] = {}
exec((HERE / "../megalabel/version.py").read_text(encoding="utf-8"), facts)

setup(
    version=facts["__version__"],
    packages=["megalabel_runtime"],
    package_dir={"megalabel_runtime": SOURCES},
    include_package_data=False,
    ext_modules=[
        Extension(
            "megalabel_runtime._fast",
            [f"{SOURCES}/_fast.c"],
            extra_compile_args=FLAGS,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
