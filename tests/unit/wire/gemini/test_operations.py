import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.gemini.operations import OperationsQuery, parse_cancel, parse_list


def test_a_list_may_be_asked_for_without_words():
    assert parse_list({}) == OperationsQuery(done=None, page_size=None, page_token="")
    assert parse_list({"filter": "done=true", "page_size": "5", "pageToken": "t"}) == OperationsQuery(
        done=True, page_size=5, page_token="t"
    )
    assert parse_list({"filter": "DONE = False", "returnPartialSuccess": "true"}).done is False


@pytest.mark.parametrize("text", ["done", "done=", "done=maybe", "done!=true", "done=true OR done=false", "state=x"])
def test_another_filter_is_refused_with_those_that_there_are(text):
    with pytest.raises(InvalidArgument, match=r"filter must be done=true or done=false; .* was given"):
        parse_list({"filter": text})


@pytest.mark.parametrize("body", [b"", b"{}", b'{"name": "tunedModels/x/operations/y"}'])
def test_a_cancel_has_nothing_to_say(body):
    parse_cancel(body)
    with pytest.raises(InvalidArgument, match="Cannot find field"):
        parse_cancel(b'{"reason": 1}')
