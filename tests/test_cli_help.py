"""`--help` of every command: each option with its default and choices, in a length that can be read."""

import re

import pytest

from megalabel.recipes import get, names

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
