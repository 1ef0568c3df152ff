"""How records are written: one line each, whatever their texts hold, and no text that may quote a request."""

import json
import logging

import pytest

from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.logs.formats import LogFormat, formatter
from tuningfork.logs.request_ids import AddRequestId, current_request, request_id

CANARY = "canary-prompt"


def record(message, *arguments, exc_info=None, **extra):
    made = logging.LogRecord("tuningfork.any", logging.WARNING, "", 0, message, arguments, exc_info)
    made.__dict__.update(extra)
    return made


def raised(error):
    def fail():
        raise error

    try:
        fail()
    except type(error) as caught:
        return type(caught), caught, caught.__traceback__
    raise AssertionError


def text(made, *, shows_all=False):
    return formatter(LogFormat.TEXT, "server", shows_all=shows_all).format(made)


def from_json(made, *, shows_all=False):
    line = formatter(LogFormat.JSON, "server", shows_all=shows_all).format(made)
    assert line.isprintable()
    return json.loads(line)


def test_a_record_is_a_line_with_its_model_and_its_request():
    made = record("job %s %s", "j1", "is taken up", action="job_claimed", job="j1", model="m1", request="r1")

    assert text(made).endswith("WARNING tuningfork.any: job j1 is taken up (model m1, request r1)")


def test_a_record_in_json_has_what_programs_look_for():
    made = record("job %s %s", "j1", "is taken up", action="job_claimed", job="j1", model="m1", request="r1")

    found = from_json(made)

    assert found.pop("time").startswith("20")
    assert isinstance(found.pop("process"), int)
    assert found == {
        "level": "WARNING",
        "logger": "tuningfork.any",
        "message": "job j1 is taken up",
        "role": "server",
        "action": "job_claimed",
        "job": "j1",
        "model": "m1",
        "request": "r1",
    }


@pytest.mark.parametrize(
    "hostile",
    ["x\n2026-01-01 00:00:00,000 ERROR forged: y", "\x1b[31m", "\r", "\u2028", "\u202e", "\ud800", "\x00", "\x9b2J"],
)
def test_no_text_forges_a_line_or_reaches_the_terminal(hostile):
    made = record("%s", hostile, path=hostile, exc_info=raised(RuntimeError(hostile)))

    lines = text(made).split("\n")

    assert all(line.isprintable() for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])
    assert from_json(made)["message"] == hostile


@pytest.mark.parametrize(
    "error", [ValueError(CANARY), KeyError(CANARY), InvalidArgument(CANARY), json.JSONDecodeError(CANARY, CANARY, 0)]
)
def test_messages_that_may_quote_a_request_are_shown_at_debug_level_only(error):
    made = record("unexpected", exc_info=raised(error))
    name = type(error).__name__

    assert CANARY not in text(made) + str(from_json(made))
    assert f"{name} (its message may quote a request; log level debug shows it)" in text(made)
    assert "Traceback (most recent call last):" in from_json(made)["exception"]
    assert CANARY in text(made, shows_all=True)
    assert CANARY in from_json(made, shows_all=True)["exception"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("CUDA"), InternalError("why")])
def test_messages_about_the_machine_are_shown(error):
    assert str(error) in text(record("unexpected", exc_info=raised(error)))


def test_errors_that_led_to_another_are_shown_in_their_order():
    last = ExceptionGroup("many", [OSError("first"), KeyError(CANARY)])
    last.__cause__ = raised(ValueError(CANARY))[1]

    shown = text(record("unexpected", exc_info=raised(last)))

    assert CANARY not in shown
    assert shown.index("ValueError (its") < shown.index("ExceptionGroup") < shown.index("OSError: first")


def test_a_value_that_json_does_not_know_is_written_as_text():
    assert from_json(record("x", place=LogFormat))["place"]


@pytest.mark.parametrize("given", ["abc-1.2_3", "A" * 64])
def test_a_sane_id_of_a_caller_is_kept(given):
    assert request_id(given, lambda _: 1) == given


@pytest.mark.parametrize("given", [None, "", "A" * 65, "a b", "-a", "a\n", "ä", "a;b"])
def test_another_id_is_made_anew(given):
    assert request_id(given, lambda _: 10) == "000000000000000a"


def test_records_have_the_id_of_the_request_that_they_are_about():
    made = record("x")
    token = current_request.set("r9")
    AddRequestId().filter(made)
    current_request.reset(token)
    other = record("x")
    AddRequestId().filter(other)

    assert (made.request, hasattr(other, "request")) == ("r9", False)
