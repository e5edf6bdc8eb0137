"""What a recipe is: the parts of a paper, wired, and the arguments that wired them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from megalabel.errors import SettingError
from megalabel.training.knobs import checked

if TYPE_CHECKING:
    import numpy as np

    from megalabel.data.corpus import Corpus
    from megalabel.encoders.base import Encoder
    from megalabel.heads.base import Head
    from megalabel.inputs.batches import Batches
    from megalabel.models.base import Ranker
    from megalabel.models.neural import Model
    from megalabel.training.optim.groups import Optimizers
    from megalabel.training.optim.schedule import Schedule


Say = Callable[[str], Any]


@dataclass(frozen=True)
class Recipe:
    """Everything the loop needs, and nothing it must know a paper for.

    validation: rows of the training side that are held out, (n,) int64, empty for none.
    patience: validations without a gain before training stops; 0 for never.
    select: the metric, in the names of `measure`, by which the best validation is chosen.
    micro_batches: into how many parts each batch is cut for gradient accumulation.
    precision: "auto", "float32", "bfloat16" or "float16" for the encoder's autocast.
    clip: largest norm of the encoder's gradient, 0 for no limit.
    seed: of every step's chance.
    log_every: steps between training lines in the log.
    then: what makes of the trained model the one that is kept, such as linear rankers beside it; None for nothing.
    name, arguments: which function made this recipe, and with what; filled by `recipe`.
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
    select: str = "nDCG@5"
    micro_batches: int = 1
    precision: str = "auto"
    clip: float = 0.0
    seed: int = 0
    log_every: int = 1
    then: Callable[[Model, Say], Ranker] | None = None
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Solved:
    """A recipe whose model is the solution of a problem and not the end of a walk: no steps, no checkpoints.

    data: the corpus that it learns from.
    solve: makes the model; told how it goes by calling its argument with a line.
    first: a trained model that it stands on, which `train` moves to its device; None where there is none.
    name, arguments: which function made this recipe, and with what; filled by `recipe`.
    """

    data: Corpus
    solve: Callable[[Say], Ranker]
    first: Model | None = None
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


def check_corpus(data: object) -> None:
    """SettingError unless it is a corpus."""
    from megalabel.data.corpus import Corpus

    if not isinstance(data, Corpus):
        raise SettingError(
            f"a {type(data).__name__}",
            wanted="a Corpus",
            next_step="open the data set by Corpus.open(folder) or Corpus.bundled(name)",
            where="data",
        )


# What a recipe function makes: a dataclass with name and arguments, `Recipe` or `Solved`.
Made = TypeVar("Made", bound=Any)


def recipe(build: Callable[..., Made]) -> Callable[..., Made]:
    """Makes `build(data, *, knobs…) -> Recipe` (or `Solved`) remember its name and all arguments.

    Types and ranges are checked first: SettingError for a value that no knob of its name can have, and for one
    that is missing.
    """
    signature = inspect.signature(build)

    @functools.wraps(build)
    def remembering(data: Corpus, **knobs: Any) -> Made:
        check_corpus(data)
        for name in knobs.keys() - signature.parameters.keys():
            raise SettingError(
                f"{build.__name__} has no argument {name!r}",
                wanted="one of " + ", ".join(list(signature.parameters)[1:]),
                next_step="correct the name",
            )
        for name, parameter in signature.parameters.items():
            if name != "data" and parameter.default is parameter.empty and name not in knobs:
                raise SettingError(
                    f"{build.__name__} without {name}",
                    wanted=f"{name} = …, which has no default",
                    next_step=f"give it; help({build.__module__}.{build.__name__}) says what it is",
                )
        bound = signature.bind(data, **knobs)
        bound.apply_defaults()
        kinds = {k: p.annotation for k, p in signature.parameters.items()}
        arguments = {k: checked(k, v, kinds[k]) for k, v in bound.arguments.items() if k != "data"}
        made: Made = replace(build(data, **arguments), name=build.__name__, arguments=arguments)
        return made

    return remembering
