"""Stores the tokens of many texts, memory-mapped, with a manifest that detects when they are out of date.

Tokens that no folder holds are in memory up to 64 MiB, and beyond it in a temporary file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.data.texts import Texts
from megalabel.errors import SettingError, StaleTokens
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.progress import Progress
from megalabel.storage.files import atomic_folder, latest
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.storage.paths import as_path
from megalabel.storage.reading import reading
from megalabel.storage.spill import Spill, forget

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

FORMAT = 1
RELEASE = 1024  # rows that are read between two releases of mapped pages; each may have mapped 64 kB
BLOCK = 4096  # texts that the tokenizer encodes at once
MOST_SHARED = 4  # stores: training and label texts of two tokenizers
_SHARED: ContextVar[dict[str, TokenStore] | None] = ContextVar("tokens of trainings", default=None)


class TokenStore:
    """The tokens of N texts, one after the other, in memory or memory-mapped.

    The pages of a map are released from time to time, so that the tokens that were read do not stay in memory.

    Attributes:
        ids: (n_tokens,) uint16 where the vocabulary has at most 2^16 tokens, else uint32.
        offsets: (N + 1,) int64; the tokens of text i are ids[offsets[i]:offsets[i + 1]].
        manifest: what the tokens were made from.
    """

    def __init__(self, ids: np.ndarray, offsets: np.ndarray, manifest: dict[str, Any]) -> None:
        self.ids, self.offsets, self.manifest = ids, offsets, manifest
        self._plain, self._read = np.asarray(ids), 0  # slices of a plain array are made several times faster

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each text: (N,) int64."""
        return np.diff(self.offsets)

    def gather(self, rows: np.ndarray) -> list[np.ndarray]:
        """The tokens of some texts, as views of `ids`."""
        self._read += len(rows)
        if self._read > RELEASE:
            self._read = 0
            forget(self.ids)
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        return [self._plain[a:b] for a, b in zip(starts, stops, strict=True)]

    @classmethod
    def build(
        cls, texts: Texts, tokenizer: TextTokenizer, max_length: int, folder: str | Path | None = None
    ) -> TokenStore:
        """Tokenizes all texts.

        Args:
            texts: the N texts.
            tokenizer: the tokenizer.
            max_length: the maximum number of tokens per text.
            folder: where to write the tokens, atomically; None keeps them in memory or in a temporary file.

        Raises:
            SettingError: `max_length` leaves no space for a token.
        """
        manifest = manifest_of(texts, tokenizer, max_length)
        lengths = np.zeros(len(texts), dtype=np.int64)
        dtype = np.dtype(manifest["dtype"])

        def tokenized() -> Iterable[np.ndarray]:
            with Progress("tokenizing", len(texts)) as progress:
                for start in range(0, len(texts), BLOCK):
                    encoded = tokenizer.encode(texts[start : start + BLOCK], max_length)
                    lengths[start : start + len(encoded)] = [len(ids) for ids in encoded]
                    yield np.fromiter((i for ids in encoded for i in ids), dtype=dtype)
                    progress.advance(len(encoded))
            tokenizer.clear_cache()

        if folder is None:
            spill = Spill()
            for block in tokenized():
                spill.append(block)
            return cls(spill.array(dtype), np.concatenate([[0], np.cumsum(lengths)]), manifest)
        with atomic_folder(folder) as new:
            with open(new / "ids.bin", "wb") as file:
                for block in tokenized():
                    file.write(block.tobytes())
            np.save(new / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
            write_manifest(new, FORMAT, {**manifest, "n_tokens": int(lengths.sum())})
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> TokenStore:
        """Opens a store on disk after checking its hashes; FormatError if it is damaged."""
        folder, next_step = latest(as_path(folder, "folder")), "run `megalabel prepare` with --again"
        manifest = read_manifest(
            folder,
            "token store",
            FORMAT,
            facts=("dtype", "n_tokens"),
            files=("ids.bin", "offsets.npy"),
            next_step=next_step,
        )
        with reading(folder, wanted="the tokens of texts", next_step=next_step):
            if manifest["dtype"] not in ("uint16", "uint32"):
                raise ValueError(f"tokens of type {manifest['dtype']!r:.40}")
            offsets = np.load(folder / "offsets.npy", allow_pickle=False)
            dtype = np.dtype(manifest["dtype"])
            size = (folder / "ids.bin").stat().st_size
            ids = np.memmap(folder / "ids.bin", dtype, "r") if size else np.zeros(0, dtype)
            store = cls(ids, offsets, manifest)
            store.check(manifest["n_tokens"])
            return store

    def check(self, n_tokens: Any = None) -> None:
        """Raises ValueError where the offsets lead out of the tokens, or there are not `n_tokens` of them."""
        offsets, n = self.offsets, len(self.ids)
        fine = offsets.ndim == 1 and len(offsets) > 0 and offsets.dtype == np.int64 and self.ids.ndim == 1
        if not fine or offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < 0).any():
            raise ValueError(f"{n} tokens, and offsets that do not rise from 0 to that")
        if n_tokens is not None and n_tokens != n:
            raise ValueError(f"{n} tokens in place of {n_tokens!r:.40}")

    @classmethod
    def open_or_build(
        cls, texts: Texts, tokenizer: TextTokenizer, max_length: int, folder: str | Path | None = None
    ) -> TokenStore:
        """Opens the store in `folder`, or builds one if there is none.

        Raises:
            StaleTokens: the store in the folder was made from other texts or settings.
        """
        if folder is None or not (Path(folder) / "manifest.json").exists():
            return cls.build(texts, tokenizer, max_length, folder)
        store, expected = cls.open(folder), manifest_of(texts, tokenizer, max_length)
        for key, value in expected.items():
            if store.manifest.get(key) != value:
                raise StaleTokens(
                    f"these tokens were made with {key} = {store.manifest.get(key)!r}",
                    wanted=f"{key} = {value!r}",
                    next_step="run `megalabel prepare` with --again, or delete the folder",
                    where=folder,
                )
        return store


Build = Callable[[Texts, TextTokenizer, int], TokenStore]
_BUILD: ContextVar[Build] = ContextVar("how tokens are built", default=TokenStore.build)


def prepared_folder(data: Corpus, side: str, tokenizer: TextTokenizer, max_length: int) -> Path | None:
    """The folder beside the data in which `megalabel prepare` stores tokens, by tokenizer and length.

    Args:
        data: the data set.
        side: "trn" for the training texts, "lbl" for the label texts.
        tokenizer: the tokenizer.
        max_length: the maximum number of tokens per text.

    Returns:
        The folder; None for a data set without a folder of its own (in memory, or bundled with the package).
    """
    if data.path is None:
        return None
    place = data.path if data.path.is_dir() else data.path.parent
    if not place.is_dir():
        return None
    bundled = Path(__file__).parents[1] in place.resolve().parents
    folder = place / "tokens" / data.name  # by name, since several single-file data sets may share a folder
    return None if bundled else folder / f"{side}-{max_length}-{tokenizer.sha256[:8]}"


def open_or_build_tokens(data: Corpus, side: str, tokenizer: TextTokenizer, max_length: int) -> TokenStore:
    """Opens the prepared tokens of a data set if there are any, else builds them.

    Within `sharing_tokens` they are built once. The arguments are those of `prepared_folder`.

    Raises:
        StaleTokens: the prepared tokens were made from other texts or settings.
    """
    texts = data.train.texts if side == "trn" else data.label_texts
    folder = prepared_folder(data, side, tokenizer, max_length)
    if folder is not None and (folder / "manifest.json").exists():
        return TokenStore.open_or_build(texts, tokenizer, max_length, folder)
    shared = _SHARED.get()
    if shared is None:
        return _BUILD.get()(texts, tokenizer, max_length)
    key = json.dumps(manifest_of(texts, tokenizer, max_length))
    if key not in shared:
        while len(shared) >= MOST_SHARED:
            del shared[next(iter(shared))]  # the oldest
        shared[key] = _BUILD.get()(texts, tokenizer, max_length)
    return shared[key]


@contextmanager
def tokens_by(build: Build) -> Iterator[None]:
    """Within it, `open_or_build_tokens` builds tokens by the given function, such as in several processes."""
    before = _BUILD.set(build)
    try:
        yield
    finally:
        _BUILD.reset(before)


@contextmanager
def sharing_tokens() -> Iterator[None]:
    """Within it, trainings that read the same texts with the same tokenizer share their tokens in memory."""
    before = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(before)


def manifest_of(texts: Texts, tokenizer: TextTokenizer, max_length: int) -> dict[str, Any]:
    """What tokens are made from, as the manifest of their store says it."""
    if max_length < 1:
        raise SettingError.range("max_length", max_length, 1, integer=True)
    size = tokenizer.vocabulary_size
    return {
        "n_texts": len(texts),
        "texts_sha256": texts.sha256(),
        "tokenizer_sha256": tokenizer.sha256,
        "max_length": max_length,
        "vocabulary_size": size,
        "dtype": "uint16" if size <= 2**16 else "uint32",
    }
