"""The arrays of a linear model for the runtime."""

from __future__ import annotations

from typing import Any

import numpy as np

from megalabel.errors import SettingError
from megalabel.exporting.strings import string_arrays
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.words import word_pattern
from megalabel.models.linear import LinearClassifier

Parts = tuple[dict[str, Any], dict[str, np.ndarray]]  # facts and arrays


def linear_parts(model: LinearClassifier) -> Parts:
    """What `megalabel.runtime.trees` reads; SettingError for a model over bags of words."""
    if isinstance(model.text, BagOfWords):
        raise SettingError(
            f"a linear model over bags of words of {model.text.size:,} features",
            wanted="one over texts, since the runtime makes the features itself",
            next_step="train on the texts",
        )
    facts, arrays = _text(model.text)
    trees = []
    for i, tree in enumerate(model.trees):
        trees.append({"beams": list(tree.beams), "post_processor": tree.post_processor})
        arrays[f"tree{i}.order"] = tree.order
        for j, level in enumerate(tree.levels):
            arrays |= {f"tree{i}.{j}.{name}": array for name, array in level.arrays.items()}
    return {"kind": "trees", "text": facts, "trees": trees}, arrays


def _text(text: SparseText) -> Parts:
    ascii_only, other = (word_pattern(text.pattern, ascii_only) for ascii_only in (True, False))
    has_ngrams = text.lengths is not None and len(text.char_ngrams) > 0
    facts = {
        "folds": text.pattern != "symbols",
        "ascii": ascii_only,
        "other": other,
        "ngrams": text.lengths if has_ngrams else None,
    }
    arrays = {"bigrams": text.bigrams, "idf": text.idf} | string_arrays("words", text.words, found=True)
    if has_ngrams:
        arrays |= string_arrays("ngrams", text.char_ngrams, found=True)
    return facts, arrays
