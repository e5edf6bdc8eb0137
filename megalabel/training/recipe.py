"""The classes of recipes: the assembled parts of a method, and the options from which they were built."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from megalabel.errors import SettingError
from megalabel.training.options import Options
from megalabel.training.step import Plain, Step
from megalabel.training.trust import trusting

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from megalabel.data.corpus import Corpus
    from megalabel.encoders.base import Encoder
    from megalabel.encoders.labels import LabelTexts
    from megalabel.heads.base import Head
    from megalabel.inputs.batches import Batches
    from megalabel.models.base import Classifier
    from megalabel.models.neural import NeuralClassifier
    from megalabel.training.optim.averaging import WeightAverage
    from megalabel.training.optim.groups import Optimizers
    from megalabel.training.optim.schedule import Schedule


Say = Callable[[str], Any]


@dataclass(frozen=True)
class Recipe:
    """Everything that the training loop needs.

    data: the corpus.
    encoder: maps texts to views.
    head: maps views to a loss or to labels.
    batches: the batches of the whole run.
    optimizers: one or more optimizers, which together contain each trainable parameter once.
    schedule: the schedule of the learning rates.
    max_length: the number of tokens read per text; 0 for that of the rows of `batches`.
    validation: rows of the training set that are held out, (n,) int64, empty for none.
    patience: validations without an improvement before training stops; 0 for never.
    selection_metric: the metric by which the best validation is chosen, named as in `measure`.
    accumulation_steps: the number of micro-batches into which each batch is divided to save memory.
    precision: "auto", "float32", "bfloat16" or "float16" for the encoder's autocast.
    max_grad_norm: the maximum norm of the gradients outside the head; 0 for no limit.
    seed: seeds all random numbers of the steps.
    log_every: steps between training lines in the log.
    validate_epochs: epochs, or a fraction of one, between validations.
    compile: whether `torch.compile` compiles the transformers among the modules.
    second_stage: makes of the trained model the one that is kept, such as linear rankers beside it.
    parts: further modules by name, such as a momentum encoder or a teacher: moved to the device, switched between
        training and evaluation, and checkpointed as encoder and head are. A `LabelTexts` among them is bound to
        the head and saved with the model; others are for training alone.
    step: how a batch becomes gradients: `Plain`, or `CachedGradients` for a loss over more texts than fit at once.
    refresh_every: epochs between two calls of `head.refresh`; 0 for step 0 alone.
    averaging: weights that are averaged over steps, validated and saved in place of the trained ones.
    inference_head: makes of the head the one that predicts and is saved, without what only training needs. It
        shares its tensors with the head. None for the head itself.
    encoder_sha256: the hash of the encoder of a run from which training starts; "" for none.
    name, arguments, source_sha256: the address of the recipe function, the values of its options, and the hash of
    its
        source file; set by `recipe`.
    """

    data: Corpus
    encoder: Encoder
    head: Head
    batches: Batches
    optimizers: Optimizers
    schedule: Schedule
    max_length: int
    validation: np.ndarray | tuple[()] = ()
    patience: int = 0
    selection_metric: str = "nDCG@5"
    accumulation_steps: int = 1
    precision: str = "auto"
    max_grad_norm: float = 0.0
    seed: int = 0
    log_every: int = 1
    validate_epochs: float = 1.0
    compile: bool = False
    second_stage: Callable[[NeuralClassifier, Say], Classifier] | None = None
    parts: dict[str, nn.Module] = field(default_factory=dict)
    step: Step = field(default_factory=Plain)
    refresh_every: int = 0
    averaging: WeightAverage | None = None
    inference_head: Callable[[Head], Head] | None = None
    encoder_sha256: str = ""
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    source_sha256: str = ""

    def __post_init__(self) -> None:
        if not self.max_length:
            object.__setattr__(self, "max_length", self.batches.rows.max_length)

    def modules(self) -> dict[str, nn.Module]:
        """Encoder, head and further parts by name; SettingError if a part is called encoder or head."""
        for name in ("encoder", "head"):
            if name in self.parts:
                raise SettingError(
                    f"a part called {name!r}",
                    wanted="another name",
                    next_step="rename it in Recipe.parts",
                    where="parts",
                )
        return {"encoder": self.encoder, "head": self.head, **self.parts}

    @property
    def label_texts(self) -> LabelTexts | None:
        """The encoder of label texts among the parts, if there is one."""
        from megalabel.encoders.labels import LabelTexts

        return next((part for part in self.parts.values() if isinstance(part, LabelTexts)), None)


@dataclass(frozen=True)
class DirectRecipe:
    """A recipe whose model is fitted by a direct solver, without training steps and checkpoints.

    data: the corpus.
    solve: fits the model; calls its argument with lines of text that report progress. None in processes other than
        the main one of a job.
    base_model: a trained model on which the recipe builds, which `train` moves to its device; None for none.
    validation: rows of the training set that are held out, (n,) int64, empty for none.
    uses_weights: whether `solve` multiplies the loss of each text by its weight, where the data have weights;
        others are refused for such data.
    over_processes: whether the processes of a job divide the work of `solve`; others are refused in such a job.
    name, arguments, source_sha256: the address of the recipe function, the values of its options, and the hash of
    its
        source file; set by `recipe`.
    """

    data: Corpus
    solve: Callable[[Say], Classifier | None]
    base_model: NeuralClassifier | None = None
    validation: np.ndarray | tuple[()] = ()
    uses_weights: bool = False
    over_processes: bool = False
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    source_sha256: str = ""


def check_corpus(data: object) -> None:
    """Raises SettingError unless `data` is a corpus."""
    from megalabel.data.corpus import Corpus

    if not isinstance(data, Corpus):
        raise SettingError(
            f"a {type(data).__name__}",
            wanted="a Corpus",
            next_step="open the data set with Corpus.open(folder) or Corpus.bundled(name)",
            where="data",
        )


# The return type of a recipe function, `Recipe` or `DirectRecipe`, and the type of its options.
Made = TypeVar("Made", bound="Recipe | DirectRecipe")
Given = TypeVar("Given", bound=Options)


class RecipeFunction(Generic[Given, Made]):
    """A recipe function that accepts options or their values, and records them in the recipe.

    `renee(corpus, epochs=3)` and `renee(corpus, Renee(epochs=3))` are equivalent.

    Attributes:
        name: the name of the function.
        options: the class of its options.
        address: the name under which `megalabel.recipes.get` finds it: "renee" for a recipe of megalabel,
            "package.module:function" for any other.
    """

    def __init__(self, build: Callable[[Corpus, Given], Made]) -> None:
        functools.update_wrapper(self, build)
        self._build = build
        self.options: type[Given] = _options_of(build)
        module, name = build.__module__, build.__qualname__
        self.name = build.__name__
        self.address = name if module == f"megalabel.recipes.{name}" else f"{module}:{name}"

    def __call__(
        self, corpus: Corpus, options: Given | None = None, /, *, trust: Sequence[str] = (), **values: Any
    ) -> Made:
        """Builds the recipe; SettingError or DataError if options are invalid or do not fit the corpus.

        Args:
            corpus: the data set to learn from.
            options: the options; None to pass `values` instead.
            trust: packages besides megalabel that may be imported to load a run on which the recipe builds.
            values: values by option name, if no options are passed.
        """
        from megalabel.distributed.own_tokens import divided_tokens

        check_corpus(corpus)
        if options is None:
            options = self.options.from_values(values, f"the recipe {self.address}")
        elif values or not isinstance(options, self.options):
            raise SettingError(
                f"a {type(options).__name__}" + (f" and values of {', '.join(values)}" if values else ""),
                wanted=f"either a {self.options.__name__} or values by option name",
                where="options",
            )
        options.check_corpus(corpus)
        with trusting(trust), options.building(), divided_tokens():
            made = self._build(corpus, options)
        return replace(made, name=self.address, arguments=options.values(), source_sha256=self.source_sha256())

    def source_sha256(self) -> str:
        """The SHA-256 of the source file of the recipe's module; "" if there is no such file."""
        try:
            source = inspect.getsourcefile(self._build)
            return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
        except (OSError, TypeError):
            return ""

    def source_file(self) -> Path | None:
        """The source file of the recipe's module; the file of its presets is in the same folder."""
        source = inspect.getsourcefile(self._build)
        return Path(source) if source else None


def recipe(build: Callable[[Corpus, Given], Made]) -> RecipeFunction[Given, Made]:
    """Decorates a recipe function such as `def mine(corpus: Corpus, options: Mine) -> Recipe`."""
    return RecipeFunction(build)


def _options_of(build: Callable[..., Any]) -> type[Any]:
    """The class with which the second parameter of a function is annotated."""
    parameters = list(inspect.signature(build).parameters.values())
    found: Any = parameters[1].annotation if len(parameters) == 2 else None
    if isinstance(found, str):
        found = build.__globals__.get(found)
    if not (isinstance(found, type) and issubclass(found, Options)):
        raise SettingError(
            f"{build.__module__}:{build.__qualname__} has the parameters {', '.join(p.name for p in parameters)}",
            wanted="two: a corpus, and options annotated with a subclass of megalabel.recipes.options.Options",
            where="recipe",
        )
    return found
