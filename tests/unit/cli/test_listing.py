"""`tuningfork models` and `delete`."""

import pytest


@pytest.fixture
def tuned(service):
    service.create(
        {
            "baseModel": "models/gemini-1.0-pro-001",
            "displayName": "next [bold] number",
            "tuningTask": {
                "hyperparameters": {},
                "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
            },
        },
        "mine",
    )
    return "tunedModels/mine"


def test_models_are_listed_one_a_line_with_tabs_where_no_person_reads(tuningfork, tuned):
    ended = tuningfork("models")

    assert ended.code == 0
    assert ended.output.splitlines() == [
        "models/tuningfork-mini-001\tMODELS/TUNINGFORK-MINI-001",
        "models/gemini-1.0-pro-001\tMODELS/GEMINI-1.0-PRO-001",
        f"{tuned}\tnext [bold] number\tmodels/gemini-1.0-pro-001\tACTIVE",
    ]


def test_models_are_tables_on_a_terminal(tuningfork, tuned, become_terminal):
    become_terminal()

    output = tuningfork("models").output

    assert "Base models" in output
    assert "[bold]" in output
    assert "16,384" in output
    assert tuned in output
    assert "ACTIVE" in output


def test_the_table_has_the_temperature_of_each_tuned_model(tuningfork, service, tuned, become_terminal, monkeypatch):
    become_terminal()
    monkeypatch.setenv("COLUMNS", "200")
    service.tuned[tuned]["temperature"] = 0.125

    output = tuningfork("models").output

    assert "temperature" in output
    assert "0.125" in next(line for line in output.splitlines() if tuned in line)


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_program_that_reads_the_list_gets_lines_also_where_colours_are_asked_for(
    tuningfork, tuned, monkeypatch, variable
):
    monkeypatch.setenv(variable, "1")

    assert f"{tuned}\tnext [bold] number\tmodels/gemini-1.0-pro-001\tACTIVE\n" in tuningfork("models").output


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_name_that_somebody_else_chose_does_not_disturb(tuningfork, service, monkeypatch, become_terminal, terminal):
    if terminal:
        become_terminal()
    monkeypatch.setenv("COLUMNS", "200")
    examples = {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}
    model = {"displayName": "a\x1b[2J\nb\tc", "tuningTask": {"hyperparameters": {}, "trainingData": examples}}
    service.create({"baseModel": "models/gemini-1.0-pro-001", **model}, "theirs")

    output = tuningfork("models").output

    assert "a<U+001B>[2J<U+000A>b<U+0009>c" in output
    assert "\x1b[2J" not in output


@pytest.mark.parametrize("name", ["mine", "tunedModels/mine"])
def test_a_tuned_model_is_deleted_by_either_form_of_its_name(tuningfork, service, tuned, name):
    assert tuningfork("delete", name).code == 0
    assert tuned not in service.tuned


def test_deleting_what_is_not_there_is_an_error(tuningfork):
    ended = tuningfork("delete", "nobody")

    assert ended.code == 1
    assert ended.errors == "Error: Tuned model tunedModels/nobody does not exist.\n"


def test_an_error_does_not_disturb_either(tuningfork):
    ended = tuningfork("delete", "\x1b[2Jnobody")

    assert ended.code == 1
    assert "<U+001B>[2Jnobody" in ended.errors
    assert "\x1b[2J" not in ended.errors
