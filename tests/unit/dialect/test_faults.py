"""What callers read of the server's own faults, and what the log has of them."""

from tuningfork.artifacts.base import ArtifactDamaged
from tuningfork.dialect.faults import public_error
from tuningfork.domain.errors import BaseUnusable, InternalError, InvalidArgument


def test_a_fault_is_told_without_directories_and_logged_with_them(caplog):
    told = public_error(InternalError("there is no directory /srv/models/x"))

    assert isinstance(told, InternalError)
    assert told.message == "there is no directory x"
    assert [record.getMessage() for record in caplog.records] == ["there is no directory /srv/models/x"]


def test_a_fault_keeps_its_class():
    assert type(public_error(ArtifactDamaged("/srv/a is damaged"))) is ArtifactDamaged


def test_what_is_wrong_with_a_request_is_told_as_it_is(caplog):
    error = InvalidArgument("/srv/a is no base model")

    assert public_error(error) is error
    assert caplog.records == []


def test_an_unexpected_exception_is_told_without_its_text(caplog):
    assert "canary" not in public_error(KeyError("canary")).message
    assert [record.getMessage() for record in caplog.records] == ["unexpected KeyError"]


def test_a_base_that_cannot_be_used_is_logged_once_for_each_reason_without_a_traceback(caplog, tmp_path):
    """The test's directory makes its texts new to this process."""
    reasons = [
        f"base model models/x: there is no directory {tmp_path}",
        f"base model models/x: {tmp_path} lacks weights",
    ]

    told = [public_error(BaseUnusable(reason)) for reason in (*reasons, *reasons)]

    assert {type(each) for each in told} == {BaseUnusable}
    assert not any(str(tmp_path.parent) in each.message for each in told)
    assert [record.getMessage() for record in caplog.records] == reasons
    assert [(record.action, record.exc_info) for record in caplog.records] == [("base_unusable", None)] * 2
