"""The label side of a model: label ids to the views of their texts, by the texts' encoder or one of its own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.encoders.base import Encoder
from megalabel.errors import SettingError
from megalabel.inputs.batches import pad
from megalabel.inputs.token_store import TokenStore, open_or_build_tokens
from megalabel.storage.reading import reading

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.data.texts import Texts
    from megalabel.inputs.tokenizer import TextTokenizer

IDS, OFFSETS = "label_token_ids.npy", "label_token_offsets.npy"


class LabelTexts(nn.Module):
    """The texts of L labels as tokens, and the encoder that turns them into views; a saved part of a model.

    A head that is `BindsLabels` calls it in its loss, with gradients, and in `settle`, where it makes the
    vectors of all labels. With the texts' own encoder (`shared`) nothing but the tokens is saved; otherwise the
    encoder is trained, checkpointed and saved with this part. It must read the same tokenizer as the texts'
    encoder.

    Args:
        store: the tokens of the L label texts.
        encoder: tokens to views; for both sides the same object, or one for the labels.
        shared: whether it is the encoder of the texts.
    """

    def __init__(self, store: TokenStore, encoder: Encoder, *, shared: bool) -> None:
        super().__init__()
        self.store, self.shared, self.dim, self.n_views = store, shared, encoder.dim, encoder.n_views
        self.own = None if shared else encoder
        self._encoder = (encoder,)  # in a tuple, so that a shared encoder is not registered and saved twice

    @classmethod
    def of_corpus(cls, corpus: Corpus, encoder: Encoder, max_length: int) -> Self:
        """The label texts of a corpus, encoded by the encoder of its texts, up to `max_length` tokens each.

        Raises:
            StaleTokens: as for `open_or_build_tokens`.
        """
        return cls(open_or_build_tokens(corpus, "lbl", encoder.tokenizer, max_length), encoder, shared=True)

    def of_texts(self, texts: Texts, tokenizer: TextTokenizer, max_length: int) -> LabelTexts:
        """The same encoder with other label texts."""
        return LabelTexts(TokenStore.build(texts, tokenizer, max_length), self.encoder, shared=self.shared)

    @property
    def encoder(self) -> Encoder:
        """The encoder of the label texts."""
        return self._encoder[0]

    def __len__(self) -> int:
        return len(self.store)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (n,) int64 of labels to views (n, V, D), on the device of the encoder."""
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(self):
            raise SettingError(
                f"label ids {int(ids.min())} to {int(ids.max())}",
                wanted=f"ids from 0 to {len(self) - 1}",
                next_step="give the ids of labels whose texts are in the store",
                where="ids",
            )
        rows = self.store.gather(ids.cpu().numpy())
        tokens, mask = pad([np.asarray(row) for row in rows], self.encoder.tokenizer.pad_id)
        device = next(self.encoder.parameters()).device
        views: Tensor = self.encoder(tokens.to(device), mask.to(device))
        return views

    @torch.no_grad()
    def all_views(self, batch_size: int = 256) -> Tensor:
        """The views of all labels, without dropout: (L, V, D) float32 on the device of the encoder."""
        device = next(self.encoder.parameters()).device
        found = torch.empty(len(self), self.n_views, self.dim, device=device)
        order = torch.from_numpy(np.argsort(self.store.lengths, kind="stable"))
        with _evaluating(self.encoder):
            for ids in order.split(batch_size):
                found[ids.to(device)] = self(ids).float()
        return found

    def config(self) -> dict[str, Any]:
        """Whether the encoder is shared, and what decides its shape if not, as JSON."""
        if self.own is None:
            return {"encoder": None}
        name = f"{type(self.own).__module__}:{type(self.own).__qualname__}"
        return {"encoder": {"class": name, "config": self.own.config()}}

    def save_files(self, folder: Path) -> None:
        """Writes the tokens of the label texts into a model's folder."""
        np.save(folder / IDS, np.asarray(self.store.ids))
        np.save(folder / OFFSETS, np.asarray(self.store.offsets))

    @staticmethod
    def load_store(folder: Path, *, next_step: str) -> TokenStore:
        """The tokens that `save_files` wrote, mapped; FormatError where they are damaged."""
        with reading(folder, wanted="the tokens of the label texts", next_step=next_step):
            offsets = np.load(folder / OFFSETS, allow_pickle=False)
            ids = np.load(folder / IDS, mmap_mode="r", allow_pickle=False)
            if ids.dtype.kind not in "ui":
                raise ValueError(f"tokens of type {ids.dtype}")
            store = TokenStore(ids, offsets, {})
            store.check()
            return store


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Any:
    mode = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(mode)
