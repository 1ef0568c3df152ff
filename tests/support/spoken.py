"""Errors as a caller of the Gemini API reads them."""

import re
from contextlib import contextmanager

import pytest

from tuningfork.wire.gemini.errors import GEMINI_ERRORS, message_of
from tuningfork.wire.google.errors import printed, render_error
from tuningfork.wire.google.requests import RequestWords

GENERATE_TEXT = RequestWords("GenerateTextRequest", method="generateText")


def said(error, version="v1beta"):
    """The message of an error."""
    return message_of(error, version)


def rendered(error):
    """The whole error shape."""
    return render_error(printed(error, GEMINI_ERRORS, "v1beta"))


@contextmanager
def refusing(kind, match, words=None):
    """As `pytest.raises`, with the message that a caller reads, in the words of a request where they are given."""
    with pytest.raises(kind) as caught:
        yield caught
    error = words.translate(caught.value) if words else caught.value
    assert re.search(match, said(error)), said(error)
