"""Files of texts whose readers change each text: those of CascadeXML and of Spartex, which have the same names.

Their texts are predicted for as `data.formats.cascade_texts` and `label_strings` read them for training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from megalabel.data.formats import cascade_texts, label_strings
from megalabel.inference.record import Say, TextOptions
from megalabel.inference.source import Source

CASCADE, SPARTEX = "cascadexml", "spartex"
_TEXTS = ("train_raw_texts.txt", "test_raw_texts.txt", "train_texts.txt", "test_texts.txt")
_LABELS = {CASCADE: ("Y.trn.txt", "Y.tst.txt"), SPARTEX: ("train_labels.txt", "test_labels.txt")}


def holds_raw_texts(path: str | Path) -> bool:
    """Whether a file has the name of a file of texts in these layouts."""
    return Path(path).name.removesuffix(".gz") in _TEXTS


def cleaning(source: Source, options: TextOptions, say: Say) -> Callable[[str], str]:
    """What the reader of data sets does with each text of a source; for other files, nothing.

    The layout is the one that the caller names, else that of the labels beside the file, else that of the data
    that the model was trained on.
    """
    layout = options.format
    if layout not in _LABELS:
        if source.path is None or not holds_raw_texts(source.path):
            return str
        layout = _layout_beside(source.path) or options.trained_format
    if layout == CASCADE:
        mark = cascade_texts.SEPARATOR if options.text_separator is None else options.text_separator
        say(
            f"{source.name}: `_` is read as a blank and {cascade_texts.MARK} as {mark}, as in CascadeXML's folders"
        )
        return partial(cascade_texts.clean, separator=mark)
    if layout == SPARTEX:
        if options.text_separator is not None:
            say(f"{source.name}: {cascade_texts.MARK} is read as {options.text_separator!r}")
        return partial(label_strings.clean, separator=options.text_separator)
    say(f"{source.name}: texts are read as they are; --format {CASCADE} reads them as CascadeXML does")
    return str


def _layout_beside(file: Path) -> str | None:
    """The layout of the labels beside a file; None where there are none, or those of both layouts."""
    found = [
        layout
        for layout, names in _LABELS.items()
        if any((file.parent / each).is_file() for name in names for each in (name, f"{name}.gz"))
    ]
    return found[0] if len(found) == 1 else None
