"""Texts to token ids on disk: ragged, memory-mapped, with a manifest that refuses to be stale."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError, StaleTokens
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.progress import Progress
from megalabel.storage.files import atomic_folder, recover
from megalabel.storage.manifest import read_manifest, write_manifest

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus, Split

FORMAT = 1
BLOCK = 4096  # texts handed to the tokenizer's threads at a time


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
            write_manifest(new, FORMAT, {**manifest, "n_tokens": int(lengths.sum())})
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> TokenStore:
        """A store on disk, its sizes and hashes checked before a byte is used."""
        folder = Path(folder)
        recover(folder)
        manifest = read_manifest(
            folder,
            "token store",
            FORMAT,
            facts=("dtype", "n_tokens"),
            files=("ids.bin", "offsets.npy"),
            next_step="run `megalabel prepare` with --again",
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


def prepared_folder(data: Corpus, side: str, tokenizer: TextTokenizer, max_length: int) -> Path | None:
    """Where `megalabel prepare` puts the tokens of a side ("trn", "lbl"): beside the data, by tokenizer.

    None for a data set that has no folder of its own: one in memory, or in this package.
    """
    if data.path is None or not Path(data.path).is_dir():
        return None
    ours = Path(__file__).parents[1] in Path(data.path).resolve().parents
    folder = Path(data.path) / "tokens" / data.name  # by name, as several one-file sets may share a folder
    return None if ours else folder / f"{side}-{max_length}-{tokenizer.sha256[:8]}"


def stored(data: Corpus, side: str, tokenizer: TextTokenizer, max_length: int) -> TokenStore:
    """The tokens of a side of a data set: the prepared ones where there are any, else made in memory.

    side: "trn" for the training texts, "lbl" for the label texts. StaleTokens if the prepared ones were made
    from other texts.
    """
    texts = data.train.texts if side == "trn" else data.label_texts
    folder = prepared_folder(data, side, tokenizer, max_length)
    if folder is not None and (folder / "manifest.json").exists():
        return TokenStore.of(texts, tokenizer, max_length, folder)
    return TokenStore.build(texts, tokenizer, max_length)


def check_texts(split: Split, data: Corpus) -> None:
    """DataError if a side of a data set holds bags of words and no texts."""
    if split.features is not None:
        raise DataError(
            f"{data.name} holds bags of words, not texts",
            wanted="texts, which is what this reads",
            next_step="take the data set's raw text files (trn_X.txt, trn_X_Y.txt, Y.txt, tst_X.txt, "
            "tst_X_Y.txt), or train `linear` on the bags",
            where=data.path,
        )


def _manifest(texts: Texts, tokenizer: TextTokenizer, max_length: int) -> dict[str, Any]:
    if max_length < 1:
        raise SettingError(
            f"max_length = {max_length}", wanted="at least 1", next_step="give the longest text in tokens"
        )
    size = tokenizer.vocabulary_size
    return {
        "n_texts": len(texts),
        "texts_sha256": texts.sha256(),
        "tokenizer_sha256": tokenizer.sha256,
        "max_length": max_length,
        "vocabulary_size": size,
        "dtype": "uint16" if size <= 2**16 else "uint32",
    }
