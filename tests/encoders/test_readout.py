import pytest
import torch

from megalabel.encoders.readout import Readout, concatenated, first_token, mean
from megalabel.errors import SettingError


def hidden_states(depth: int, seed: int = 0) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """The embeddings and `depth` layers, (3, 4, 5) each, with padding at the end of two rows."""
    torch.manual_seed(seed)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    return tuple(torch.randn(3, 4, 5) for _ in range(depth + 1)), mask


def test_the_mean_leaves_padding_out():
    hidden, mask = hidden_states(2)
    by_hand = torch.stack([hidden[2][0].mean(0), hidden[2][1, :2].mean(0), hidden[2][2, 0]])
    assert torch.allclose(mean()(hidden, mask), by_hand, atol=1e-6)


def test_a_text_without_tokens_has_the_zero_vector():
    hidden, mask = hidden_states(1)
    mask[1] = False
    assert not mean()(hidden, mask)[1].any()


def test_the_first_token_of_a_layer():
    hidden, mask = hidden_states(4)
    assert torch.equal(first_token(0.5)(hidden, mask), hidden[2][:, 0])


def test_layers_are_put_side_by_side_in_their_order():
    hidden, mask = hidden_states(6)
    found = concatenated(1.0, 0.5)(hidden, mask)
    assert torch.equal(found, torch.cat([hidden[6][:, 0], hidden[3][:, 0]], dim=1))
    assert concatenated(1.0, 0.5).parts == 2


@pytest.mark.parametrize(
    ("depth", "layer", "index"),
    [(12, 5 / 12, 5), (12, 6 / 12, 6), (12, 8 / 12, 8), (12, 10 / 12, 10), (12, 1.0, 12), (12, 0.0, 0),
     (6, 8 / 12, 4), (6, 10 / 12, 5), (6, 6 / 12, 3), (2, 1.0, 2), (1, 0.2, 0)],
)  # fmt: skip
def test_a_fraction_of_the_depth_is_that_blocks_output(depth, layer, index):
    """State 0 is the embeddings, so block 5 of 12 is state 5 and not state 4."""
    hidden, mask = hidden_states(depth)
    assert torch.equal(first_token(layer)(hidden, mask), hidden[index][:, 0])


@pytest.mark.parametrize(
    ("arguments", "found"),
    [(dict(pooling="middle"), "'middle'"), (dict(layers=()), r"layers = \(\)"), (dict(layers=(1.5,)), "1.5"),
     (dict(layers=(5,)), "5"), (dict(layers=(-0.1, 1.0)), "-0.1")],
)  # fmt: skip
def test_a_bad_readout_is_refused(arguments, found):
    with pytest.raises(SettingError, match=found):
        Readout(**arguments)


@pytest.mark.parametrize("readout", [mean(), first_token(0.75), concatenated(0.4, 0.5, pooling="mean")])
def test_settings_come_back(readout):
    import json

    assert Readout.from_config(json.loads(json.dumps(readout.config()))) == readout
