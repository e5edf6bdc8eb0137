"""The options of the search over recipes."""

from __future__ import annotations

from typing import Annotated

from megalabel.recipes.options import SeedOptions
from megalabel.training.option import Unset


class AutoOptions(SeedOptions):
    """What a search over recipes is given beside its time and limits."""

    panel = "Search"

    encoders: Annotated[
        tuple[str, ...], Unset("bag, small, and minilm if it is installed"), "Encoders to try, such as bag,minilm."
    ] = ()
