"""What a command line asks for a prediction: the model, how texts are cut and read, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from megalabel.cli import chunk_arguments as chunks
from megalabel.cli.arguments import format_of_run, opened_by

if TYPE_CHECKING:
    from megalabel.inference.predict import Wanted
    from megalabel.inference.record import Say, TextOptions
    from megalabel.models.base import Classifier


class Request(NamedTuple):
    """The arguments of `megalabel predict`, except for where answers are written.

    run, texts: the run and the file of the texts, or "-".
    wanted: what of the rankings is written.
    cut: the options of chunks, in the order of `in_chunks`.
    options: how texts are read, where the caller says so.
    device, trust: those of `load`.
    """

    run: Path
    texts: str
    wanted: Wanted
    cut: tuple[Any, ...]
    options: TextOptions
    device: str | None
    trust: list[str]

    def model(self, say: Say, *, mapped: bool = False) -> Classifier:
        """The model, which reads chunks if asked; SettingError for what it cannot answer."""
        from megalabel.models.base import load
        from megalabel.models.find import note_unfinished

        model = load(self.run, device=self.device, trust=self.trust, mapped=mapped)
        note_unfinished(self.run, say)
        model = chunks.in_chunks(model, *self.cut, say=say) or model
        self.wanted.check(model)
        k = self.wanted.k
        if k is not None and k > len(model.label_texts):
            say(f"k = {k:,}: the model has {len(model.label_texts):,} labels, and all of them are ranked")
        return model

    def as_trained(self, say: Say) -> Request:
        """With how the texts of the run were read, where the caller does not say it."""
        return self._replace(options=as_trained(self.run, self.texts, self.options, say))

    def rows(self, model: Classifier, stdin: Any, say: Say) -> Any:
        """The inputs of the model, as `read_inputs` returns them."""
        from megalabel.inference.predict import read_inputs

        return read_inputs(model, self.texts, stdin, self.options, say)


def as_trained(run: Path, texts: str, options: TextOptions, say: Say) -> TextOptions:
    """Adds how the texts of a run were read, where the caller does not say it."""
    from megalabel.data.recorded import needs_encoding
    from megalabel.inference.layouts import holds_raw_texts

    opened = opened_by(run)
    options = options._replace(trained_field=opened.get("text_field", ""))
    if holds_raw_texts(texts):
        options = options._replace(trained_format=format_of_run(run))
    encoding = opened.get("encoding")
    if options.encoding is None and encoding is not None and needs_encoding(Path(texts), encoding):
        say(f"{texts}: read as {encoding}, as in training")
        options = options._replace(encoding=encoding)
    return options
