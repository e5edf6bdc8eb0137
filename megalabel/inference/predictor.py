"""`Predictor` adds the best labels to batches of a table, in any process: for Ray Data, Spark and others."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from megalabel.errors import DataError, FormatError, SettingError
from megalabel.inference.parts import model_facts
from megalabel.inference.predict import Wanted, answers
from megalabel.inference.record import TEXT
from megalabel.models.base import Classifier, load
from megalabel.models.depth import at_least_one
from megalabel.models.prediction_table import COLUMNS, URIS, label_columns
from megalabel.models.scores import AskedKind

_models: dict[tuple[Any, ...], Classifier] = {}  # those that this process has loaded
_loading = threading.Lock()


class Predictor:
    """Replaces the texts of a batch by their best labels: the columns `label_ids`, `labels` and `scores` of lists.

    It holds its arguments alone. It can be pickled and sent to other processes and machines, each of which loads
    the model when it gets its first batch, and keeps it. On the CPU, weights stay in their files, so that the
    processes of a machine share their memory.

        dataset.map_batches(Predictor("runs/r"), batch_format="pyarrow")          # Ray Data
        frame.mapInPandas(Predictor("runs/r").frames, schema="id long, " + Predictor.SCHEMA)    # Spark

    Args:
        run: a run folder or a model folder, under a path that is the same on all machines.
        text_field: the column of the texts.
        keep: the columns that are passed on; None for all but that of the texts.
        k, probabilities, threshold, min_labels: what of the rankings is written; see `Wanted`.
        uris: whether a fourth column `uris` follows, `uris array<string>` for Spark; "" for a label without one.
        device: where the model runs; None for the first GPU, or the CPU.
        trust: modules outside megalabel from which parts of the model may come.

    Raises:
        FormatError: there is no model.
        SettingError: k is below 1, or a column is named that the labels take.
    """

    SCHEMA = "label_ids array<bigint>, labels array<string>, scores array<float>"  # the new columns, for Spark

    def __init__(
        self,
        run: str | Path,
        *,
        text_field: str = TEXT,
        keep: Sequence[str] | None = None,
        k: int = 10,
        probabilities: bool = False,
        threshold: float | None = None,
        min_labels: int = 0,
        uris: bool = False,
        device: str | None = "cpu",
        trust: Sequence[str] = (),
    ) -> None:
        at_least_one("k", k)
        if isinstance(keep, str):
            raise SettingError(f"{keep!r}", wanted="a list of columns", next_step=f"[{keep!r}]", where="keep")
        self.new = (*COLUMNS, URIS) if uris else COLUMNS
        taken = [name for name in keep or () if name in self.new]
        if taken:
            raise SettingError(
                f"a column {taken[0]!r}", wanted=f"other names than {', '.join(self.new)}", where="keep"
            )
        self.model_facts = model_facts(run)
        self.run, self.text_field, self.keep = Path(run).absolute(), text_field, keep
        self.wanted = Wanted(k, probabilities, threshold, min_labels)
        self.device, self.trust, self.uris = device, tuple(trust), uris

    @property
    def model(self) -> Classifier:
        """The model, which is loaded once in a process.

        Raises:
            FormatError: it is damaged, or another one than where the predictor was made.
            SettingError: it has no such scores as are wanted.
        """
        key = (self.run, self.model_facts["sha256"], self.device, self.trust)
        with _loading:
            if key not in _models:
                if model_facts(self.run) != self.model_facts:
                    raise FormatError(
                        "another model than where the predictor was made",
                        wanted="the same run on all machines",
                        next_step="copy the run to all machines, and make the predictor again",
                        where=self.run,
                    )
                _models[key] = load(self.run, device=self.device, trust=self.trust, mapped=True)
            model = _models[key]
        if model.n_features is not None:
            raise SettingError("a model over bags of words", wanted="a model that reads texts", where="run")
        if self.uris and not (model.metadata and model.metadata.uris):
            raise SettingError(
                "uris of a model whose labels have none",
                wanted="a model with URIs",
                next_step="leave uris out, or write one with `megalabel labels RUN --metadata FILE -o OUT`",
                where="uris",
            )
        self.wanted.check(model)
        return model

    @property
    def score_type(self) -> AskedKind:
        """What the scores are; see `megalabel.models.scores`."""
        return self.wanted.asked(self.model).kind(self.model)

    def __call__(self, batch: Any) -> Any:
        """The batch with labels in place of texts, as the same kind of table; rows without a text get nulls.

        Args:
            batch: a pyarrow Table or RecordBatch, a pandas DataFrame, or a dictionary of columns, N rows each.

        Raises:
            DataError: there is no such column, or it does not hold texts.
        """
        if isinstance(batch, pa.RecordBatch):
            batch = pa.Table.from_batches([batch])
        names = _names(batch)
        others = (name for name in names if name not in (self.text_field, *self.new))
        kept = list(others if self.keep is None else self.keep)
        for name in (self.text_field, *kept):
            if name not in names:
                raise DataError(
                    f"the columns {', '.join(map(repr, names))[:200]}",
                    wanted=f"a column {name!r}",
                    next_step="name the column of the texts with text_field, and those to keep with keep",
                    where="batch",
                )
        labels = self.labels_of(_texts(batch[self.text_field], self.text_field))
        if isinstance(batch, pa.Table):
            return pa.table({**{name: batch[name] for name in kept}, **labels})
        arrays = {name: column.to_numpy(zero_copy_only=False) for name, column in labels.items()}
        if isinstance(batch, Mapping):
            return {**{name: batch[name] for name in kept}, **arrays}
        return batch[list(kept)].assign(**arrays)

    def frames(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Calls the predictor for each batch of an iterator, as `mapInPandas` and `mapInArrow` of Spark ask."""
        for batch in batches:
            found = self(batch)
            yield from found.to_batches() if isinstance(batch, pa.RecordBatch) else (found,)

    def labels_of(self, texts: Any) -> dict[str, Any]:
        """The columns of labels for an Arrow array of N strings or nulls; see `label_columns`."""
        model = self.model
        missing = np.asarray(texts.is_null())
        k, given = self.wanted.asked(model).k or 1, texts.drop_null().to_pylist()
        ids, scores = np.full((len(texts), k), -1, np.int64), np.full((len(texts), k), -np.inf, np.float32)
        rows, at = np.flatnonzero(~missing), 0
        for block in answers(model, given, self.wanted):
            found = rows[at : at + len(block)]
            ids[found], scores[found] = block.numpy()
            at += len(block)
        known = model.metadata.uris if self.uris and model.metadata is not None else None
        more = {} if known is None else {URIS: known}
        return label_columns(model.label_texts, ids, scores, missing, more=more)


def _names(batch: Any) -> list[str]:
    """The names of the columns of a batch."""
    if isinstance(batch, pa.Table):
        return list(batch.column_names)
    if isinstance(batch, Mapping):
        return list(batch)
    if not hasattr(batch, "assign") or not hasattr(batch, "columns"):
        raise DataError(
            f"a batch of type {type(batch).__name__}",
            wanted="a pyarrow Table or RecordBatch, a pandas DataFrame, or a dictionary of columns",
            where="batch",
        )
    return list(batch.columns)


def _texts(column: Any, name: str) -> Any:
    """A column as an Arrow array of strings, in which NaN, None and NA are null."""
    try:
        array = column if isinstance(column, pa.ChunkedArray) else pa.array(column, from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_null(array.type) or pa.types.is_string(array.type):
            return array.cast(pa.string())
        if not (pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type)):
            raise pa.ArrowInvalid(f"values of type {array.type}")
        return array
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"no texts in the column {name!r} ({str(error).splitlines()[0][:120]})",
            wanted="strings, and nulls where there is no text",
            next_step="name the column of the texts with text_field",
            where="batch",
        ) from error
