"""The check that a data set holds texts, for what reads tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megalabel.errors import DataError

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus, Split


def check_texts(split: Split, data: Corpus) -> None:
    """Raises DataError if a split holds bags of words and no texts."""
    if split.features is not None:
        raise DataError(
            f"{data.name} holds bags of words, not texts",
            wanted="texts",
            next_step="use the raw text files of the data set (trn_X.txt, trn_X_Y.txt, Y.txt, tst_X.txt, "
            "tst_X_Y.txt), or train `linear` on the bags of words",
            where=data.path,
        )
