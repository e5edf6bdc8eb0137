"""Spartex with the label groups of its authors."""

import numpy as np
import pytest
from planted import planted

from megalabel.errors import SettingError
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.recipes.spartex import spartex

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=20, batch_size=32, hidden_dim=0, fan_in=48,
    prune="none", warmup=0.05,
)  # fmt: skip


def test_the_auxiliary_takes_the_groups_of_a_file(tmp_path, monkeypatch):
    data = planted()
    path = tmp_path / "label_group0.npy"
    np.save(path, np.arange(data.n_labels).reshape(4, -1))
    monkeypatch.setattr("megalabel.recipes.sparse_layer.build_tree", None)  # no tree is built
    made = spartex(data, **{**SMALL, "auxiliary": True, "auxiliary_epochs": 4, "label_groups": str(path)})
    assert isinstance(made.head, WithAuxiliary)
    assert made.head.clusters.tolist() == [i // (data.n_labels // 4) for i in range(data.n_labels)]
    with pytest.raises(SettingError, match="label_groups"):
        spartex(data, **{**SMALL, "auxiliary": False, "label_groups": str(path)})
