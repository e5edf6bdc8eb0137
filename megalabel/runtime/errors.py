"""The error of the runtime: what was found, what was expected, and what to do."""

from __future__ import annotations


class ModelError(ValueError):
    """A file that the runtime cannot read or has found damaged, or an argument that does not fit the model.

    Args:
        found: what was found, with its value.
        wanted: what was expected instead.
        next_step: what the reader can do now; "" where the message already says it.
        where: the file or the argument; "" for none.
    """

    def __init__(self, found: str, *, wanted: str, next_step: str = "", where: object = "") -> None:
        self.found, self.wanted, self.next_step, self.where = found, wanted, next_step, str(where)
        place, step = f"{self.where}: " * bool(self.where), next_step[:1].upper() + next_step[1:]
        super().__init__(f"{place}{found}; expected {wanted}" + f". {step}." * bool(step))
