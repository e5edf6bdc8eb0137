"""Options declared once: type, range or choices, default and help of each option are one annotated field.

A recipe's options are a class whose fields are its options:

    class Mine(Options):
        panel = "Training"
        epochs: Annotated[int, at_least(1), "Passes over the training texts."] = 10
        loss: Annotated[Literal["bce", "squared_hinge"], "Loss per label."] = "bce"

Subclasses are frozen keyword-only dataclasses; no decorator is needed. A subclass of several groups has the
options of all of them; `epochs = 100` in its body changes only the default. Values are checked when an instance is
created.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, dataclass_transform, get_origin, get_type_hints

from megalabel.errors import SettingError
from megalabel.storage import migrate
from megalabel.training.option import REQUIRED, Option, read_option


# Instances are frozen, but not declared so for mypy, which would report changed defaults in the body of a subclass
# as assignments to read-only attributes.
@dataclass_transform(kw_only_default=True)
class Options:
    """Base class of groups of options and of the options of a recipe.

    Attributes:
        panel: the heading in `--help` under which the options that a class declares are listed.
    """

    panel: ClassVar[str] = "Options"
    declared: ClassVar[dict[str, Option]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Reads the fields of the class into `declared`, and turns the class into a dataclass."""
        super().__init_subclass__(**arguments)
        inherited: dict[str, Option] = {}
        for base in cls.__mro__[1:]:
            for option in vars(base).get("declared", {}).values():
                inherited.setdefault(option.name, option)
        annotations = dict(inspect.get_annotations(cls))
        hints = get_type_hints(cls, include_extras=True)
        own: dict[str, Option] = {}
        for name in annotations:
            if get_origin(hints[name]) is not ClassVar and hints[name] is not ClassVar:
                panel = inherited[name].panel if name in inherited else cls.panel
                own[name] = read_option(name, hints[name], vars(cls).get(name, REQUIRED), panel, cls.__name__)
        for name in [name for name in vars(cls) if name in inherited and name not in own]:
            own[name] = replace(inherited[name], default=vars(cls)[name])
            annotations[name] = inherited[name].hint
        for option in own.values():
            if option.default is not REQUIRED:
                setattr(cls, option.name, option.check(option.default))
        cls.declared = {**inherited, **own}
        cls.__annotations__ = annotations
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        """Checks and normalizes every value; SettingError for the first invalid one."""
        for name, option in self.declared.items():
            object.__setattr__(self, name, option.check(getattr(self, name)))

    def check_corpus(self, corpus: Any) -> None:
        """Raises SettingError or DataError if the options do not fit the corpus; loads nothing."""

    def building(self) -> AbstractContextManager[None]:
        """The context in which a recipe is built with these options."""
        return nullcontext()

    @classmethod
    def checked_values(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Some values by option name, each checked independently; SettingError for an invalid one."""
        check_names(values, cls.declared, cls.__name__)
        return {name: cls.declared[name].check(value) for name, value in values.items()}

    @classmethod
    def from_values(cls, values: Mapping[str, Any], of: str = "") -> Self:
        """The options with these values; SettingError for an unknown name, a missing option or an invalid value.

        Args:
            values: values by option name.
            of: the owner of the options in messages, such as "the recipe renee".
        """
        of = of or cls.__name__
        check_names(values, cls.declared, of)
        for name, option in cls.declared.items():
            if option.default is REQUIRED and name not in values:
                raise SettingError(
                    f"no value for {name}, which has no default",
                    wanted=option.help.rstrip("."),
                    where=name,
                )
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """The values of all options by name, in the order of `declared`: plain Python, tuples for several."""
        return {name: getattr(self, name) for name in self.declared}


def check_names(given: Iterable[str], known: Iterable[str], of: str) -> None:
    """Raises SettingError for an unknown name, and suggests similar names."""
    known = list(known)
    for name in given:
        if name not in known:
            plain = name.replace("-", "_")
            renamed = migrate.OPTIONS.get(plain)
            close = [renamed] if renamed in known else difflib.get_close_matches(plain, known, n=3, cutoff=0.7)
            raise SettingError(
                f"{of} has no option {name!r}",
                wanted=f"{' or '.join(close)}" if close else f"one of {', '.join(known)}",
                next_step=f"write {plain}" if plain in known else None,
                where=name,
            )
