"""What a plan chooses, what it refuses, and that its suggestions fit."""

import subprocess
import sys

import pytest

from megalabel.errors import SettingError
from megalabel.planning import amounts, baseline
from megalabel.planning.job import Data, Job
from megalabel.planning.plan import fits, nearest, plan
from megalabel.recipes import get

GIB = 1 << 30


@pytest.fixture(autouse=True)
def no_calibration(tmp_path, monkeypatch):
    monkeypatch.setenv("MEGALABEL_CACHE", str(tmp_path))


def job(recipe="renee", labels=131_000, **values):
    return Job.of(recipe, get(recipe).options(**values).values(), Data(labels), 2)


@pytest.mark.parametrize(
    ("text", "number"), [("2.8M", 2_800_000), ("131,073", 131_073), (4000, 4000), ("4k", 4000), ("1e6", 10**6)]
)
def test_counts_are_read_as_people_write_them(text, number):
    assert amounts.count("labels", text) == number


@pytest.mark.parametrize(
    ("text", "number"), [("8GiB", 8 * GIB), ("8 gb", 8 * 10**9), (5e8, 5 * 10**8), ("1.5MiB", 3 << 19)]
)
def test_sizes_are_read_as_people_write_them(text, number):
    assert amounts.size("memory", text) == number


@pytest.mark.parametrize("text", ["8 apples", "", "-1GiB", "0", "nan", "GiB", "1e99GiB", "8,5GiB", "1,0000", True])
def test_what_is_no_size_is_refused_by_name(text):
    with pytest.raises(SettingError) as refused:
        amounts.size("memory", text)
    assert refused.value.where == "memory"


def test_a_user_without_a_home_folder_can_plan(monkeypatch):
    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MEGALABEL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    assert not plan(job(encoder="bag")).base.measured


def test_a_calibration_that_cannot_be_stored_holds_for_the_process(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEGALABEL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(baseline, "_UNSTORED", {})
    planned = job(encoder="bag")
    baseline.keep(planned, 123e6, baseline.Speed(1e9, 1e9), 0.5)
    assert plan(planned).base.base == 123e6


@pytest.mark.parametrize(
    ("recipe", "optimizer", "gib"), [("renee", "adamw", 6), ("cascadexml", "adamw", 3), ("cascadexml", "sgd", 3)]
)
def test_suggested_weights_have_an_optimizer_that_takes_them(recipe, optimizer, gib):
    wanted = job(recipe, labels=3_000_000, encoder="bag", head_optimizer=optimizer)
    found = nearest(wanted, gib * GIB)
    assert any("weights" in values for values in found)
    for values in found:
        get(recipe).options(**{**wanted.values, **values})


def test_a_plan_changes_nothing_where_the_memory_suffices():
    found = plan(job(encoder="minilm", batch_size=64), 64 * GIB)
    assert found.chosen.get("gradient_checkpointing") is None
    assert found.peak < 64 * GIB


def test_less_memory_takes_smaller_micro_batches_and_then_checkpointing():
    wanted = job(encoder="bert-base-uncased", max_length=128, batch_size=256, labels=30_000)
    some, least = plan(wanted, 8 * GIB), plan(wanted, 3 * GIB)
    assert some.chosen["accumulation_steps"] > 1
    assert least.job.checkpointing or least.job.parts > some.job.parts
    assert fits(some, 8 * GIB) and fits(least, 3 * GIB)


def test_what_the_user_has_set_stays():
    wanted = job(encoder="bert-base-uncased", max_length=128, batch_size=256, labels=30_000, accumulation_steps=2)
    found = plan(wanted, 20 * GIB, frozenset({"accumulation_steps"}))
    assert found.job.parts == 2


@pytest.mark.parametrize("recipe", ["renee", "cascadexml", "spartex"])
@pytest.mark.parametrize("encoder", ["bert-base-uncased", "bag"])
@pytest.mark.parametrize("gib", [1, 3])
def test_every_suggestion_fits(recipe, encoder, gib):
    wanted, memory = job(recipe, 1_000_000, encoder=encoder), gib * GIB
    found = nearest(wanted, memory)
    for values in found:
        changed = Job.of(recipe, get(recipe).options(**{**wanted.values, **values}).values(), wanted.data, 2)
        assert fits(plan(changed), memory), values
    if not found:
        with pytest.raises(SettingError):
            plan(wanted, memory)


def test_narrow_weights_come_before_a_smaller_encoder():
    wanted = job(labels=2_812_281, encoder="bert-base-uncased", max_length=128, batch_size=64)
    found = nearest(wanted, 8 * GIB)
    assert found[0]["weights"] == "float8"
    assert "encoder" not in found[0]
    assert any(values.get("encoder") for values in found)
    kept = frozenset({"weights"})
    assert all("weights" not in values for values in nearest(wanted, 8 * GIB, kept, fixed=kept))


def test_only_a_plan_changes_what_is_trained():
    wanted = job(labels=2_812_281, encoder="bert-base-uncased", max_length=128, batch_size=64)
    with pytest.raises(SettingError):
        plan(wanted, 8 * GIB)
    changed = plan(wanted, 8 * GIB, change=True)
    assert fits(changed, 8 * GIB)
    assert changed.job.weight_bytes == 1
    with pytest.raises(SettingError):
        plan(wanted, GIB, change=True)


def test_the_command_chooses_the_weights_and_says_that_this_changes_the_training(command):
    status, out, err = command(
        "plan", "--labels", "2.8M", "--encoder", "bert-base-uncased", "--max-length", "128", "--memory", "8GiB"
    )
    assert status == 0, err
    assert "head weights: float8" in out
    assert "--weights float8" in out
    assert "change what is trained" in out


@pytest.mark.parametrize("recipe", ["elmo", "renee", "cascadexml", "spartex"])
def test_recipes_with_a_label_layer_have_a_plan(recipe):
    assert plan(job(recipe, 10_000), 64 * GIB).peak > 100e6


def test_the_command_answers_without_torch():
    code = (
        "import sys\nfrom megalabel.cli.main import main\n"
        "sys.argv = ['megalabel', 'plan', '--labels', '2.8M', '--encoder', 'bert-base-uncased']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for part in ("head weights", "encoder optimizer state", "peak", "floor of a step"):
        assert part in done.stdout


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--labels", "0"], "--labels"),
        ([], "--labels"),
        (["--labels", "4K", "--memory", "8 apples"], "--memory"),
        (["--labels", "4K", "--memory", "50MB"], "--memory"),
        (["--labels", "4K", "--encoder", "nonsense"], "--encoder"),
        (["--labels", "4K", "--recipe", "linear"], "linear"),
        (["--labels", "4K", "--recipe", "linear", "--encoder", "bag"], "linear"),
        (["--labels", "4K", "--recipe", "nonsense"], "recipe"),
        (["--labels", "4K", "--what", "nonsense"], "--what"),
        (["--labels", "4K", "--threads", "0"], "--threads"),
        (["--labels", "4K", "--fan-in", "3"], "--fan-in"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_option(command, arguments, name):
    status, _, err = command("plan", *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert name in err


@pytest.mark.parametrize("what", ["train", "predict", "read"])
def test_each_kind_of_plan_has_a_peak(command, what):
    status, out, err = command("plan", "--recipe", "spartex", "--labels", "1M", "--what", what)
    assert status == 0, err
    assert "peak" in out and "interpreter and libraries" in out


@pytest.mark.parametrize("what", ["predict", "read"])
def test_plans_of_predictions_and_of_reading_say_whether_they_fit(command, what):
    asked = ("plan", "--labels", "1M", "--encoder", "bag", "--what", what)
    assert "fits into 80 GiB" in command(*asked, "--memory", "80GiB")[1]
    status, _, err = command(*asked, "--memory", "100MiB")
    assert status == 2 and "100 MiB" in err
    least = err.split("--memory ")[-1].rstrip(". \n")
    status, _, err = command(*asked, "--memory", least)
    assert status == 0, err


def test_a_config_that_is_no_encoder_is_refused(tmp_path, command):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    status, _, err = command("plan", "--labels", "4K", "--encoder", tmp_path)
    assert status == 2
    assert "gpt2" in err


def test_a_local_config_gives_the_shape(deep_bert, command):
    status, out, err = command("plan", "--labels", "4K", "--encoder", deep_bert)
    assert status == 0, err
    assert "gradient checkpointing: no" in out


@pytest.mark.parametrize(
    ("recipe", "gib", "values"),
    [("renee", 3, {"head_momentum": 0.9}), ("elmo", 2, {"bias": True}), ("cascadexml", 3, {})],
)
def test_tables_on_disk_are_suggested_and_fit(recipe, gib, values):
    asked = job(recipe, 8_600_000, encoder="bag", batch_size=16, **values)
    assert "tables" not in plan(asked, 200 * GIB).chosen
    with pytest.raises(SettingError) as refused:
        plan(asked, gib * GIB)
    assert "--tables disk" in str(refused.value)
    assert fits(plan(asked.having(tables="disk"), gib * GIB), gib * GIB)


def test_moments_of_every_row_are_not_planned_on_disk():
    for asked in (job(head_optimizer="adamw"), job("cascadexml", dense_updates=True), job("spartex")):
        assert not asked.can_be_on_disk
