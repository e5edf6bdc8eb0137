"""Names of devices that do not exist."""

import pytest
import torch

from megalabel.device import pick
from megalabel.errors import SettingError


@pytest.mark.parametrize(
    ("name", "meant"), [("gpu", "cuda"), ("GPU", "cuda"), ("cuda0", "cuda:0"), ("metal", "mps")]
)
def test_usual_other_names_are_followed_by_the_right_one(name, meant):
    with pytest.raises(SettingError, match=f"device: '{name}' cannot be used.*doctor.*Did you mean {meant}"):
        pick(name)


@pytest.mark.parametrize("name", ["", "processor", "cuda:999", "meta"])
def test_other_devices_are_refused(name):
    with pytest.raises(SettingError, match="cannot be used"):
        pick(name)
    assert pick("cpu") == torch.device("cpu")
