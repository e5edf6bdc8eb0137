"""Maps labels, given as names or ids, to columns: by a list of labels, or by first appearance in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.text_lines import find_file, read_text_lines
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of

Label = int | str


class Vocabulary:
    """Maps each label to its column.

    With a list of labels, the column of a name is its position in the list, and an id is checked against the
    length of the list. Without a list, names get columns in the order of their first appearance in training, and
    an id is its own column. A test label that is neither listed nor in training gets no column, since a model
    cannot have learned it.
    """

    def __init__(
        self, listed: Texts | None, listed_in: Path | None, findings: Findings, *, in_memory: bool = False
    ) -> None:
        self._in_memory = in_memory  # where half a surrogate pair is kept, which no file can hold
        self._listed, self._listed_in, self._findings = listed, listed_in, findings
        self._columns: dict[str, int] = {}
        self._by_name: bool | None = None
        self._n = 0 if listed is None else len(listed)
        self._twice: dict[str, int] = {}
        self._learning = True

    @classmethod
    def beside(cls, folder: Path, findings: Findings) -> Vocabulary:
        """The vocabulary of labels.txt or Y.txt (one name per line, line i + 1 for id i), if either exists."""
        file = find_file(folder, "labels.txt", "Y.txt")
        return cls(None if file is None else read_text_lines(file, findings), file, findings)

    @property
    def n_labels(self) -> int:
        """The number of columns so far."""
        return self._n

    @property
    def n_listed(self) -> int | None:
        """The length of the list of labels; None if there is no list."""
        return None if self._listed is None else len(self._listed)

    @property
    def listed(self) -> Texts | None:
        """The list of labels, if there is one."""
        return self._listed

    @property
    def listed_in(self) -> Path | None:
        """The file of the list of labels."""
        return self._listed_in

    @property
    def by_name(self) -> bool:
        """Whether the labels are names; False also before the first label."""
        return bool(self._by_name)

    def stop_learning(self) -> None:
        """Ends the training split: new labels get no columns from now on."""
        self._learning = False

    def names(self) -> Texts:
        """The L label names."""
        if self._listed is not None:
            return self._listed
        return Texts.from_strings(self._columns) if self._by_name else Texts.numbers(self._n)

    def columns(self, labels: Sequence[object], file: Path, line: int) -> tuple[list[int], list[str]]:
        """The columns of one row's labels, and those test labels that have none."""
        if self._by_name:
            try:
                return [self._columns[label] for label in labels], []  # type: ignore[index]
            except (KeyError, TypeError):
                pass
        elif self._by_name is False and all(type(label) is int and 0 <= label < self._n for label in labels):
            return list(labels), []  # type: ignore[arg-type]
        known: list[int] = []
        unknown: list[str] = []
        for label in labels:
            try:
                column = self._column(label, file, line)
            except DataError as error:
                self._findings.error("label", file, error)
                continue
            if column is None:
                unknown.append(str(label))
            else:
                known.append(column)
        return known, unknown

    def _column(self, label: object, file: Path, line: int) -> int | None:
        where = line_of(file, line)
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise _no_label(label, where)
        by_name = isinstance(label, str)
        if self._by_name is None:
            self._by_name = by_name
            if by_name and self._listed is not None:
                self._index(self._listed)
        if by_name != self._by_name:
            kinds = ("a name", "ids") if by_name else ("an id", "names")
            raise DataError(
                f"label {_shown(label)} is {kinds[0]}, but the labels before it are {kinds[1]}",
                wanted="only names or only ids in the whole data set",
                where=where,
            )
        return self._of_name(label, where) if isinstance(label, str) else self._of_id(int(label), where)

    def _index(self, listed: Texts) -> None:
        for i, name in enumerate(listed):
            if self._columns.setdefault(name, i) != i:
                self._twice.setdefault(name, i)
        for name in self._twice:
            del self._columns[name]

    def _of_name(self, name: str, where: str) -> int | None:
        column = self._columns.get(name)
        if column is not None:
            return column
        if name in self._twice:
            raise DataError(
                f"label {name!r} occurs twice in {self._listed_in}, again on line {self._twice[name] + 1}",
                wanted="each name once",
                next_step="make the names differ, or write ids instead of names",
                where=where,
            )
        if not name:
            raise DataError(
                "an empty label name",
                wanted="names of at least one character",
                where=where,
            )
        if not self._learning:
            return None
        if self._listed is not None:
            raise DataError(
                f"label {name!r} is not in {self._listed_in}",
                wanted="a name from that list (an id is written as a number, without quotes)",
                next_step="correct the name, complete the list, or remove the list",
                where=where,
            )
        try:
            name.encode()
        except UnicodeEncodeError as error:
            problem = surrogate_error(error, where, "label name")
            if not self._in_memory:
                raise problem from None
            message = f"{problem.found}, so that `data convert` cannot write it"
            self._findings.note("surrogate", None, message, notable=True)
        self._columns[name] = self._n
        self._n += 1
        return self._n - 1

    def _of_id(self, label: int, where: str) -> int | None:
        if label < 0:
            raise DataError(
                f"negative label id {_shown(label)}",
                wanted="ids of 0 or more",
                where=where,
            )
        if label < self._n:
            return label
        if self._listed is not None or label >= 2**31 - 1:
            limit = (
                f"{self._listed_in} has {self._n} labels"
                if self._listed is not None
                else "2**31 - 2 is the largest"
            )
            raise DataError(
                f"names label {_shown(label)}, but {limit}",
                wanted="ids of labels that exist",
                next_step="check that both files belong together and that ids count from 0",
                where=where,
            )
        if not self._learning:
            return None
        self._n = label + 1
        return label


def _no_label(label: object, where: str) -> DataError:
    """The error for a value that cannot be a label, with what is usual in its place."""
    step = None
    if label is None or label != label:
        step = "drop the missing label"
    elif isinstance(label, dict | tuple | float):
        step = "labels have no scores: list the labels alone, those whose score is high enough"
    elif isinstance(label, list):
        step = "labels are one list for each text, without lists inside it"
    return DataError(
        f"{_shown(label)} is not a label",
        wanted="a name (text) or an id (whole number)",
        next_step=step,
        where=where,
    )


def _shown(label: object) -> str:
    """The label for a message; an integer of thousands of digits has no text of its own."""
    if isinstance(label, int) and not -(10**30) < label < 10**30:
        return f"of {label.bit_length():,} bits"
    return repr(label)[:200]


def surrogate_error(error: UnicodeEncodeError, where: str | None, what: str = "text") -> DataError:
    """The error for half a surrogate pair, which no tokenizer accepts."""
    return DataError(
        f"the {what} holds half of a surrogate pair (U+{ord(error.object[error.start]):04X})",
        wanted="text of complete characters",
        next_step="repair the text at its source, where it was probably cut in the middle of a character",
        where=where,
    )
