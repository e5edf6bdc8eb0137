"""Models go to a server with the hub's protocol and come back byte for byte."""

import json
import sys
from pathlib import Path

import pytest

import megalabel
from megalabel.errors import FormatError, ResourceError, SettingError
from megalabel.hub.download import COMPLETE, download, from_pretrained
from megalabel.hub.upload import push_to_hub
from megalabel.recipes import from_preset

sys.path.insert(0, str(Path(__file__).parent))
from fake_hub import FakeHub

TEXTS = ["a red apple", "a green apple", "a red car", "a green car"] * 10
LABELS = [["apple", "red"], ["apple", "green"], ["car", "red"], ["car", "green"]] * 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("hub") / "run"
    corpus = megalabel.Corpus.of(TEXTS, LABELS, name="fruit")
    model = megalabel.train(from_preset("linear", corpus, trees=1, calibration="no"), out, quiet=True)
    assert model.predict(["a red apple"], 2)
    metrics = {
        "P@1": 97.5,
        "P@5": 40.0,
        "about": {"data": "fruit", "texts": 40, "version": "0.2.0", "path": "/secret/x"},
    }
    (out / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return out


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    server = FakeHub()
    yield server
    server.close()


def model_files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("part_bytes", [5_000_000_000, 100], ids=["whole", "parts"])
def test_a_model_comes_back_byte_for_byte(run, hub, tmp_path, part_bytes):
    commit = push_to_hub(run, "me/fruit", license="mit", token="t", endpoint=hub.url, part_bytes=part_bytes)
    assert (
        max(map(len, (raw for name, raw in hub.files("me/fruit").items() if ".part-" in name)), default=0) <= 100
    )
    folder = download("me/fruit", cache_dir=tmp_path, token=False, endpoint=hub.url)
    assert folder.name == commit
    there = model_files(folder)
    assert all(there[name] == raw for name, raw in model_files(run / "model").items())
    assert not [name for name in there if ".part-" in name]
    again = from_pretrained("me/fruit", revision=commit, cache_dir=tmp_path, token=False, endpoint=hub.url)
    assert again.topk(TEXTS[:4], 3) == megalabel.load(run).topk(TEXTS[:4], 3)


def test_a_commit_that_is_there_needs_no_hub(run, hub, tmp_path):
    commit = push_to_hub(run, "me/fruit", token="t", endpoint=hub.url)
    from_pretrained("me/fruit", cache_dir=tmp_path, token=False, endpoint=hub.url)
    hub.requests.clear()
    from_pretrained("me/fruit", revision=commit, cache_dir=tmp_path, token=False, endpoint=hub.url)
    assert not hub.requests
    nowhere = "http://127.0.0.1:9"
    from_pretrained("me/fruit", cache_dir=tmp_path, token=False, endpoint=nowhere)
    with pytest.raises(ResourceError):
        from_pretrained("me/other", cache_dir=tmp_path, token=False, endpoint=nowhere)


def test_a_second_model_replaces_the_first_and_its_commit_stays(run, hub, tmp_path):
    first = push_to_hub(run, "me/fruit", token="t", endpoint=hub.url, part_bytes=100)
    second = push_to_hub(run, "me/fruit", token="t", endpoint=hub.url)
    assert first != second
    assert not [name for name in hub.files("me/fruit") if ".part-" in name]
    assert [name for name in hub.files("me/fruit", first) if ".part-" in name]
    assert download("me/fruit", revision=first, cache_dir=tmp_path, token=False, endpoint=hub.url).name == first


def test_a_branch_holds_another_model(run, hub, tmp_path):
    main = push_to_hub(run, "me/fruit", token="t", endpoint=hub.url)
    other = push_to_hub(run, "me/fruit", revision="next", token="t", endpoint=hub.url, card="# Another\n")
    options = {"cache_dir": tmp_path, "token": False, "endpoint": hub.url}
    assert download("me/fruit", **options).name == main
    assert download("me/fruit", revision="next", **options).name == other


def test_what_is_uploaded_names_no_path_of_this_machine(run, hub):
    push_to_hub(run, "me/fruit", token="t", endpoint=hub.url)
    for name, raw in hub.files("me/fruit").items():
        assert str(run).encode() not in raw, name
        assert b"/secret" not in raw, name


def test_the_card_has_metrics_as_data_and_the_settings(run, hub):
    push_to_hub(run, "me/fruit", license="mit", token="t", endpoint=hub.url)
    card = hub.files("me/fruit")["README.md"].decode()
    from huggingface_hub import ModelCard

    data = ModelCard(card).data
    assert data.license == "mit" and data.library_name == "megalabel"
    assert {result.metric_name: result.metric_value for result in data.eval_results} == {"P@1": 97.5, "P@5": 40.0}
    for part in ("40 texts", "megalabel train linear", "trees = 1", "MB on disk", "Apache-2.0"):
        assert part in card, part


def test_a_damaged_download_is_refused(run, hub, tmp_path):
    push_to_hub(run, "me/fruit", token="t", endpoint=hub.url)
    files = hub.files("me/fruit")
    name = next(name for name in files if name.endswith("values.npy"))
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
    with pytest.raises(FormatError):
        from_pretrained("me/fruit", cache_dir=tmp_path, token=False, endpoint=hub.url)
    push_to_hub(run, "me/parts", token="t", endpoint=hub.url, part_bytes=100)
    files = hub.files("me/parts")
    del files[next(name for name in files if ".part-00001" in name)]
    with pytest.raises(FormatError):
        from_pretrained("me/parts", cache_dir=tmp_path, token=False, endpoint=hub.url)
    assert not list((tmp_path / "me--parts").rglob(COMPLETE))


def test_a_card_of_ones_own_is_a_text_in_utf_8(run, command, tmp_path):
    (tmp_path / "card.md").write_text("# \u2028 Ä", encoding="utf-8-sig")
    arguments = ("push", run, "me/fruit", "--card", tmp_path / "card.md", "--dry-run")
    assert command(*arguments)[:2] == (0, "# \u2028 Ä\n")
    (tmp_path / "card.md").write_bytes("Ä".encode("latin-1"))
    status, _, err = command(*arguments)
    assert status == 2 and err.count("\n") == 1


def test_wrong_names_and_revisions_are_errors(run, hub, tmp_path):
    options = {"cache_dir": tmp_path, "token": False, "endpoint": hub.url}
    with pytest.raises(SettingError):
        push_to_hub(run, "fruit", token="t", endpoint=hub.url)
    with pytest.raises(SettingError) as caught:
        from_pretrained("me/nothing", **options)  # which may be a misspelled folder
    assert "folder" in caught.value.found
    push_to_hub(run, "me/fruit", token="t", endpoint=hub.url)
    with pytest.raises(SettingError):
        from_pretrained("me/fruit", revision="nothing", **options)
    with pytest.raises(SettingError):
        from_pretrained(run, revision="main")
    with pytest.raises(FormatError):
        from_pretrained(tmp_path / "nothing")
    assert from_pretrained(run).topk(TEXTS[:1], 1)
