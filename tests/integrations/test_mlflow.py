"""Models in MLflow answer as the library does, whichever way they are stored, loaded and asked."""

import sys

import numpy as np
import pytest
from untrained import untrained

from megalabel.errors import DataError, FormatError, MissingExtra, SettingError
from megalabel.integrations.mlflow import load_model, log_model, save_model

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, such as of iterators that it leaves open
NAMES = ["one", "two", "three", "four"]
TEXTS = ["a b", "c"]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    module = pytest.importorskip("mlflow")
    pytest.importorskip("mlflow.pyfunc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow-skinny has no database
        before = module.get_tracking_uri()
        module.set_tracking_uri((tmp_path_factory.mktemp("mlflow") / "runs").as_uri())
        yield module
        module.set_tracking_uri(before)


@pytest.fixture(scope="module")
def stored(mlflow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    made = untrained(NAMES)
    made.save(folder / "model")
    save_model(folder / "model", folder / "out", k=3)
    return made, folder


def test_a_stored_model_predicts_texts_in_every_form(mlflow, stored):
    pd = pytest.importorskip("pandas")
    made, folder = stored
    loaded = mlflow.pyfunc.load_model(str(folder / "out"))
    expected = made.predict(TEXTS, k=3)
    for given in (TEXTS, pd.Series(TEXTS, index=[4, 7]), pd.DataFrame({"body": TEXTS, "id": [1, 2]})):
        found = loaded.predict(given)
        assert list(found.columns) == ["labels", "scores"]
        assert [list(zip(*row, strict=True)) for row in found.to_numpy()] == [list(row) for row in expected]
    assert list(loaded.predict(pd.Series(TEXTS, index=[4, 7])).index) == [4, 7]
    assert len(loaded.predict("a b")) == 1


def test_parameters_are_those_of_predict(mlflow, stored):
    made, folder = stored
    loaded = mlflow.pyfunc.load_model(str(folder / "out"))
    assert [len(labels) for labels in loaded.predict(TEXTS, params={"k": 2})["labels"]] == [2, 2]
    best = max(score for _, score in made.predict(TEXTS[:1])[0])
    found = loaded.predict(TEXTS[:1], params={"threshold": float(np.nextafter(best, -np.inf))})
    assert [len(labels) for labels in found["labels"]] == [1]
    with pytest.raises(SettingError):
        loaded.predict(TEXTS, params={"k": 0})
    with pytest.raises(DataError):
        loaded.predict([None])


def test_a_logged_model_is_loaded_as_a_classifier(mlflow, stored):
    made, folder = stored
    with mlflow.start_run() as run:
        info = log_model(folder / "model", "labels")
    assert info.run_id == run.info.run_id
    loaded = load_model(info.model_uri, device="cpu")
    assert type(loaded) is type(made)
    assert np.array_equal(loaded.topk(TEXTS, 2).ids, made.topk(TEXTS, 2).ids)
    assert not any(path.suffix in {".pkl", ".pickle"} for path in (folder / "out").rglob("*"))
    assert "megalabel==" in (folder / "out" / "requirements.txt").read_text(encoding="utf-8")


def test_other_models_and_folders_are_refused(mlflow, stored, tmp_path):
    _, folder = stored
    (tmp_path / "data").mkdir()
    other = {"loader_module": "json", "data_path": str(tmp_path / "data"), "pip_requirements": []}
    mlflow.pyfunc.save_model(str(tmp_path / "other"), **other)
    with pytest.raises(FormatError, match="json"):
        load_model(str(tmp_path / "other"))
    with pytest.raises(FormatError):
        save_model(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(mlflow.exceptions.MlflowException):
        save_model(folder / "model", folder / "out")
    assert not (tmp_path / "out").exists()


def test_missing_mlflow_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtra, match="mlflow"):
        log_model(tmp_path)
