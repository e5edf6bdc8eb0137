"""`--help` of every command: each option with its default and choices, in a length that can be read."""

import re

import pytest

from megalabel.cli.layout import with_flags
from megalabel.errors import DataError, MissingExtra, SettingError
from megalabel.recipes import get, names
from megalabel.recipes.kinds import conflict

COMMANDS = [
    [], ["quickstart"], ["data"], ["data", "check"], ["data", "convert"], ["prepare"], ["train"], ["evaluate"],
    ["predict"], ["ensemble"], ["tree"], ["tree", "build"], ["tree", "show"], ["tree", "export"], ["recipes"],
    ["doctor"], ["explain"], ["audit"], ["labels"], *(["train", name] for name in names()),
]  # fmt: skip


def shown(command, *arguments, columns=120):
    status, out, err = command(*arguments, "--help")
    assert status == 0, err
    lines = out.splitlines()
    assert max(map(len, lines)) <= columns
    return lines


def entries(lines):
    """The text of each option by its first long name, wrapped lines joined."""
    found, name = {}, ""
    for line in lines:
        if line.startswith("Rarely changed"):
            break
        start = re.match(r"  (?:-\w, )?(--[^ ]+)", line)
        name = start[1].replace("[no-]", "") if start else name if line.startswith("      ") else ""
        if name:
            found[name] = f"{found.get(name, '')} {line.strip()}"
    return found


def constants(lines):
    """The paragraph of what is rarely changed, as one line."""
    starts = [i for i, line in enumerate(lines) if line.startswith("Rarely changed")]
    return " ".join(line.strip() for start in starts for line in lines[start + 1 :])


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_has_help(arguments, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    lines = shown(command, *arguments)
    assert lines[0].startswith("Usage: ")
    assert len(lines[2]) > 20  # what it does
    for name, text in entries(lines).items():
        assert len(text) > len(name) + 10, name  # no option without a sentence


@pytest.mark.parametrize("columns", [100, 120])
@pytest.mark.parametrize("recipe", names())
def test_every_option_of_a_recipe_shows_default_and_choices(recipe, columns, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(command, "train", recipe, columns=columns)
    found = {**entries(lines), "constants": constants(lines)}
    for option in get(recipe).options.declared.values():
        if option.name == "run":
            continue  # an argument
        if option.constant:
            flag = option.flag.replace("--", "--[no-]", 1) if option.kind is bool else option.flag
            assert f"{flag} {option.shown()}" in found["constants"]
            continue
        text = found[option.flag]
        assert f"default {option.shown()}]" in text
        for choice in option.choices:
            assert re.search(rf"[\[|]{re.escape(str(choice))}[|,\]]", text), (option.name, choice)
        assert option.help in text


@pytest.mark.parametrize("recipe", names())
def test_the_options_of_a_recipe_fit_on_two_screens(recipe, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert len(shown(command, "train", recipe)) <= 116
    monkeypatch.setenv("COLUMNS", "100")
    assert len(shown(command, "train", recipe, columns=100)) <= 140


def test_choices_are_completed_by_the_shell(monkeypatch, capsys):
    from megalabel.cli.main import app

    monkeypatch.setenv("_MEGALABEL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "megalabel train spartex --prune th")
    monkeypatch.setenv("COMP_CWORD", "4")
    with pytest.raises(SystemExit):
        app(prog_name="megalabel")
    assert capsys.readouterr().out.split() == ["threshold"]


def test_errors_about_arguments_show_the_usage_of_the_help(command):
    for arguments, usage in (
        (["evaluate"], "evaluate [OPTIONS] RUN [DATA]"),
        (["ensemble", "a", "b"], "ensemble [OPTIONS] --out OUT RUN..."),
        (["train", "renee"], "train renee [OPTIONS] DATA"),
        (["train", "hybrid"], "train hybrid [OPTIONS] RUN [DATA]"),
        (["nothing"], "'nothing' is not a command of"),
    ):
        status, _, err = command(*arguments)
        assert status == 2
        assert err.count("\n") == 1 and usage in err


@pytest.mark.parametrize(
    "verb", [["evaluate", "gone"], ["predict", "gone"], ["ensemble", "gone", "gone", "-o", "m"]]
)
def test_a_run_that_is_not_there_is_one_line_with_its_name(verb, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = command(*verb)
    assert (status, err.count("\n")) == (2, 1)
    assert "gone" in err and "manifest.json" not in err


def test_a_run_without_a_model_says_how_to_resume_it(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    for verb in ("evaluate", "predict"):
        status, _, err = command(verb, "run")
        assert (status, err.count("\n")) == (2, 1)
        assert "no model yet" in err and "which resumes it" in err


def torchao_is_missing():
    return MissingExtra(
        "an optimizer with moments in 8 bits, and no package torchao",
        wanted="torchao",
        next_step="run pip install 'megalabel[adamw8bit]', or use encoder_optimizer = adamw",
        where="encoder_optimizer",
    )


@pytest.mark.parametrize(
    "error, said",
    [
        (torchao_is_missing(), "--encoder-optimizer: an optimizer with"),
        (torchao_is_missing(), "or use --encoder-optimizer adamw."),
        (conflict("weights", "weights = float8 with head_optimizer = adamw", "head_optimizer = sgd"),
         "--weights = float8 with --head-optimizer adamw; expected --head-optimizer sgd"),
        (conflict("bias", "no bias", "bias = False"), "--bias: no bias; expected --no-bias"),
        (SettingError("a tail of 3 epochs", wanted="less", next_step="lower warmup_epochs or final_epochs"),
         "Lower --warmup-epochs or --final-epochs"),
        (SettingError("none", wanted="above 0", next_step="pass it (in Python: head_lr=0.1)", where="head_lr"),
         "--head-lr: none; expected above 0. Pass it (in Python: head_lr=0.1)."),
        (SettingError("the field 'max_length'", wanted="weight_field (--weight-field)", where="max_length"),
         "--max-length: the field 'max_length'; expected weight_field (--weight-field)"),
        (DataError("batch_size = 3", wanted="text", where="/a/max_length"), "/a/max_length: batch_size = 3"),
    ],
)  # fmt: skip
def test_errors_call_options_as_the_command_line_writes_them(error, said):
    names = (
        "encoder_optimizer weights head_optimizer bias warmup_epochs final_epochs head_lr max_length batch_size"
    )
    flags = {name: "--" + name.replace("_", "-") for name in [*names.split(), "weight_field"]}
    assert said in with_flags(error, flags)
    assert "--" not in with_flags(error, {}).replace("--weight-field", "")


@pytest.mark.parametrize(
    "arguments, resumed", [(["plan", "--labels", "4k"], False), (["train", "renee", "."], True)]
)
def test_an_interrupt_speaks_of_a_run_only_where_there_is_one(arguments, resumed, command, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("megalabel.recipes.presets.resolve", stop)
    monkeypatch.setattr("megalabel.cli.train.open_data", stop)
    status, _, err = command(*arguments, *(["-o", "new"] if resumed else []))
    assert status == 130
    assert err.endswith("megalabel: interrupted\n") != resumed
    assert ("resumes a run" in err) == resumed
