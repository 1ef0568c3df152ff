"""The checks of a server's readiness."""

from tuningfork.service.readiness import KEPT_SECONDS, Readiness


def test_every_check_is_shown_and_made_once_a_second_at_most():
    now, calls = [0.0], []

    def database():
        calls.append(now[0])
        return "it is full" if now[0] else None

    readiness = Readiness({"database": database, "trainer": lambda: None}, lambda: now[0])

    assert readiness.results() == {"database": None, "trainer": None}
    assert readiness.results() == {"database": None, "trainer": None}
    now[0] = KEPT_SECONDS
    assert list(readiness.results().items()) == [("database", "it is full"), ("trainer", None)]
    assert calls == [0.0, KEPT_SECONDS]


def test_a_check_that_raises_has_failed_and_the_others_are_shown(caplog):
    def fail():
        raise KeyError("canary")

    results = Readiness({"artifacts": fail, "trainer": lambda: None}).results()

    assert results == {"artifacts": "it could not be checked (KeyError); the log says why", "trainer": None}
    [logged] = caplog.records
    assert (logged.levelname, logged.action) == ("ERROR", "check_failed")
