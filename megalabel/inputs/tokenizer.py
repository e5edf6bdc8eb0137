"""Texts to token ids: a fast tokenizer, loaded or learnt from the texts themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from megalabel.errors import DataError, FormatError, SettingError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextTokenizer:
    """A fast tokenizer (the `tokenizers` library's), its padding id and the hash that names it.

    Special tokens are added as the tokenizer's own post-processor says.
    """

    def __init__(self, tokenizer: Tokenizer, pad_id: int = 0) -> None:
        self.tokenizer, self.pad_id = tokenizer, pad_id
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    @classmethod
    def load(cls, folder: str | Path) -> TextTokenizer:
        """The tokenizer that `save` wrote."""
        from tokenizers import Tokenizer

        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise FormatError(
                "the file is missing", wanted="a tokenizer", next_step="copy the whole folder", where=path
            )
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise FormatError(
                f"the tokenizer does not load ({error})",
                wanted="a tokenizer.json of the tokenizers library",
                next_step="copy the folder again from where it was made",
                where=path,
            ) from error
        pad = tokenizer.token_to_id("[PAD]")
        return cls(tokenizer, next(iter(_pad_ids(tokenizer)), pad if pad is not None else 0))

    def save(self, folder: str | Path) -> None:
        """Writes `tokenizer.json`, with its padding id inside."""
        self.tokenizer.enable_padding(
            pad_id=self.pad_id, pad_token=self.tokenizer.id_to_token(self.pad_id) or "[PAD]"
        )
        try:
            self.tokenizer.save(str(Path(folder) / "tokenizer.json"))
        finally:
            self.tokenizer.no_padding()

    @property
    def vocabulary_size(self) -> int:
        """How many token ids there are, added tokens included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def sha256(self) -> str:
        """The hash of everything that decides which ids a text gets."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()

    def encode(self, texts: Sequence[str] | Iterable[str], max_length: int) -> list[list[int]]:
        """Token ids of each text, at most `max_length` with the special tokens.

        SettingError if that leaves no room for a token of the text; DataError for what is no string.
        """
        special = self.tokenizer.num_special_tokens_to_add(False)
        if max_length <= special:
            raise SettingError(
                f"max_length = {max_length}",
                wanted=f"at least {special + 1}: the tokenizer adds {special} tokens of its own",
                next_step="raise it",
            )
        self.tokenizer.enable_truncation(max_length)
        try:
            clean = [_clean(text) for text in texts]
            return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(clean)]
        finally:
            self.tokenizer.no_truncation()


def learn_tokenizer(texts: Iterable[str], size: int, kind: str = "words") -> TextTokenizer:
    """A tokenizer of whole words, learnt from the texts themselves.

    kind "words": words and single other signs, lower-cased, accents dropped; "symbols": whatever stands
    between blanks, as it is, for formulas and codes. The most frequent `size` are kept, ties by spelling.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    if kind not in ("words", "symbols"):
        raise SettingError(f"tokenizer kind {kind!r}", wanted="words or symbols", next_step="name one of the two")
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    if kind == "symbols":
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True)
    tokenizer.train_from_iterator(map(_clean, texts), trainer)
    return TextTokenizer(tokenizer, pad_id=0)


def _clean(text: str) -> str:
    """The text without halves of surrogate pairs, which the tokenizers library does not take."""
    if not isinstance(text, str):
        raise DataError(
            f"a text of type {type(text).__name__}",
            wanted="a string",
            next_step='leave it out, or give "" for an empty text',
        )
    return text.encode("utf-8", "replace").decode("utf-8")


def _pad_ids(tokenizer: Tokenizer) -> Iterable[int]:
    padding = tokenizer.padding
    if padding:
        yield int(padding["pad_id"])
        tokenizer.no_padding()
