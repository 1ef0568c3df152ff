"""Sizes of pages, and tokens that cannot be made up."""

import base64
import json

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.service.paging import place_of, size_of, token_of
from tuningfork.wire.google.requests import RequestWords


def refusal(act, request="R"):
    with pytest.raises(InvalidArgument) as caught:
        act()
    return RequestWords(request).translate(caught.value).message


def coded(content):
    return base64.urlsafe_b64encode(content).decode()


@pytest.mark.parametrize(("asked", "shown"), [(None, 10), (0, 10), (1, 1), (1_000, 1_000), (1_001, 1_000)])
def test_a_size_is_ten_unless_asked_and_a_thousand_at_most(asked, shown):
    assert size_of(asked) == shown


def test_a_negative_size_is_refused():
    said = "* ListThingsRequest.page_size: page_size must not be negative; -1 was given\n"
    assert refusal(lambda: size_of(-1), "ListThingsRequest") == said


@pytest.mark.parametrize("place", [["a"], [-7, "m-1"], [2**63 - 1, "ü", "b"], []])
def test_a_token_holds_its_place(place):
    token = token_of(place, "constant")
    assert token.isascii()
    assert "=" not in token
    assert place_of(token, "constant", [type(part) for part in place]) == place


def test_a_token_is_good_for_its_own_list_only():
    token = token_of(["a"], "tunedModels/x")
    assert "page_token belongs to another filter or model" in refusal(lambda: place_of(token, "tunedModels/y", (str,)))


def forged(*place):
    """A token with the right digest around a place of our own."""
    digest = json.loads(base64.urlsafe_b64decode(token_of(["a"], "c") + "=="))[-1]
    return coded(json.dumps([*place, digest]).encode())


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "!!!!",
        "ä",
        coded(b"[]"),
        coded(b"7"),
        coded(b"{}"),
        coded(b"\xff\xff"),
        coded(b"[" * 100_000),
        forged(),
        forged("a", "b"),
        forged(1),
        forged(True),
        forged(None),
        forged(["a"]),
        forged("a\0b"),
        forged("\ud800"),
    ],
)
def test_a_token_that_was_made_up_is_refused(token):
    said = "* R.page_token: page_token is not one that this method returned\n"
    assert refusal(lambda: place_of(token, "c", (str,))) == said


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
def test_a_number_beyond_eight_bytes_is_refused(number):
    assert "is not one" in refusal(lambda: place_of(forged(number), "c", (int,)))
