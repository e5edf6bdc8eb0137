"""`Frozen`: an encoder that is not trained, so that each training text is encoded once, into a cache on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.encoders.base import Encoder, ResidualBlock
from megalabel.errors import FormatError
from megalabel.inputs.augment import Rows
from megalabel.inputs.batches import pad
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.progress import Progress
from megalabel.storage.files import write_bytes_atomically
from megalabel.types import Batch

BLOCK = 4096  # rows that are read at once


class Frozen(Encoder):
    """Applies `inside` without gradients, followed by a residual block that is trained: (B, T) to (B, V, D).

    Training reads the views of a row from the cache that `prepare` makes; new texts are encoded by `inside`.

    Args:
        inside: the encoder; its dropouts are off.
        hidden_dim: the width inside the residual block; 0 for no block.
        dropout: the fraction of the entries of a view that is dropped in training.
    """

    def __init__(self, inside: Encoder, *, hidden_dim: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.inside = inside.requires_grad_(False)
        self.tokenizer, self.dim, self.n_views = inside.tokenizer, inside.dim, inside.n_views
        self.notes = inside.notes
        self.block = ResidualBlock(self.dim, hidden_dim) if hidden_dim else None
        self.hidden_dim, self.dropout = hidden_dim, nn.Dropout(dropout)
        self.cache: np.ndarray | None = None

    def train(self, mode: bool = True) -> Frozen:
        """Sets the training mode of the parts that are trained; `inside` stays in evaluation mode."""
        super().train(mode)
        self.inside.eval()
        return self

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (B, T) int64 and mask (B, T) bool to views (B, V, D) float32."""
        with torch.no_grad():
            raw = self.inside(tokens, mask).float()
        return self._finish(raw)

    def views(self, batch: Batch) -> Tensor:
        """The views of a training batch, from the cache if there is one."""
        if self.cache is None:
            views: Tensor = self(batch.tokens, batch.mask)
            return views
        raw = torch.from_numpy(self.cache[batch.rows.cpu().numpy()])
        return self._finish(raw.to(batch.tokens.device).float())

    def _finish(self, raw: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(raw if self.block is None else self.block(raw))
        return dropped

    @torch.no_grad()
    def prepare(self, rows: Rows, folder: Path, device: torch.device, batch_size: int = 64) -> None:
        """Encodes all training rows into a file in `folder`, (n, V, D) float16, or opens the existing file.

        The name of the file holds a hash of tokens and weights, so that a cache of other rows or weights is not
        used. Float16 takes half the disk space of float32, with a relative error of a thousandth.

        Raises:
            FormatError: the cache is damaged.
        """
        path = folder / f"views-{self._fingerprint(rows)}.npy"
        shape = (len(rows), self.n_views, self.dim)
        if not path.exists():
            self.inside.to(device).eval()
            with write_bytes_atomically(path) as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f2", "fortran_order": False, "shape": shape}
                )
                first = file.tell()
                with Progress("encoding", len(rows)) as progress:
                    for some, views in self._encoded(rows, device, batch_size):
                        for row, view in zip(some.tolist(), views, strict=True):
                            file.seek(first + row * view.nbytes)
                            file.write(view.tobytes())
                        progress.advance(len(some))
        try:
            self.cache = np.load(path, mmap_mode="r", allow_pickle=False)
            if self.cache.shape != shape:
                raise ValueError(f"views {self.cache.shape}")
        except ValueError as error:
            raise FormatError(
                f"the cache is damaged ({error})",
                wanted=f"views {shape}",
                next_step="delete the file, which the next run makes again",
                where=path,
            ) from error

    def _fingerprint(self, rows: Rows) -> str:
        """A hash of what determines the views: the tokens of the rows, and the encoder."""
        digest = hashlib.sha256(json.dumps(self.inside.config(), sort_keys=True, default=str).encode())
        digest.update(np.ascontiguousarray(rows.lengths, dtype="<i8").tobytes())
        for start in range(0, len(rows), BLOCK):
            for ids in rows.tokens(np.arange(start, min(start + BLOCK, len(rows)))):
                digest.update(np.asarray(ids, dtype="<u4").tobytes())
        for name, tensor in self.inside.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def _encoded(
        self, rows: Rows, device: str | torch.device, batch_size: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.argsort(rows.lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            some = order[start : start + batch_size]
            tokens, mask = pad(rows.tokens(some), self.tokenizer.pad_id)
            views = self.inside(tokens.to(device), mask.to(device))
            yield some, views.float().cpu().numpy().astype(np.float16)

    def config(self) -> dict[str, Any]:
        """What is inside, and the shape of the block."""
        inside = {"class": type(self.inside).__name__, "config": self.inside.config()}
        return {"inside": inside, "hidden_dim": self.hidden_dim, "dropout": self.dropout.p}

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: TextTokenizer, folder: Path) -> Frozen:
        """The same shape with weights still to be loaded."""
        from megalabel.encoders.bag import Bag
        from megalabel.encoders.transformer import Transformer

        kinds: dict[str, type[Encoder]] = {"Bag": Bag, "Transformer": Transformer}
        inside = config["inside"]
        encoder = kinds[inside["class"]].from_config(inside["config"], tokenizer, folder)
        return cls(encoder, hidden_dim=config["hidden_dim"], dropout=config["dropout"])
