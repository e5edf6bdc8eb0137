"""What is there instead, where a path leads to no data set, and what to do about it."""

from __future__ import annotations

import difflib
from pathlib import Path

from megalabel.data.catalog import BUNDLED
from megalabel.data.formats import FORMATS
from megalabel.data.text_lines import find_file
from megalabel.errors import DataError

_USUAL = ("raw", "lf-json", "jsonl", "csv", "parquet", "annif", "xmlrepo")  # what an error names


def nothing_there(path: Path) -> DataError:
    """The error for a path that does not exist, with a similar name in its folder."""
    folder = path.parent
    names = [inside.name for inside in folder.iterdir()] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    step = "check the path; those of the package are bundled:NAME, in Python Corpus.bundled(NAME)"
    if path.name in BUNDLED:
        step = f"the one of the package is bundled:{path.name}, in Python Corpus.bundled({path.name!r})"
    elif close:
        step = f"did you mean {folder / close[0]}?"
    return DataError(
        "there is no such file or folder",
        wanted="a folder or a file of texts with labels",
        next_step=step,
        where=path,
    )


def unlabeled_texts(path: Path) -> bool:
    """Whether a folder holds the texts of CascadeXML or Spartex, for which no format was found."""
    return find_file(path, "train_raw_texts.txt", "train_texts.txt") is not None


def no_data_set(path: Path, format: str | None = None) -> DataError:
    """The error for a folder without a data set or, if a format is given, without one of that format."""
    names = sorted(p.name for p in path.iterdir())
    inside = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    subfolders = sorted(p for p in path.iterdir() if p.is_dir() and any(f.find(p) for f in FORMATS.values()))
    only_test = next((f for f in FORMATS.values() if not f.finds and find_file(path, f.test) is not None), None)
    known = tuple(s for f in FORMATS.values() for s in f.suffixes)
    single = [name for name in names if name.lower().removesuffix(".gz").endswith(known) and "test" not in name]
    of = "" if format is None else f" of the format {format}"
    step = "name the files as one of these formats does, or open a single file"
    wanted = "; or ".join(FORMATS[name].what for name in _USUAL) + "; `megalabel data formats` lists all"
    if format is not None:
        wanted, step = FORMATS[format].what, "give another format, or none: it is recognized from the files"
    elif "recipe.json" in names or "manifest.json" in names:
        step = "give a data set: this folder is a run, or another folder that megalabel wrote"
    elif unlabeled_texts(path):
        step = "put Y.trn.txt (ids separated by commas) or train_labels.txt (label names) beside the texts"
    elif next(path.glob("*.arrow"), None) or next(path.glob("*/*.arrow"), None):
        step = "write Parquet files with Dataset.to_parquet of the package datasets: Arrow files are not read"
    elif subfolders:
        step = f"open {subfolders[0]}"
    elif only_test is not None:
        step = f"put {only_test.train} beside {only_test.test}: the folder has a test split but no training split"
    elif len(single) == 1:
        step = f"open the file itself, {path / single[0]}, or name the files as one of these formats does"
    return DataError(
        f"the folder holds no data set{of} (it holds: {inside or 'nothing'})",
        wanted=wanted,
        next_step=step,
        where=path,
    )
