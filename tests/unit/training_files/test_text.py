"""Bytes are read as the encoding that they say, and refused by name otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.training_files.table import Unreadable
from tuningfork.training_files.text import decode

TEXT = "text_input,output\n1,2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")))
def test_every_text_comes_back(encoding, text):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [TEXT, "问题,答案\n你好吗,我很好\n", "сын;дочь\nмы идём;нет\n"])
def test_utf_16_is_known_without_its_mark(encoding, text):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("text", ["text_input,output\n1,a\0b\n", "a\0", "\0\0\0\0"])
def test_a_zero_byte_alone_makes_no_utf_16(text):
    assert decode(text.encode()) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-32"), "UTF-32"),
        (b"\xff\xfea\x00b", "not UTF-16 text: byte"),
        ("a\nb\nMünchen".encode("latin-1"), "not UTF-8 text: the byte 0xFC"),
        ("七".encode("shift_jis"), "not UTF-8 text"),
    ],
)
def test_other_encodings_are_refused_with_what_they_seem_to_be(content, message):
    with pytest.raises(Unreadable, match=message) as caught:
        decode(content)

    assert caught.value.faults[0].advice == "Save the file as UTF-8."


def test_the_line_of_the_first_wrong_byte_is_told():
    with pytest.raises(Unreadable) as caught:
        decode(b"a\nb\n\xfc\n\xfc")

    assert caught.value.faults[0].place == "line 3"
