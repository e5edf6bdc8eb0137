"""Turns texts into token ids: a fast tokenizer that is loaded, or learned from the texts."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from megalabel.errors import RESTORE_FOLDER, DataError, FormatError, SettingError
from megalabel.inputs.word_cache import WORDS, WordCache
from megalabel.storage.reading import read_bytes, reading

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

LONGEST_WORD = 32  # characters up to which a word is not cut
LENGTHS = 4  # lengths of texts that copies of a tokenizer are kept for, at most
PROBES = ("", "a Text of 7 words, ünd 文字 \U0001f600")


class TextTokenizer:
    """A fast tokenizer of the `tokenizers` library, with its padding id and a hash that identifies it.

    The post-processor of the tokenizer decides which special tokens are added. Threads may share it: nothing that
    `encode` reads is changed by it.

    Attributes:
        prompt: what is put before every text that is encoded. It is no normalizer in `tokenizer.json`, which would
            add it again after each special token inside a text.
        note: a sentence on how the tokenizer was made, for the log; "" where there is nothing to tell.
    """

    def __init__(self, tokenizer: Tokenizer, pad_id: int = 0, prompt: str = "") -> None:
        self.tokenizer, self.pad_id, self.prompt, self.note = tokenizer, pad_id, _clean(prompt), ""
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._cut: dict[int, Tokenizer] = {}  # a copy for each length that texts were cut to

    def with_prompt(self, prompt: str) -> TextTokenizer:
        """The same tokenizer with another prompt, "" for none."""
        return self if prompt == self.prompt else TextTokenizer(self.tokenizer, self.pad_id, prompt)

    @classmethod
    def load(cls, folder: str | Path) -> TextTokenizer:
        """Loads the tokenizer that `save` wrote, without a prompt; FormatError if it is missing or damaged."""
        from tokenizers import Tokenizer

        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise FormatError("the file is missing", wanted="a tokenizer", next_step=RESTORE_FOLDER, where=path)
        wanted = "a tokenizer.json of the tokenizers library"
        with reading(path, wanted=wanted, next_step=RESTORE_FOLDER, what="the tokenizer cannot be loaded"):
            tokenizer = Tokenizer.from_str(read_bytes(path).decode())
            pad = tokenizer.token_to_id("[PAD]")
            made = cls(tokenizer, next(iter(_pad_ids(tokenizer)), pad if pad is not None else 0))
            made.check()
            return made

    def check(self) -> None:
        """Raises ValueError for ids that are no row of a table of all tokens, as an edited file may have.

        Where the tokenizer cannot encode, this raises what the library does.
        """
        size = self.vocabulary_size
        highest = max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if not 0 <= self.pad_id < max(size, 1) or highest >= size:
            raise ValueError(f"ids up to {max(highest, self.pad_id)} of {size} tokens")
        special = self.tokenizer.num_special_tokens_to_add(False)
        ids = self.encode(PROBES, special + 8)
        if any(not 0 <= i < size or len(row) > special + 8 for row in ids for i in row):
            raise ValueError("ids that its vocabulary does not have")

    def save(self, folder: str | Path, *, max_length: int | None = None) -> None:
        """Writes `tokenizer.json`, including the padding id and, if given, the length that texts are cut to."""
        padded = _copy(self.tokenizer)
        if max_length is not None:
            padded.enable_truncation(max_length)
        padded.enable_padding(pad_id=self.pad_id, pad_token=self.tokenizer.id_to_token(self.pad_id) or "[PAD]")
        padded.save(str(Path(folder) / "tokenizer.json"))

    @property
    def vocabulary_size(self) -> int:
        """The number of token ids, including added tokens."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def n_special(self) -> int:
        """The number of special tokens that are added to each text."""
        return int(self.tokenizer.num_special_tokens_to_add(False))

    @property
    def n_added(self) -> int:
        """The number of tokens that each text has beside its own: special tokens, and those of the prompt."""
        return len(self.tokenizer.encode(self.prompt).ids) if self.prompt else self.n_special

    @property
    def n_before(self) -> int:
        """The number of tokens up to the end of the prompt, special ones included; 0 without a prompt."""
        if not self.prompt:
            return 0
        added = self.tokenizer.encode(self.prompt).special_tokens_mask
        return len(added) - (added[-1] if added else 0)

    @property
    def unknown_id(self) -> int | None:
        """The id of the token for whatever the vocabulary lacks; None where the model has none."""
        name = getattr(self.tokenizer.model, "unk_token", None)
        return None if name is None else self.tokenizer.token_to_id(str(name))

    def unknown_parts(self, text: str) -> list[str]:
        """The parts of a text that become unknown tokens."""
        clean = _clean(text)
        encoding = self.tokenizer.encode(clean)
        ends = zip(encoding.ids, encoding.offsets, strict=True)
        return [clean[first:last] for token, (first, last) in ends if token == self.unknown_id]

    @property
    def sha256(self) -> str:
        """SHA-256 (hexadecimal) of everything that determines the ids of a text."""
        prompt = f"\0{self.prompt}" if self.prompt else ""
        return hashlib.sha256((self.tokenizer.to_str() + prompt).encode()).hexdigest()

    def encode(self, texts: Sequence[str] | Iterable[str], max_length: int) -> list[list[int]]:
        """Encodes texts, each after the prompt.

        Args:
            texts: the texts.
            max_length: the maximum number of tokens per text, including special tokens and those of the prompt.

        Returns:
            The token ids of each text.

        Raises:
            SettingError: `max_length` leaves no space for a token of the text.
            DataError: a text is not a string.
        """
        self._check_length(max_length)
        clean = [self.prompt + _clean(text) for text in texts]
        if self._words is not None:
            return self._words.encode(clean, max_length)
        return [encoding.ids for encoding in self._cut_at(max_length).encode_batch_fast(clean)]

    def encoding(self, text: str, max_length: int) -> Encoding:
        """The tokens of one text with the characters of each, those of the prompt first; otherwise as `encode`."""
        self._check_length(max_length)
        return self._cut_at(max_length).encode(self.prompt + _clean(text))

    @functools.cached_property
    def _words(self) -> WordCache | None:
        return WordCache.of(self.tokenizer)

    def clear_cache(self) -> None:
        """Frees the memory for words that texts had so far; `encode` keeps those of its texts again."""
        self.__dict__.pop("_words", None)

    def _check_length(self, max_length: int) -> None:
        """Raises SettingError for a length that leaves no space for a token of the text."""
        added = self.n_added
        if max_length <= added:
            those = f"a prompt and special tokens of {added} tokens" if self.prompt else f"{added} special tokens"
            raise SettingError(
                f"max_length = {max_length}",
                wanted=f"at least {added + 1}, since the tokenizer adds {those}",
                where="max_length",
            )

    def _cut_at(self, max_length: int) -> Tokenizer:
        """A copy of the tokenizer that cuts texts to a length."""
        cut = self._cut.get(max_length)
        if cut is None:
            cut = _copy(self.tokenizer)
            cut.enable_truncation(max_length)
            latest = [*self._cut.items()][1 - LENGTHS :]
            self._cut = dict([*latest, (max_length, cut)])  # a new one: others may read
        return cut

    def starts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Where the tokens of each text begin, special tokens left out: (n,) int64 character positions, ascending.

        Tokens that continue a word of at most 32 characters have the position of the word, so that it is not cut.
        Longer ones are cut: some tokenizers read a whole sentence in a script without blanks as one word.
        """
        found = []
        for encoding in self.tokenizer.encode_batch([_clean(text) for text in texts], add_special_tokens=False):
            begins, ends = np.array(encoding.offsets, np.int64).reshape(-1, 2).T.copy()
            words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
            continues = np.zeros(len(words), bool)
            continues[1:] = (words[1:] == words[:-1]) & (words[1:] >= 0)
            if continues.any():
                firsts = np.flatnonzero(~continues)
                lengths = np.maximum.reduceat(ends, firsts) - begins[firsts]
                continues &= np.repeat(lengths <= LONGEST_WORD, np.diff(firsts, append=len(words)))
            begins[continues] = 0
            found.append(np.maximum.accumulate(begins))
        return found


def learn_tokenizer(texts: Iterable[str], size: int, kind: str = "words") -> TextTokenizer:
    """Learns a tokenizer of whole words from texts.

    Args:
        texts: the texts.
        size: the number of tokens; the most frequent words are kept, ties go by spelling.
        kind: "words" for words and single other characters, in lower case and without accents; "symbols" for
            whatever is between blanks, unchanged, for formulas and codes.

    Raises:
        SettingError: the kind is unknown.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    if kind not in ("words", "symbols"):
        raise SettingError.choice("tokenizer", kind, ("words", "symbols"))
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    if kind == "symbols":
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
    tokenizer.train_from_iterator(map(_clean, texts), trainer)
    return TextTokenizer(tokenizer, pad_id=0)


def _copy(tokenizer: Tokenizer) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer.to_str())


def _clean(text: str) -> str:
    """The text without halves of surrogate pairs, which the tokenizers library does not accept."""
    if not isinstance(text, str):
        raise DataError(
            f"a text of type {type(text).__name__}",
            wanted="a string",
            next_step='give "" for an empty text',
        )
    return text.encode("utf-8", "replace").decode("utf-8")


def _pad_ids(tokenizer: Tokenizer) -> Iterable[int]:
    padding = tokenizer.padding
    if padding:
        yield int(padding["pad_id"])
        tokenizer.no_padding()
