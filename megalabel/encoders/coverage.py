"""What the bundled tokenizer makes of a data set, for `megalabel data check`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from megalabel.encoders.start import start_tokenizer
from megalabel.inputs.coverage import MIN_UNCOVERED, coverage
from megalabel.inputs.lengths import TokenCounts
from megalabel.inputs.split_words import MANY_SPLIT, split_share

if TYPE_CHECKING:
    from megalabel.data.findings import Findings
    from megalabel.data.types import CorpusData

SHORT = 128  # tokens that many encoders read of a text
MANY = 0.01  # fraction of longer texts that is worth a note


def token_probe(data: CorpusData, findings: Findings) -> Mapping[str, float]:
    """Counts tokens of the training texts, and notes scripts that are not covered and texts that are long."""
    if data.train.features is not None or not len(data.train.texts):
        return {}
    tokenizer = start_tokenizer()
    found = coverage(tokenizer, data.train.texts)
    if found.fraction >= MIN_UNCOVERED:
        message = (
            f"the bundled word pieces do not cover {found}; the encoders bag and small learn further ones, "
            "a pretrained encoder should know the script"
        )
        findings.note("not-covered", None, message, severity="info")
    split = split_share(tokenizer, data.train.texts)
    if split >= MANY_SPLIT:
        message = (
            f"the bundled word pieces split {split:.0%} of the Latin words in three or more; the encoders"
            " bag and small learn whole words, a pretrained encoder should know the language"
        )
        findings.note("split-words", None, message, severity="info")
    lengths = TokenCounts.of(tokenizer, data.train.texts).lengths
    longer = float((lengths > SHORT).mean())
    if longer >= MANY:
        message = f"{longer:.0%} of the training texts have more than {SHORT} tokens; see max_length and windows"
        findings.note("long-texts", None, message, severity="info")
    return {
        "train.tokens per text, median": float(np.median(lengths)),
        "train.tokens per text, 99%": float(np.quantile(lengths, 0.99)),
    }
