"""The command line of the server: names of models, tokens, and what it refuses before it loads anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from serving.conftest import WRITTEN
from typer.testing import CliRunner

from megalabel.cli.main import app
from megalabel.errors import MegalabelError, MissingExtra, SettingError
from megalabel.serving import run as run_module
from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.listening import bound
from megalabel.serving.served import ServedModel
from megalabel.serving.settings import Settings, named_runs, read_tokens
from megalabel.serving.versions import Models


def test_models_are_called_as_their_folders_or_as_said(tmp_path, monkeypatch):
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    found = named_runs(["runs/linear", "best=runs/hybrid", "runs/old/model", "."])
    assert list(found) == ["linear", "best", "old", tmp_path.name]
    assert found["best"] == Path("runs/hybrid")
    with pytest.raises(SettingError, match="a=b"):
        named_runs(["a=b"])  # a folder of this name, which is no name of a model
    for wrong in (["x", "y/x"], ["a b"], ["=x"], ["é!=x"]):
        with pytest.raises(SettingError):
            named_runs(wrong)


def test_tokens_are_read_line_by_line_and_weak_ones_are_refused(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# of the web site\n0123456789abcdef\n\n  fedcba9876543210  \n")
    assert read_tokens(file) == [b"0123456789abcdef", b"fedcba9876543210"]
    assert read_tokens(None) == []
    for wrong in ("", "# none\n", "short\n", "0123456789 abcdef\n", "0123456789abcdéf\n"):
        file.write_text(wrong)
        with pytest.raises(SettingError):
            read_tokens(file)
    with pytest.raises(SettingError):
        read_tokens(tmp_path / "missing")


def test_a_port_in_use_is_refused_also_where_several_workers_would_share_it():
    (first,) = bound("127.0.0.1", 0, 1)
    first.listen()
    port = first.getsockname()[1]
    for workers in (1, 3):
        with pytest.raises(SettingError):
            bound("127.0.0.1", port, workers)
    first.close()
    several = bound("127.0.0.1", port, 3)
    assert {one.getsockname()[1] for one in several} == {port}
    for one in several:
        one.close()


@pytest.mark.parametrize(
    ("host", "port"), [("256.1.1.1", 0), ("203.0.113.1", 0), ("127.0.0.1", 70000), ("\ud800", 0)]
)
def test_an_address_that_does_not_exist_is_refused(host, port, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    if host.startswith("256"):  # without asking a name server
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SettingError):
        bound(host, port, 1)


@pytest.mark.parametrize(
    "arguments",
    [[], ["no-such-run"], ["tests"], ["--workers", "0", "x"], ["--max-k", "0", "x"], ["--timeout", "0", "x"],
     ["--timeout", "nan", "x"], ["--watch", "-1", "x"], ["--log-format", "xml", "x"], ["--port", "x", "x"],
     ["--threads", "5000", "x"], ["--token-file", "missing", "x"], ["--device", "tpu", "x"], ["--port", "-1", "x"],
     ["--feedback", "/no/such/folder/x.jsonl", "x"], ["x", "y/x"]],
)  # fmt: skip
def test_wrong_commands_are_refused_in_one_line(arguments):
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, (SystemExit, MegalabelError))


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(run_module, "PACKAGES", ("no_such_package",))
    with pytest.raises(MissingExtra, match="no_such_package"):
        run_module.run(None)


def test_models_over_bags_of_words_and_unwritable_files_are_refused(tmp_path):
    from untrained import of_bags

    with pytest.raises(SettingError):
        ServedModel("bags", "1", of_bags()[0])
    with pytest.raises(SettingError):
        FeedbackFile(tmp_path)


@pytest.mark.parametrize("mapped", [False, True])
def test_weights_of_linear_trees_are_prepacked_unless_they_shall_stay_mapped(mapped):
    settings = Settings({"linear": WRITTEN / "linear" / "run"}, mapped=mapped)
    (served,) = Models(settings)()
    records = [level.records.words for tree in served.model.trees for level in tree._arrays]
    assert all((len(words) == 0) == mapped for words in records)
