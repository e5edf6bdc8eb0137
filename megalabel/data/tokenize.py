"""Texts to token ids on disk: ragged, memory-mapped, with a manifest that refuses to be stale."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.data.texts import Texts
from megalabel.errors import DataError, FormatError, SettingError, StaleTokens
from megalabel.files import atomic_folder, read_json, recover, sha256, write_json
from megalabel.progress import Progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from megalabel.data.corpus import Corpus, Split

FORMAT = 1
BLOCK = 4096  # texts handed to the tokenizer's threads at a time


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


class TokenStore:
    """The tokens of N texts, one after the other, memory-mapped.

    ids (n_tokens,) uint16 where the vocabulary allows, else uint32; offsets (N + 1,) int64: the tokens of
    text i are ids[offsets[i]:offsets[i + 1]].
    """

    def __init__(self, ids: np.ndarray, offsets: np.ndarray, manifest: dict[str, Any]) -> None:
        self.ids, self.offsets, self.manifest = ids, offsets, manifest

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64, tokens of each text."""
        return np.diff(self.offsets)

    def gather(self, rows: np.ndarray) -> list[np.ndarray]:
        """The tokens of some texts, as views."""
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        return [self.ids[a:b] for a, b in zip(starts, stops, strict=True)]

    @classmethod
    def build(
        cls, texts: Texts, tokenizer: TextTokenizer, max_length: int, folder: str | Path | None = None
    ) -> TokenStore:
        """Tokenises every text; into `folder` (atomically), or into memory if there is none."""
        manifest = _manifest(texts, tokenizer, max_length)
        blocks: list[np.ndarray] = []
        lengths = np.zeros(len(texts), dtype=np.int64)
        dtype = np.dtype(manifest["dtype"])

        def tokenised() -> Iterable[np.ndarray]:
            with Progress("tokenising", len(texts)) as progress:
                for start in range(0, len(texts), BLOCK):
                    encoded = tokenizer.encode(texts[start : start + BLOCK], max_length)
                    lengths[start : start + len(encoded)] = [len(ids) for ids in encoded]
                    yield np.fromiter((i for ids in encoded for i in ids), dtype=dtype)
                    progress.advance(len(encoded))

        if folder is None:
            blocks.extend(tokenised())
            ids = np.concatenate(blocks) if blocks else np.zeros(0, dtype)
            return cls(ids, np.concatenate([[0], np.cumsum(lengths)]), manifest)
        with atomic_folder(folder) as new:
            with open(new / "ids.bin", "wb") as file:
                for block in tokenised():
                    file.write(block.tobytes())
            np.save(new / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
            manifest["n_tokens"] = int(lengths.sum())
            manifest["sha256"] = {name: sha256(new / name) for name in ("ids.bin", "offsets.npy")}
            write_json(new / "manifest.json", manifest)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> TokenStore:
        """A store on disk, its sizes and hashes checked before a byte is used."""
        folder, again = Path(folder), "run `megalabel prepare` again"
        recover(folder)
        manifest = read_json(folder / "manifest.json", next_step=again)
        if manifest.get("format") != FORMAT:
            raise FormatError(
                f"token store of format {manifest.get('format')}",
                wanted=f"format {FORMAT}",
                next_step=again,
                where=folder,
            )
        for name, digest in manifest["sha256"].items():
            if not (folder / name).is_file() or sha256(folder / name) != digest:
                raise FormatError(
                    "the file is missing or not what the manifest says",
                    wanted=f"SHA-256 {digest[:12]}…",
                    next_step=again,
                    where=folder / name,
                )
        offsets = np.load(folder / "offsets.npy", allow_pickle=False)
        dtype = np.dtype(manifest["dtype"])
        ids = np.memmap(folder / "ids.bin", dtype, "r") if manifest["n_tokens"] else np.zeros(0, dtype)
        return cls(ids, offsets, manifest)

    @classmethod
    def of(
        cls, texts: Texts, tokenizer: TextTokenizer, max_length: int, folder: str | Path | None = None
    ) -> TokenStore:
        """The store in `folder` if it fits texts and settings, a new one if there is none.

        StaleTokens if the one there was made from anything else.
        """
        if folder is None or not (Path(folder) / "manifest.json").exists():
            return cls.build(texts, tokenizer, max_length, folder)
        store, wanted = cls.open(folder), _manifest(texts, tokenizer, max_length)
        for key, value in wanted.items():
            if store.manifest.get(key) != value:
                raise StaleTokens(
                    f"these tokens were made with {key} = {store.manifest.get(key)!r}",
                    wanted=f"{key} = {value!r}",
                    next_step="run `megalabel prepare` with --again, or delete the folder",
                    where=folder,
                )
        return store


def prepared_folder(data: Corpus, side: str, max_length: int) -> Path | None:
    """Where `megalabel prepare` puts the tokens of a side ("trn", "lbl"): beside the data.

    None for a data set that has no folder of its own: one in memory, in a single file, or in this package.
    """
    if data.path is None or not Path(data.path).is_dir():
        return None
    ours = Path(__file__).parent in Path(data.path).resolve().parents
    return None if ours else Path(data.path) / "tokens" / f"{side}-{max_length}"


def stored(data: Corpus, side: str, tokenizer: TextTokenizer, max_length: int) -> TokenStore:
    """The tokens of a side of a data set: the prepared ones where there are any, else made in memory.

    side: "trn" for the training texts, "lbl" for the label texts. StaleTokens if the prepared ones were made
    from anything else.
    """
    texts = data.train.texts if side == "trn" else data.label_texts
    folder = prepared_folder(data, side, max_length)
    if folder is not None and (folder / "manifest.json").exists():
        return TokenStore.of(texts, tokenizer, max_length, folder)
    return TokenStore.build(texts, tokenizer, max_length)


def check_texts(split: Split, data: Corpus) -> None:
    """DataError if a side of a data set holds bags of words and no texts."""
    if split.features is not None:
        raise DataError(
            f"{data.name} holds bags of words, not texts",
            wanted="texts, which an encoder can read",
            next_step="take the data set's raw text files (trn_X.txt, trn_X_Y.txt, Y.txt, tst_X.txt, tst_X_Y.txt)",
            where=data.path,
        )


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


def _manifest(texts: Texts, tokenizer: TextTokenizer, max_length: int) -> dict[str, Any]:
    if max_length < 1:
        raise SettingError(
            f"max_length = {max_length}", wanted="at least 1", next_step="give the longest text in tokens"
        )
    size = tokenizer.vocabulary_size
    return {
        "format": FORMAT,
        "n_texts": len(texts),
        "texts_sha256": texts.sha256(),
        "tokenizer_sha256": tokenizer.sha256,
        "max_length": max_length,
        "vocabulary_size": size,
        "dtype": "uint16" if size <= 2**16 else "uint32",
    }


def _pad_ids(tokenizer: Tokenizer) -> Iterable[int]:
    padding = tokenizer.padding
    if padding:
        yield int(padding["pad_id"])
        tokenizer.no_padding()
