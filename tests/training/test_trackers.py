"""Trackers get the numbers of the log, and their errors do not end a training."""

import json

import pytest

from megalabel.data.corpus import Corpus
from megalabel.errors import MissingExtra, SettingError
from megalabel.recipes.renee import renee
from megalabel.training.run import train
from megalabel.training.trackers import TRACKERS, MLflow, TensorBoard, Tracker, numbers_of, together, tracker

CORPUS = Corpus.of(["a red apple", "a green car", "a red car", "a green apple"] * 8, [["red"], ["car"]] * 16)
SMALL = {
    "encoder": "bag",
    "label_texts": False,
    "warmup": 0.1,
    "epochs": 2,
    "batch_size": 8,
    "log_every": 2,
    "validation_fraction": 0.25,
}


def recipe():
    return renee(CORPUS, **SMALL)


def lines_of(run):
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_tensorboard_has_the_numbers_of_the_log(tmp_path):
    pytest.importorskip("tensorboard", reason="reads what the tracker writes")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = recipe()
    with TensorBoard(tmp_path / "r", made.arguments) as board:
        train(made, tmp_path / "r", quiet=True, callback=board)
    events = EventAccumulator(str(tmp_path / "r" / "tensorboard"))
    events.Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    lines = lines_of(tmp_path / "r")
    losses = [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in lines if "loss" in line]
    assert found["loss"] == losses
    assert len(found["validation/P@1"]) == sum("validation" in line for line in lines) >= 1


def test_mlflow_has_the_numbers_of_the_log(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the tracker needs it")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    made = recipe()
    with MLflow(tmp_path / "r", made.arguments) as tracked:
        train(made, tmp_path / "r", quiet=True, callback=tracked)
    run = mlflow.MlflowClient().search_runs(["0"])[0]
    assert run.data.params["epochs"] == "2"
    assert "validation/P_at_1" in run.data.metrics and "loss" in run.data.metrics


class Failing(Tracker):
    """Fails at its second line, and counts its calls."""

    package = "json"

    def start(self, module):
        self.calls = 0

    def log(self, numbers, step):
        self.calls += 1
        if self.calls == 2:
            raise OSError("the server is gone")

    def end(self):
        self.calls = -1


def test_an_error_of_a_tracker_is_said_once_and_ends_nothing(tmp_path):
    said = []
    with Failing(tmp_path / "r", say=said.append) as failing:
        train(recipe(), tmp_path / "r", quiet=True, callback=together([failing]))
    assert failing.calls == 2
    assert len(said) == 1 and "the server is gone" in said[0]
    assert (tmp_path / "r" / "model").is_dir()


@pytest.mark.parametrize(
    "arguments",
    [{"callback": print, "checkpoint_seconds": "often"}, {"callback": "print"}, {"callback": [print]},
     {"checkpoint_steps": 1.5}, {"validate_epochs": "1"}, {"lr_scale": "half"}],
    ids=str,
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused_before_the_training(arguments, tmp_path):
    with pytest.raises(SettingError):
        train(recipe(), tmp_path / "r", quiet=True, **arguments)
    assert not (tmp_path / "r").exists()


def test_a_tracker_is_entered_first(tmp_path):
    with pytest.raises(SettingError):
        Failing(tmp_path / "r")({"step": 0, "loss": 1.0})


def test_numbers_are_named_by_their_place():
    line = {"step": 3, "loss": 0.5, "phase": "trained", "done": True, "validation": {"P@1": 50, "note": "x"}}
    assert numbers_of(line) == {"loss": 0.5, "validation/P@1": 50.0}


def test_wrong_trackers_are_refused_before_the_training(command, tmp_path):
    with pytest.raises(SettingError):
        tracker("tensorbord")
    with pytest.raises(MissingExtra):
        type("Missing", (Failing,), {"package": "no_such_package"})(tmp_path).__enter__()
    for recipe, name in (("renee", "tensorbord"), ("linear", "tensorboard")):
        status, _, said = command("train", recipe, "bundled:wordnet-4k", "--out", tmp_path / "r", "--track", name)
        assert status == 2 and "track" in said
    assert not (tmp_path / "r").exists()
    assert set(TRACKERS) == {"tensorboard", "mlflow", "wandb", "trackio"}
