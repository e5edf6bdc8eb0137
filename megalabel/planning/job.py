"""`Job`: what a plan needs to know of a training, taken from the options of a recipe by their names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from megalabel.errors import SettingError
from megalabel.planning.encoders import EncoderShape, shape_of
from megalabel.planning.levels import Levels, levels_of

HEADS = {"renee": "dense", "elmo": "dense", "cascadexml": "cascade", "spartex": "sparse"}
WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float8": 1.0}
PER_TEXT = 5  # labels of a text, where the data do not say
NAME_BYTES = 20  # of the name of a label, the same
TEXT_BYTES = 5  # of a token of a text, the same
LONGEST = 512  # tokens of a text, where max_length is 0


def check_recipe(recipe: str) -> None:
    """Raises SettingError for a recipe whose memory the planner does not know."""
    if recipe not in HEADS:
        raise SettingError(
            f"the planner does not know the memory of the recipe {recipe!r}",
            wanted=f"one of {', '.join(HEADS)}",
            next_step="plan one of these, or train without --memory",
            where="recipe",
        )


@dataclass(frozen=True)
class Data:
    """The sizes of a data set; zeros for what is not known.

    n_labels: L. n_texts: training texts. text_bytes, label_bytes: characters of all texts and names of labels.
    n_pairs: pairs of text and label.
    """

    n_labels: int
    n_texts: int = 0
    text_bytes: int = 0
    label_bytes: int = 0
    n_pairs: int = 0


@dataclass(frozen=True)
class Job:
    """A training to plan.

    recipe, values: its name, and the values of its options.
    encoder: the shape of the encoder.
    head: "dense", "sparse" or "cascade".
    levels: the levels of a cascade.
    weight_bytes, state_bytes: bytes of a number of the head's weights, and of its optimizer state.
    threads: CPU threads.
    """

    recipe: str
    values: Mapping[str, Any]
    data: Data
    encoder: EncoderShape
    head: str
    levels: Levels | None
    weight_bytes: float
    state_bytes: float
    threads: int

    @classmethod
    def of(cls, recipe: str, values: Mapping[str, Any], data: Data, threads: int) -> Self:
        """The job of a recipe with values for all of its options.

        Raises:
            SettingError: the planner does not know the recipe or the encoder.
        """
        check_recipe(recipe)
        learned = values.get("tokenizer", "wordpiece") != "wordpiece"
        vocabulary = int(values.get("vocabulary", 0)) if learned else 0
        length = int(values["max_length"]) or LONGEST
        own = values.get("pooling", "own") == "own"
        encoder = shape_of(str(values["encoder"]), vocabulary=vocabulary, max_length=length, own_pooling=own)
        if encoder.is_bag and not encoder.trained:
            encoder = replace(encoder, inner=int(values.get("hidden_dim", encoder.inner)))
        elif values.get("sparse_embedding_updates") and not encoder.is_bag:
            encoder = replace(encoder, sparse=True)
        narrow = WEIGHT_BYTES.get(str(values.get("weights", "float32")), 4.0)
        momentum = WEIGHT_BYTES.get(str(values.get("momentum_dtype", "float32")), 4.0)
        levels = levels_of(data.n_labels, values) if HEADS[recipe] == "cascade" else None
        return cls(recipe, values, data, encoder, HEADS[recipe], levels, narrow, momentum, threads)

    def having(self, **values: Any) -> Job:
        """The same job with other values of some options."""
        return Job.of(self.recipe, {**self.values, **values}, self.data, self.threads)

    @property
    def batch(self) -> int:
        """B, texts per step."""
        return int(self.values["batch_size"])

    @property
    def parts(self) -> int:
        """Micro-batches per step."""
        return int(min(self.values.get("accumulation_steps", 1), self.batch))

    @property
    def part(self) -> int:
        """Texts of a micro-batch."""
        return math.ceil(self.batch / self.parts)

    @property
    def length(self) -> int:
        """Tokens of a text."""
        return int(self.values["max_length"]) or LONGEST

    @property
    def has_adam(self) -> bool:
        """Whether the label layer has the two moments of Adam."""
        return self.values.get("head_optimizer", "sgd") not in ("sgd", "adagrad")

    @property
    def has_momentum(self) -> bool:
        """Whether SGD of the label layer has a momentum."""
        return self.values.get("head_optimizer", "sgd") == "sgd" and bool(self.values.get("head_momentum", 0))

    @property
    def can_be_on_disk(self) -> bool:
        """Whether tables on disk would take less memory."""
        of_every_row = self.values.get("dense_updates") or (self.head == "dense" and self.has_adam)
        return "tables" in self.values and self.head != "sparse" and not of_every_row

    @property
    def on_disk(self) -> bool:
        """Whether the tables of the label layer are on disk."""
        return self.values.get("tables") == "disk"

    @property
    def checkpointing(self) -> bool:
        """Whether the backward pass computes the activations again."""
        return bool(self.values.get("gradient_checkpointing")) and not self.encoder.is_bag

    @property
    def dim(self) -> int:
        """D, the width of what the label layer reads."""
        own = (self.encoder.width or self.encoder.hidden) * int(
            self.values.get("last_layers", 1) if self.head == "sparse" else 1
        )
        return int(self.values.get("projection_dim") or self.values.get("bottleneck") or own)

    @property
    def views(self) -> int:
        """V, the number of views of a text."""
        if self.levels is None or self.values.get("shared_view"):
            return 1
        return len(self.levels.sizes)

    @property
    def rows(self) -> int:
        """Training rows: texts, and the names of labels where they are read."""
        return self.data.n_texts + (self.data.n_labels if self.values.get("label_texts") == "yes" else 0)
