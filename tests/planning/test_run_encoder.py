"""`megalabel plan --encoder RUN`: the shape of the encoder of a run, against its tensors, and what is refused."""

import json
import subprocess
import sys

import pytest
import torch

from megalabel.data.texts import Texts
from megalabel.encoders.bag import Bag
from megalabel.encoders.frozen import Frozen
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.models.neural import NeuralClassifier
from megalabel.planning.components import components_of
from megalabel.planning.encoders import shape_of
from megalabel.planning.job import Data, Job
from megalabel.recipes import get

TOKENIZER = learn_tokenizer(["one two three four"], 100)
BERT = {"model_type": "bert", "vocab_size": 60, "max_position_embeddings": 20, "hidden_size": 16,
        "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0}  # fmt: skip


def made(kind):
    if kind == "bag":
        return Bag(TOKENIZER, dim=24, hidden_dim=40, bigrams=torch.arange(7))
    config = {**BERT, "vocab_size": max(60, TOKENIZER.vocabulary_size)}
    return Transformer.untrained(config, TOKENIZER, norm=kind == "small", sparse=kind == "small")


def run_of(encoder, folder, finished=True):
    """A run folder with a model of this encoder."""
    names = Texts.from_strings(["a", "b", "c"])
    folder.mkdir()
    NeuralClassifier(encoder, DenseHead(3, encoder.dim), names, 16).save(folder / "model")
    (folder / "recipe.json").write_text(json.dumps({"finished": {"epochs": 1} if finished else None}))
    return folder


@pytest.mark.parametrize("kind", ["bag", "small", "transformer"])
@pytest.mark.parametrize("inside", ["", "model"])
def test_the_weights_of_a_run_are_those_that_are_predicted(kind, inside, tmp_path):
    encoder = made(kind)
    folder = run_of(encoder, tmp_path / "run") / inside
    values = get("renee").options(encoder=str(folder), head_optimizer="sgd").values()
    job = Job.of("renee", {**values, "hidden_dim": 512, "vocabulary": 9000}, Data(50), 1)
    parts = {part.name: part.n_bytes for part in components_of(job, 0.0)}
    assert parts["encoder weights"] == sum(t.numel() * t.element_size() for t in encoder.state_dict().values()
                                           if t.dtype == torch.float32)  # fmt: skip
    assert parts["head weights"] == 4 * 50 * (encoder.dim + bool(values["bias"]))
    assert shape_of(str(folder)).sparse == (kind != "transformer")


def test_the_command_reads_a_run_without_torch(tmp_path):
    folder = run_of(made("bag"), tmp_path / "run")
    code = (
        "import sys\nfrom megalabel.cli.main import main\n"
        f"sys.argv = ['megalabel', 'plan', '--labels', '4K', '--encoder', {str(folder)!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "encoder weights" in done.stdout


def test_runs_without_an_encoder_to_start_from_are_refused(tmp_path):
    def refusal(folder) -> SettingError:
        with pytest.raises(SettingError) as caught:
            shape_of(str(folder))
        assert caught.value.where == "encoder" and caught.value.next_step
        return caught.value

    assert "not finished" in refusal(run_of(made("bag"), tmp_path / "unfinished", finished=False)).found
    assert "Frozen" in refusal(run_of(Frozen(made("bag"), hidden_dim=8), tmp_path / "frozen")).found
    torn = run_of(made("bag"), tmp_path / "torn")
    (torn / "model" / "encoder.safetensors").write_bytes(b"\xff" * 40)
    assert "cannot be read" in refusal(torn).found
    (torn / "model" / "manifest.json").write_text('{"encoder": null}')
    assert "without a single encoder" in refusal(torn).found
    (torn / "model" / "manifest.json").unlink()
    assert refusal(torn).found
    other = run_of(made("transformer"), tmp_path / "other")
    text = (other / "model" / "manifest.json").read_text().replace('"model_type": "bert"', '"model_type": "gpt2"')
    (other / "model" / "manifest.json").write_text(text)
    assert "gpt2" in refusal(other).found
