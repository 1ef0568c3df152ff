"""Tables at a terminal: they fit, names stay whole, and columns stand below each other whatever is in them."""

import re
import unicodedata

import pytest

TITLES = {
    "short": "pairs",
    "forty characters": "x" * 40,
    "wide": "数字を数えるための小さなモデル、二〇二六年版",
    "combining": "e\u0301" * 30 + "n\u0303",
    "emoji": "🧪 laboratory 🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀",
    "markup": "[bold]not[/bold] [red]markup",
    "words": "a name for people in many short words",
}
LONGEST_ID = "a" + "-b" * 31


def cells(text):
    """The columns of a terminal that a text takes, counted apart from the program's own way."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


@pytest.fixture
def terminal():
    return "xterm"


@pytest.fixture
def on_terminal(tuningfork, monkeypatch, terminal, become_terminal):
    """What a command prints on a terminal of this width, in lines."""

    def run(width, *arguments):
        become_terminal()
        monkeypatch.setenv("TERM", terminal)
        monkeypatch.setenv("COLUMNS", str(width))
        return re.sub(r"\x1b\[[0-9;]*m", "", tuningfork(*arguments).output).splitlines()

    return run


@pytest.fixture
def tuned(service):
    """Makes a tuned model with this id and title."""

    def make(model_id, title):
        examples = {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}
        body = {"displayName": title, "tuningTask": {"hyperparameters": {}, "trainingData": examples}}
        service.create({"baseModel": "models/tuningfork-mini-001", **body}, model_id)
        return f"tunedModels/{model_id}"

    return make


@pytest.mark.parametrize("model_id", ["mine", "a-model-of-some-length", LONGEST_ID])
@pytest.mark.parametrize("title", TITLES.values(), ids=TITLES)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_models_fit_the_terminal_and_names_stay_whole(on_terminal, tuned, width, title, model_id):
    name = tuned(model_id, title)

    lines = on_terminal(width, "models")

    assert any(name in line for line in lines)
    assert sum("models/tuningfork-mini-001" in line for line in lines) == 2
    # A name that is longer than the terminal is wide is alone in its line, which the terminal breaks.
    assert [line for line in lines if cells(line) > width and line.strip() != name] == []
    shown = "".join(lines).replace(" ", "")
    assert all(word in shown for word in title.split()) or sum(each in shown for each in title) >= len(title.split())


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("reason", ["the loss is not finite " * 10, "損失が有限ではありません。" * 8, ""])
def test_jobs_fit_the_terminal(on_terminal, service, tuned, width, reason):
    name = tuned(LONGEST_ID, "x")
    service.tuned[name]["error"] = reason

    lines = on_terminal(width, "jobs")

    assert any(name in line for line in lines)
    assert [line for line in lines if cells(line) > width and line.strip() != name] == []
    assert all(sum(letter in line for line in lines) for letter in reason)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_keys_and_groups_fit_the_terminal(on_terminal, tuningfork, tmp_path, width):
    data = ("--data-dir", tmp_path / "data")
    address = f"{'a' * 60}@{'b' * 40}.example.com"
    tuningfork("keys", "create", "--name", "鍵" * 20, "--email", address, "--project", "p" * 30, *data)
    tuningfork("keys", "create", *data)
    tuningfork("groups", "add", address, "ada@example.com", *data)

    keys = on_terminal(width, "keys", "list", *data)
    groups = on_terminal(width, "groups", "list", *data)

    assert any("API keys" in line for line in keys)
    assert any("Groups" in line for line in groups)
    for lines in (keys, groups):
        assert any(address in line for line in lines)
        assert [line for line in lines if cells(line) > width and not line.endswith(address)] == []


def test_columns_stand_below_each_other(on_terminal, tuned):
    for number, title in enumerate(["plain", "数字", "e\u0301e\u0301", "🧪🚀"]):
        tuned(f"m{number}", title)

    lines = [line for line in on_terminal(120, "models") if line.startswith("tunedModels/")]

    assert len({cells(line.partition("models/tuningfork")[0]) for line in lines}) == 1


def test_elsewhere_nothing_is_cut(tuningfork, tuned, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = tuned(LONGEST_ID, TITLES["wide"])

    assert f"{name}\t{TITLES['wide']}\tmodels/tuningfork-mini-001\tACTIVE" in tuningfork("models").output.splitlines()
